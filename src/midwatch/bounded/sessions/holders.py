"""Who keeps a store's log from being emptied: the processes that hold one of its read marks, from /proc/locks.

Where that cannot be read the answer is "". Must not open the store. Tests: tests/bounded/sessions/test_upkeep.py.
"""

from __future__ import annotations

import os

_MARKS = range(123, 128)  # of the shared-memory file: SQLite's WAL_READ_LOCK bytes


def readers_of_log(path: str) -> str:
    """"pid 4711 (python3)", several joined by commas."""
    try:
        facts = os.stat(f"{path}-shm")
        with open("/proc/locks", encoding="ascii", errors="replace") as file:
            lines = [line.split() for line in file]
    except OSError:
        return ""
    wanted = f"{os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x}:{facts.st_ino}"
    pids = {
        int(words[4])
        for words in lines
        if len(words) >= 8 and words[3] == "READ" and words[5] == wanted and words[4].isdigit()
        and words[6].isdigit() and words[7].isdigit() and any(int(words[6]) <= mark <= int(words[7]) for mark in _MARKS)
    }  # fmt: skip
    return ", ".join(f"pid {pid} ({_name(pid)})" for pid in sorted(pids))


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"
