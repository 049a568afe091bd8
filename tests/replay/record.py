"""Writes the recorded histories anew: `python -m tests.replay.record`. Only when a decision was changed on purpose.

Each function is one incident as a history on a fake clock; its lines are what the journal of a daemon would hold.
The diff of the written files is the review: it shows every decision that became another one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from tests.policy.conftest import World

from midwatch.model import event as ev
from midwatch.model.service import DrainRules, FileWatch, MemoryLines, Probe, Schedule

FOLDER = Path(__file__).parent


def outage() -> World:
    """A database is away for twenty minutes: crashes, degraded, up again, recovered."""
    return _then_stable(World("shop/api").lives(*[(1, 2.0)] * 14))


def drain_loop() -> World:
    """The incident that began it all: a worker that drains itself every 246 s."""
    return World("gbrain/worker", drain_code=12).lives(*[(12, 216.0)] * 12)


def spinner() -> World:
    """A worker that exits with 0 at once, then one that stays."""
    return _then_stable(World("jobs/poller").lives(*[(0, 0.05)] * 16))


def wedged() -> World:
    """A web server that answers nobody: restarts, the budget is spent, it recovers by itself, it is stopped."""
    w = World("shop/web", health=Probe(http="http://127.0.0.1:1/", failures=3))
    for _ in range(4):
        w.come_up()
        for _ in range(3):
            w.feed(ev.Probed(str(w.state.run), "health", False, "timeout"), 30.0)
        if w.state.phase == "stopping":
            w.exit(signal=15, after=0.5)
            w.tree_gone(ended=2)
    w.feed(ev.Probed(str(w.state.run), "health", True), 30.0)
    return _stopped(w)


def hard_to_stop() -> World:
    """Leaves grandchildren behind, ignores TERM, and the engine dies in the middle of the stop."""
    w = World("tools/mcp").come_up()
    w.exit(3, 5.0, strays=2)
    w.tree_gone(left=1)
    w.tick()
    w.tree_gone()
    w.come_up()
    w.ask("restart", "r1")
    w.feed(ev.Resumed(alive=True), 2.0)
    w.tick()
    w.tree_gone(ended=3, verified_by="marker")
    w.exit(signal=9, after=0.01)
    return _stopped(w.come_up())


def never_started() -> World:
    """No more processes, then a missing file, then a code that says "configuration"."""
    w = World("cron/report").come_up()
    w.exit(1, oom_kills=1)
    w.tick()
    w.feed(ev.SpawnFailed(str(w.state.run), "EAGAIN", "fork", "no more processes", lasting=False))
    w.tick()
    w.spawned()
    w.exit(signal=9, oom_kills=1)
    w.come_up().exit(78)
    w.ask("reset", "r")
    w.feed(ev.SpawnFailed(str(w.state.run), "ENOENT", "lookup", "no such file", lasting=True, fingerprint="f"))
    w.ask("stop", "s")
    return w


def launcher() -> World:
    """hermes-webui's bug: the launcher exits with 0, its child serves; followed, lost in a night, found dead."""
    w = World("hermes/webui", ready=Probe(http="http://127.0.0.1:8787/health"))
    w.ask("start", "go")
    w.come_up()
    w.exit(0, 0.4, heir=4711, port=8787, strays=1)
    w.feed(ev.Probed(str(w.state.run), "ready", True), 0.8)
    w.feed(ev.Resumed(alive=True), 300.0)
    w.feed(ev.Woke(8 * 3600.0, 8 * 3600.0), 8 * 3600.0)
    w.exit(status=None, after=60.0, unseen=45.0, strays=-1)
    w.tree_gone()
    w.come_up()
    w.feed(ev.Wedged(str(w.state.run), "backlog", "129 connections wait, nobody has accepted one for 15 s"), 15.0)
    w.feed(ev.Wedged(str(w.state.run), "backlog", "0 wait", over=True), 5.0)
    w.feed(ev.Probed(str(w.state.run), "ready", True), 0.8)
    return _stopped(w)


def port_conflict() -> World:
    """An orphan holds the port for two minutes, another one appears, then the port is free; one early end beside it."""
    w = World("hermes/api")
    w.ask("start", "go")
    w.feed(ev.Permit())
    for number in range(6):
        owner = "python3 server.py (pid 812, ann, 3 d)" if number < 4 else "node (pid 900, ann, 2 s)"
        w.feed(ev.PortBusy(str(w.state.run), 8787, "orphan" if number < 4 else "stranger", owner, 812, "kill 812"))
        w.tick()
    w.spawned()
    w.exit(1, 0.3, port=8787, port_owner="node (pid 900, ann, 2 m)")
    w.tick()
    w.spawned()
    w.tick()
    return _stopped(w)


def nightly() -> World:
    """A scheduled backup: runs, fails, is too slow, is asked for twice; and a developer saves a file in between."""
    w = World("ops/backup", schedule=Schedule("0 3 * * *", deadline=600.0), file_watch=FileWatch(("/srv",)))
    w.ask("start", "arm")
    w.feed(ev.Permit())
    for slot, code in ((1.0, 0), (2.0, 1), (3.0, 75)):
        w.feed(ev.Due(slot), 86_400.0)
        w.spawned()
        w.feed(ev.Changed(("/srv/a.py",), 1), 1.0)
        w.exit(code, 60.0)
    w.feed(ev.Due(9.0, missed=5, late=1800.0), 5 * 86_400.0)
    w.spawned()
    w.feed(ev.Due(10.0), 300.0)
    w.tick()
    w.exit(signal=15, after=0.3)
    w.tree_gone()
    w.ask("stop", "s")
    return w


def watched() -> World:
    """A developer saves three times; then the service writes into its own folder at each start."""
    w = World("dev/api", file_watch=FileWatch(("/srv/api",))).come_up()
    for after in (40.0, 30.0, 25.0, 1.0, 0.9, 0.6, 0.6):
        w.feed(ev.Changed(("/srv/api/a.py", "/srv/api/b.py"), 2), after)
        if w.state.phase == "stopping":
            w.exit(signal=15, after=0.2)
            w.tree_gone(ended=1)
            w.come_up()
    return _stopped(w)


def guarded() -> World:
    """A leak drained at its soft line, a late drain, an explosion ended at the hard line, a machine in danger."""
    rules = {"memory": MemoryLines(1000 << 20, 2000 << 20), "drain": DrainRules(signal=10), "drain_code": 12}
    w = World("agents/coder", **rules).come_up()
    steps: tuple[tuple[Any, Any, int, float], ...] = (
        ("memory", "warn", 850, 10.0), ("memory", "soft", 1001, 10.0), ("memory", "soft", 1003, 10.0),
        ("memory", "hard", 1990, 0.0), ("host", "hard", 900, 2.0),
    )  # fmt: skip
    for guard, level, mib, polite in steps:
        words = f"holds {mib} MiB"
        w.feed(ev.Tripped(str(w.state.run), guard, level, mib << 20, 1000 << 20, "exact", words, polite), 600.0)
        if level == "warn":
            w.feed(ev.Eased(str(w.state.run), guard), 300.0)
        elif level == "soft" and mib == 1001:
            w.exit(12, 20.0)
        else:
            w.tick() if w.state.phase == "up" else None
            w.exit(signal=15 if polite else 9, after=0.4)
            w.tree_gone(ended=1)
        w.come_up()
    return _stopped(w)


HISTORIES: tuple[Callable[[], World], ...] = (
    outage, drain_loop, spinner, wedged, hard_to_stop, never_started, launcher, port_conflict, nightly,
    watched, guarded,
)  # fmt: skip


def _then_stable(w: World) -> World:
    w.come_up()
    while w.state.wake_at is not None:
        w.tick()
    return _stopped(w)


def _stopped(w: World) -> World:
    w.ask("stop", "stop")
    w.exit(signal=15, after=0.2)
    w.tree_gone(ended=1)
    return w


def lines(w: World) -> list[dict[str, Any]]:
    """The journal of a world: the snapshot of its beginning, then each line, the input on the first that it caused."""
    first = World(w.state.id)
    start = msgspec.structs.replace(first.state, rules=w.rules)
    found: list[Any] = [{"ts": "", "event": "journal.opened", "snapshot": {"now": first.now, "states": [start]}}]
    for event, at, notes in w.inputs:
        for number, note in enumerate(notes):
            cause = {"input": event, "awake": at} if number == 0 else {}
            found.append({"ts": f"{at:.3f}", "event": note.event, "service": w.state.id, **note.fields, **cause})
    return msgspec.json.decode(msgspec.json.encode(found))  # type: ignore[no-any-return]


if __name__ == "__main__":
    for history in HISTORIES:
        text = "".join(json.dumps(line) + "\n" for line in lines(history()))
        (FOLDER / f"{history.__name__}.jsonl").write_text(text, encoding="utf-8")
