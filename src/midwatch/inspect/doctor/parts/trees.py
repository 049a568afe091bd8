"""What hangs below a process. Who a tree belongs to is trees.py of the package above.

Must not judge. Tests: tests/inspect/doctor/test_processes.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from midwatch.model.look import Proc


def children(procs: Mapping[int, Proc]) -> dict[int, list[Proc]]:
    """By parent's pid."""
    found: dict[int, list[Proc]] = {}
    for proc in procs.values():
        found.setdefault(proc.ppid, []).append(proc)
    return found


def below(root: Proc, kids: Mapping[int, list[Proc]]) -> list[Proc]:
    """The root and everything under it; a table with a circle (pids reused while it was read) does no harm."""
    found, seen, waiting = [], {root.pid}, [root]
    while waiting:
        proc = waiting.pop()
        found.append(proc)
        for child in kids.get(proc.pid, ()):
            if child.pid not in seen:
                seen.add(child.pid)
                waiting.append(child)
    return found
