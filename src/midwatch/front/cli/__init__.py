"""The command line: one file a verb.

`main.py` finds the verb, `declare.py` says what a verb is made of, `quick.py` reads ordinary command lines
without loading Typer, and `typer_app.py` makes the Typer application for help, completion and usage errors
out of the same declarations. Must not decide anything about a service. Tests: tests/front.
"""
