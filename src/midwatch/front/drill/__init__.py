"""`midwatch drill`: faults injected into a toy set-up of its own, and the proof that it survives them.

A scene (scenes_*.py) talks to its instance by the command line alone, as a person would, on a stage (stage.py) with a
MIDWATCH_HOME in a temporary folder; what it breaks are toys (toys.py). Must not know the engine, the policy or the
machine, and must not touch a process or a file that the drill did not make.
"""
