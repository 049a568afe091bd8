"""The disk: run records, journal, history, lock, log files, and the redaction of everything that we write
ourselves.

Three records, one truth each: `runs` says what may be alive, the journal what happened, the history is a view
of the journal that can be deleted. Must not decide anything nor touch a process. Tests: tests/record.
"""
