"""Become a newer keeper in place: the same pid and children, FIFOs, gates, sockets, and statuses nobody has taken.

The table goes through exec as JSON in a file without a name, and with it the descriptors it tells of. Signals wait,
blocked, for the successor; the pump stands still, and a child that ends meanwhile is reaped at its start. Imported at
the start: later its file may be the new release's. Must not know what has changed between the two.
"""

from __future__ import annotations

import _socket
import errno
import json
import os
import resource
import signal
import sys
import time

from midwatch.keeper import engine, spawn
from midwatch.keeper.pump import NULL, Stream
from midwatch.keeper.spawn import FILES, MOST, OURS, Run
from midwatch.keeper.wire import Frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from midwatch.keeper.main import Keeper

TABLE = 1  # its version: a successor reads what it knows of any, and keeps every child it finds a pid of
STILL = 5.0  # s that a disk may hold up the pump, and loading the new program may take
PASSED = ("gate", "watch") if sys.platform == "linux" else ("gate",)  # elsewhere watch is no descriptor
RUN = ("run", "pid", "start", "gate", "watch", "adopted", "ended")
STREAM = ("name", "fifo", "log", "limit", "src", "size", "copies", "discard", "lost", "errno")


def execute(keeper: Keeper, argv: list[str]) -> None:
    """Does not return, or all is as before and OSError says why."""
    if keeper.engine.host is not None:
        raise OSError(errno.EOPNOTSUPP, "part of another program")
    check(argv)
    if not keeper.pump.lock.acquire(True, STILL):
        raise OSError(errno.EAGAIN, "the disk holds up the output")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    passed: list[int] = []
    try:
        keeper.woken()  # what came until now; all else comes after the exec
        table = describe(keeper, sorted(mask))
        fds = [fd for run in table["runs"] for fd in (*(run[k] for k in PASSED), *(s["src"] for s in run["streams"]))]
        passed = [fd for fd in (*fds, *(s[0] for s in table["sockets"].values())) if fd >= 0]
        with open(unnamed(argv[-1] + ".table"), "r+b", 0) as f:
            f.write(json.dumps(table).encode())
            f.seek(0)
            for fd in (*passed, f.fileno()):
                os.set_inheritable(fd, True)
            resource.setrlimit(FILES, MOST)
            os.execv(argv[0], [*argv, str(f.fileno())])
    finally:
        for fd in passed:
            os.set_inheritable(fd, False)
        resource.setrlimit(FILES, OURS)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        keeper.pump.lock.release()


def check(argv: list[str]) -> None:
    """Can its plan be read and its program be loaded? After an exec into a broken one nobody would be left."""
    with open(argv[-1], encoding="utf-8") as f:
        if not json.load(f)["engine"]:
            raise OSError(errno.EINVAL, f"no engine in {argv[-1]}")
    pid = spawn.start(argv[:-1], argv[0], dict(os.environ), (NULL, -1, -1), keep=())
    end = time.monotonic() + STILL
    while (done := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    if done[1]:
        raise OSError(errno.ENOEXEC, f"{argv[:-1]} cannot be loaded: status {done[1]}")


def unnamed(path: str) -> int:
    """A file that nobody else can open; in memory, where that is possible: the disk may be full."""
    if sys.platform == "linux":
        return os.memfd_create("midwatch")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    os.unlink(path)
    return fd


def describe(keeper: Keeper, mask: list[int]) -> Frame:
    """Everything that a successor needs."""
    runs = []
    for run in keeper.runs.values():
        streams = [{key: getattr(stream, key) for key in STREAM} for stream in run.streams.values()]
        runs.append({**{key: getattr(run, key) for key in RUN}, "streams": streams})
    said = keeper.engine
    return {
        "version": TABLE, "runs": runs, "mask": mask,
        "signals": keeper.signals, "asked": keeper.asked, "heard": keeper.heard,
        "sockets": {name: (made.fileno(), *more) for name, (made, *more) in keeper.sockets.named.items()},
        "engine": {"pid": said.pid, "starts": said.starts, "spoke": said.spoke}, "limit": spawn.LIMIT,
    }  # fmt: skip


def restore(keeper: Keeper, fd: int) -> None:
    """Take over. What cannot be read costs itself only; the old engine ends, or is ended, before the next begins."""
    mask: list[int] = []
    try:
        with open(fd, "rb") as f:
            table = json.load(f)
        mask = table.get("mask", [])
        keeper.signals, keeper.asked = table.get("signals", []), table.get("asked", 0)
        keeper.heard = table.get("heard", keeper.heard)
        spawn.LIMIT = tuple(table.get("limit", spawn.LIMIT))
        for facts in table.get("runs", []):
            try:
                revive(keeper, facts)
            except Exception as e:  # noqa: BLE001
                engine.complain(f"cannot take over {facts}: {e!r}")
        for name, (number, *more) in table.get("sockets", {}).items():
            os.set_inheritable(number, False)
            keeper.sockets.named[name] = _socket.socket(fileno=number), *more
        old = table.get("engine", {})
        keeper.engine.succeed(old.get("pid", -1), old.get("starts", 1), old.get("spoke", True))
    except Exception as e:  # noqa: BLE001
        engine.complain(f"cannot read what the keeper before us kept: {e!r}")
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    keeper.reap()


def revive(keeper: Keeper, facts: Frame) -> None:
    """One run of the table; pid and name are all that it must have."""
    run = Run(facts["run"])
    run.pid, run.start, run.adopted = facts["pid"], facts.get("start", 0), facts.get("adopted", False)
    run.ended, run.gate = facts.get("ended") or {}, min(facts.get("gate", -1), -1)
    keeper.runs[run.run] = run
    if not run.ended:
        keeper.pids[run.pid] = run
    for saved in facts.get("streams", []):
        stream = Stream(run.run, saved["name"], saved["fifo"], saved["log"], saved.get("limit"))
        run.streams[stream.name] = stream
        for key in STREAM[4:]:
            setattr(stream, key, saved.get(key, getattr(stream, key)))
        if stream.src >= 0:
            os.set_inheritable(stream.src, False)
            keeper.pump.add(stream)
    for key in PASSED:
        if (fd := facts.get(key, -1)) >= 0:
            os.set_inheritable(fd, False)
            setattr(run, key, fd)
    if facts.get("watch", -1) >= 0:
        keeper.ends.watch(run)
