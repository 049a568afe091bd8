"""Decisions, and nothing else: pure functions of a state, an event and a reading of the clocks.

Open `state.py` first: the theory and the table. Must not know a clock, a file, a process, a log or an event loop.
"""
