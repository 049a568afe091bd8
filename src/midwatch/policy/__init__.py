"""Decisions, and nothing else: pure functions of a state, an event and a reading of the clocks.

The page to open first is `state.py` (the theory and the table); `step.py` applies it. Must not know a clock,
a file, a process, a log or an event loop. Tests: tests/policy.
"""
