"""Open descriptors of a Mac's processes: by libproc on this machine, by what lsof printed in a recording.

lsof is never run here: on macOS it causes a hundred thousand file events (FDW-2). The soft limit of another process
cannot be asked; what launchd gives its jobs stands for it. Tests: tests/inspect/test_forecast.py, test_macprocs.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator

from midwatch.inspect.sources import Sources, descriptors
from midwatch.inspect.sources.descriptors import Open, Scan
from midwatch.machine.macos import structs
from midwatch.machine.macos.libproc import Libproc
from midwatch.model.look import Proc
from midwatch.policy import defaults_inspect as figures

LSOF = ("lsof", "-n", "-P", "-w", "-F", "pfn")
_VNODE = 1


def scan(sources: Sources, procs: Iterable[Proc], until: float) -> Scan:
    """See descriptors.scan."""
    limit = soft_limit(sources)
    rows = _listed(sources) if sources.recorded else _asked(Libproc(), procs, until)
    found = Scan()
    targets: dict[int, Counter[str]] = {}
    for pid, target in rows:
        seen = found.by_pid.setdefault(pid, Open(0, limit))
        seen.count += 1
        if target:
            descriptors.file(target, pid, seen, found)
            targets.setdefault(pid, Counter())[target] += 1
    for pid, counted in targets.items():
        found.by_pid[pid].top = tuple(counted.most_common(3))
    for seen in found.by_pid.values():
        if limit is not None and seen.count > limit:
            seen.limit = None  # it has raised its own: what it is cannot be asked
    found.cut = time.monotonic() > until and not sources.recorded
    return found


def soft_limit(sources: Sources) -> int | None:
    """Of launchd's jobs: "maxfiles 256 unlimited" (F-13)."""
    try:
        words = sources.run(("launchctl", "limit", "maxfiles"), 1.0).out.split()
    except OSError:
        return None
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None


def _asked(lib: Libproc, procs: Iterable[Proc], until: float) -> Iterator[tuple[int, str]]:
    left = figures.LOOK_LINKS
    for proc in procs:
        for number, (fd, kind) in enumerate(structs.descriptors(lib.descriptors(proc.pid) or b"")):
            if time.monotonic() > until:
                return
            look = kind == _VNODE and number < figures.LOOK_OF_ONE and left > 0
            left -= look
            yield proc.pid, structs.path(lib.vnode_path(proc.pid, fd) or b"") if look else ""


def _listed(sources: Sources) -> Iterator[tuple[int, str]]:
    """lsof -F: p and the pid, then f and n of each descriptor; only numbered ones count (FDW-1)."""
    try:
        lines = sources.run(LSOF).out.splitlines()
    except OSError:
        return
    pid, numbered = 0, False
    for line in lines:
        if line[:1] == "p" and line[1:].isdigit():
            pid = int(line[1:])
        elif line[:1] == "f":
            numbered = line[1:2].isdigit()
        elif line[:1] == "n" and numbered:
            yield pid, line[1:] if line[1:2] == "/" else ""
