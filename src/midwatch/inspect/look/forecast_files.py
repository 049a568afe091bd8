"""The levels that come from open descriptors: of each process, terminals, inotify, WAL files.

Must not judge (forecast.py). Tests: tests/inspect/test_forecast.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from midwatch.inspect.argv import label
from midwatch.inspect.look.forecast import Level, State
from midwatch.inspect.sources import Sources
from midwatch.inspect.sources.descriptors import Open, Scan
from midwatch.model.look import Proc
from midwatch.model.units import format_bytes
from midwatch.policy import defaults as core

_WORTH = 0.1  # share of its limit from which a process is worth a number
_WALS = 64  # files


def levels(sources: Sources, scan: Scan, procs: Mapping[int, Proc]) -> list[Level]:
    """All of them."""
    return [*_processes(scan, procs), *_terminals(sources, scan, procs), *_inotify(sources, scan, procs),
            *_wals(sources, scan, procs)]  # fmt: skip


def _processes(scan: Scan, procs: Mapping[int, Proc]) -> list[Level]:
    found = []
    for pid, seen in scan.by_pid.items():
        proc = procs.get(pid)
        if proc is None or not seen.limit or seen.count < _WORTH * seen.limit:
            continue
        most = [f"{count} are {_short(target)}" for target, count in seen.top if count > seen.count // 4]
        found.append(
            Level(
                f"fds:{pid}:{proc.start}", "fds", label(proc), seen.count, seen.limit, "fds", pid, proc.start,
                ", ".join(most[:1]),
            )
        )  # fmt: skip
    return found


def _short(target: str) -> str:
    return target.rsplit("/", 1)[-1] if target.startswith("/") else target


def _terminals(sources: Sources, scan: Scan, procs: Mapping[int, Proc]) -> list[Level]:
    seen = sum(one.ptys for one in scan.by_pid.values())
    try:
        if sources.platform == "darwin":
            used, most = float(seen), float(sources.sysctl("kern.tty.ptmx_max"))
        else:
            used, most = float(sources.sysctl("kernel.pty.nr")), float(sources.sysctl("kernel.pty.max"))
    except (OSError, ValueError):
        return []
    who = _holder({pid: one.ptys for pid, one in scan.by_pid.items()}, procs, "ptys")
    return [Level("ptys", "ptys", "terminals", used, most, "ptys", detail=who)]


def _holder(counts: Mapping[int, int], procs: Mapping[int, Proc], unit: str) -> str:
    """Who has most of them: "Claude (pid 812) has 383"."""
    pid = max(counts, key=lambda one: counts[one], default=0)
    if not counts.get(pid) or pid not in procs:
        return ""
    return f"{label(procs[pid])} (pid {pid}) has {counts[pid]} {unit}"


def _inotify(sources: Sources, scan: Scan, procs: Mapping[int, Proc]) -> list[Level]:
    """Of the user who has most; both limits are a user's."""
    found = []
    for name, setting, counts in (
        ("instances", "fs.inotify.max_user_instances", {p: one.inotify for p, one in scan.by_pid.items()}),
        ("watches", "fs.inotify.max_user_watches", {p: one.watches for p, one in scan.by_pid.items()}),
    ):
        by_user: dict[int, int] = {}
        for pid, count in counts.items():
            if count and pid in procs:
                by_user[procs[pid].uid] = by_user.get(procs[pid].uid, 0) + count
        try:
            most = float(sources.sysctl(setting)) if by_user else 0.0
        except (OSError, ValueError):
            continue
        for uid, used in by_user.items():
            mine = {pid: count for pid, count in counts.items() if pid in procs and procs[pid].uid == uid}
            found.append(
                Level(
                    f"inotify:{name}:{uid}", "inotify", f"inotify {name} of user {uid}", used, most, name,
                    detail=_holder(mine, procs, name), at_least=any(scan.by_pid[pid].more for pid in mine),
                )
            )  # fmt: skip
    return found


def _wals(sources: Sources, scan: Scan, procs: Mapping[int, Proc]) -> list[Level]:
    """WAL-2's lines; a file that was deleted while it is open can only be told by its holders."""
    found = []
    for path, pids in sorted(scan.wals.items())[:_WALS]:
        gone = path.endswith(" (deleted)")
        try:
            size = sources.size(path)[0] if not gone else 0
            free = sources.space(path)[1] if not gone else None
        except OSError:
            continue
        try:
            whole = sources.size(path.removesuffix(" (deleted)").removesuffix("-wal"))[0]
        except OSError:
            whole = 0
        worst = "warn" if gone else wal_state(size, whole, free)
        if worst == "calm" and size < core.WAL_LEAST[0]:
            continue
        names = ", ".join(f"{label(procs[pid])} (pid {pid})" for pid in pids[:2] if pid in procs)
        words = (
            f"deleted while {names} writes to it"
            if gone
            else f"of a {format_bytes(whole)} database, open in {names}"
        )
        limit = None if gone or free is None else float(size + free)
        found.append(
            Level(
                f"wal:{path}", "wal", path, size, limit, "bytes", detail=words, shares=(2.0, 2.0), floor=worst
            )
        )
    return found


def wal_state(size: int, whole: int, free: int | None) -> State:
    """WAL-2 of the specification."""
    if size >= core.WAL_MOST or (size >= core.WAL_SHARES[1] * whole and size >= core.WAL_LEAST[1]):
        return "danger"
    if free is not None and size >= core.WAL_LEAST[0] and size >= core.WAL_DISK * free:
        return "danger"
    if size >= core.WAL_WARN or (size >= core.WAL_SHARES[0] * whole and size >= core.WAL_LEAST[0]):
        return "warn"
    return "calm"


def unread(scan: Scan) -> list[str]:
    """What is missing from all of this, in words."""
    words = []
    if scan.unread:
        words.append(f"open files of {scan.unread} processes of other users (run as root to count them)")
    if scan.cut:
        words.append("open files of some processes: there was no time for all")
    return words


def most(scan: Scan) -> Open | None:
    """The one with most descriptors, for a calm screen."""
    return max(scan.by_pid.values(), key=lambda one: one.count, default=None)
