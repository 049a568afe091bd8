"""`midwatch` alone: the services, and the ten largest process trees of this machine. Read-only.

A tree is what one session started: its processes are climbed up to the session's first one, and the jobs
of a shell count one by one. Held memory is anonymous + shared + swapped memory where the kernel shows it
(RssAnon, RssShmem, VmSwap), else the resident size, and it is named so. Must not signal, change or keep
anything. Tests: tests/front/test_overview.py.
"""

from __future__ import annotations

import os
import time
from typing import Any, NamedTuple

from midwatch.front.cli import instances, ps
from midwatch.front.cli.render import coloured, paint, say_json, size, table, width

LARGEST = 10
SMALL = 5 << 20  # bytes; trees below it are noise
_SHELLS = frozenset(
    {"sh", "bash", "zsh", "fish", "dash", "ksh", "tcsh", "csh", "login", "sshd", "tmux", "screen"}
)
_SHELLS_SERVED = _SHELLS | {"tmux: server", "systemd", "launchd", "init"}


class Proc(NamedTuple):
    """One process: where it hangs, what it holds."""

    pid: int
    parent: int
    session: int
    name: str
    held: int
    exact: bool  # held memory; False: resident size


class Tree(NamedTuple):
    """The processes below one root."""

    root: Proc
    processes: int
    held: int
    exact: bool


def overview(json: bool) -> int:
    """Print it; exit code 0."""
    started = time.monotonic()
    picture = instances.look()
    rows = [known.row for known in picture.services if known.row is not None]
    procs = processes()
    trees = largest(procs)
    commands = {tree.root.pid: command(tree.root) for tree in trees}
    if json:
        shown = [
            {
                "pid": tree.root.pid,
                "name": tree.root.name,
                "command": commands[tree.root.pid],
                "processes": tree.processes,
                "held_bytes" if tree.exact else "rss_bytes": tree.held,
            }
            for tree in trees
        ]
        say_json({"daemon": picture.daemon, "services": rows, "trees": shown, "processes": len(procs)})
        return 0
    for line in screen(rows, picture.daemon, trees, commands, width(), time.time()):
        print(line)
    took = time.monotonic() - started
    print(paint(f"looked at {len(procs)} processes in {took:.1f} s; nothing was changed", "dim", coloured()))
    print(next_line(rows))
    return 0


def screen(
    rows: list[dict[str, Any]],
    daemon: dict[str, Any] | None,
    trees: list[Tree],
    commands: dict[int, str],
    room: int,
    now: float,
) -> list[str]:
    """Both tables."""
    lines = ps.screen(rows, daemon, room, now) if rows else ["no service runs"]
    label = "HELD" if all(tree.exact for tree in trees) else "HELD/RSS"
    cells = [
        (
            size(tree.held) + ("" if tree.exact else " rss"),
            str(tree.processes),
            str(tree.root.pid),
            commands[tree.root.pid],
        )
        for tree in trees
    ]
    lines += ["", *table((label, "PROCS", "PID", "LARGEST TREES"), cells, room, frozenset({0, 1, 2}), 3)]
    return lines


def next_line(rows: list[dict[str, Any]]) -> str:
    """What to type from here."""
    if not rows:
        return "next: 'midwatch run -- CMD' for one command, 'midwatch up' for a midwatch.toml"
    bad = next((row for row in rows if row["state"] in {"held", "gave_up", "degraded", "backoff"}), None)
    if bad is not None:
        return f"next: 'midwatch why {bad['project']}/{bad['name']}'"
    return "next: 'midwatch ps' for the services alone, 'midwatch -h' for every command"


def processes() -> list[Proc]:
    """Every process this user may see, but this one."""
    import psutil

    found = []
    for process in psutil.process_iter(["ppid", "name"]):
        if process.pid == os.getpid():
            continue
        info = process.info
        try:
            held, exact = memory(process)
            session = os.getsid(process.pid)
        except (psutil.Error, OSError):
            continue
        found.append(Proc(process.pid, info["ppid"] or 0, session, info["name"] or "?", held, exact))
    return found


def memory(process: Any) -> tuple[int, bool]:
    """Held memory and True, or the resident size and False."""
    try:
        with open(f"/proc/{process.pid}/status", "rb") as file:
            fields = held_fields(file.read())
    except OSError:
        fields = None
    return (fields, True) if fields is not None else (int(process.memory_info().rss), False)


def held_fields(status: bytes) -> int | None:
    """RssAnon + RssShmem + VmSwap in bytes; None where the kernel shows none of the first two."""
    total, seen = 0, False
    for line in status.splitlines():
        name, _, rest = line.partition(b":")
        if name in {b"RssAnon", b"RssShmem", b"VmSwap"}:
            number = rest.split()[:1]
            if number and number[0].isdigit():
                total += int(number[0]) * 1024
                seen = seen or name != b"VmSwap"
    return total if seen else None


def largest(procs: list[Proc], count: int = LARGEST) -> list[Tree]:
    """The trees that hold most."""
    by_pid = {proc.pid: proc for proc in procs}
    members: dict[int, list[Proc]] = {}
    for proc in procs:
        members.setdefault(root_of(proc, by_pid).pid, []).append(proc)
    trees = [
        Tree(by_pid[root], len(group), sum(p.held for p in group), all(p.exact for p in group))
        for root, group in members.items()
    ]
    trees = [tree for tree in trees if tree.held >= SMALL]
    return sorted(trees, key=lambda tree: (-tree.held, tree.root.pid))[:count]


def root_of(proc: Proc, by_pid: dict[int, Proc]) -> Proc:
    """Climb while the parent is of the same session and not a shell or the system's first process."""
    root = proc
    for _ in range(len(by_pid)):
        parent = by_pid.get(root.parent)
        if (
            parent is None
            or parent.pid <= 1
            or parent.session != root.session
            or parent.name in _SHELLS_SERVED
        ):
            break
        root = parent
    return root


def command(proc: Proc) -> str:
    """The command line of a root without secrets, or its name."""
    import psutil

    from midwatch.record.redact import redact

    try:
        words = psutil.Process(proc.pid).cmdline()
    except psutil.Error:
        words = []
    return redact(" ".join(words)) if words else f"[{proc.name}]"
