"""Checks of a machine: one file a check, found by listing this package; `run` runs them side by side.

A check reads and says what it found, who is meant and the one fix. Nothing here writes, signals, checkpoints or starts
anything (GEN-4). Helpers without a CHECK of their own live in `parts/`. Tests: tests/inspect/doctor.
"""
