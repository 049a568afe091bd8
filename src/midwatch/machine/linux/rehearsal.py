"""The rare path, tried before it is needed: a dummy tree is frozen, killed and reaped by the code that ends runs.

A shell with a child, in a group of its own; both wait for the end of a pipe that we hold. So does a warden outside, who
kills the group then: whoever stands still does not see that we died. The answer says for each rung "yes" or what is
used instead and why. At most a second or so, in a worker thread. Must not touch anything else.
Tests: tests/machine/test_pause.py.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Protocol

from midwatch.machine.linux import cgroup, mrelease
from midwatch.machine.ports import Containment, Ended, Tree
from midwatch.model.identity import ProcId

SECONDS = 1.0
_SCRIPT = "exec 3<&0; (read x <&3) & echo; read x <&3; wait"  # nothing but the shell itself is needed
_WARDEN = "read x; kill -KILL -{}"  # the number of a group is not given away again while it has members
_END = 0.5  # seconds for the end of the dummies, however late it is
BUSY = "not tried to the end: the machine is too busy"
_HELP = 0.6  # seconds that the program which tries process_mrelease may take


class Stage(Protocol):
    """What of the machine is rehearsed."""

    def identify(self, pid: int) -> ProcId | None: ...
    def place(self, moves: list[tuple[Containment, int]]) -> list[OSError | None]: ...
    def freeze(self, tree: Tree) -> str: ...
    def end(self, tree: Tree, polite: float, verify: float) -> Ended: ...


def rehearse(machine: Stage, containment: Containment, keeper: int, run: str, kill: str) -> dict[str, str]:
    """`containment`: an empty group, or none; `kill`: what the machine says of cgroup.kill."""
    until = time.monotonic() + SECONDS
    told: dict[str, str] = {}
    waiting, hold = os.pipe()
    try:
        pid = _dummies(run, waiting)
        try:
            warden = _shell(_WARDEN.format(pid), "", waiting)  # without the mark: it is none of the tree
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
    except OSError:
        os.close(hold)
        raise
    finally:
        os.close(waiting)
    try:
        main = machine.identify(pid)
        if main is None:
            return {"rehearsal": "its dummy process was gone at once"}
        tree = Tree(run, main, run, containment, keeper)
        failed = machine.place([(containment, pid)])[0] if containment.dirs else None
        if failed is not None:
            told["rehearsal"] = f"cannot move a process into its group: {failed.strerror}"
        told["freeze"] = _freeze(machine, tree)
        without = kill if containment.kill else _why(containment)
        began = time.monotonic()
        ended = machine.end(tree, 0, max(_END, until - began - 0.2))
        told["kill"] = _killed(ended, without, began)
        if ended.left and began > until - _END:
            told["kill"] = BUSY
    finally:
        os.kill(warden, signal.SIGKILL)  # before the group's number may become free
        os.waitpid(warden, 0)
        os.close(hold)
        told["reap"] = _reap(pid)
    told["memory release"] = _release(until - time.monotonic())
    told.setdefault("rehearsal", "yes")
    return told


def _dummies(run: str, waiting: int) -> int:
    """The dummy tree, once its second member is there. It lives until the other end of `waiting` is closed."""
    read, write = os.pipe()
    try:
        pid = _shell(_SCRIPT, run, waiting, write)
    finally:
        os.close(write)
    os.read(read, 1)
    os.close(read)
    return pid


def _shell(script: str, run: str, stdin: int, stdout: int | None = None) -> int:
    """Start it as leader of a session and group of its own; its pid."""
    out = (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)
    return os.posix_spawn(
        "/bin/sh", ["sh", "-c", script], {"PATH": "/usr/bin:/bin"} | ({"MIDWATCH_RUN": run} if run else {}),
        file_actions=[
            (os.POSIX_SPAWN_DUP2, stdin, 0), out if stdout is None else (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
        ],
        setsid=True, setsigmask=(), setsigdef=(signal.SIGTERM, signal.SIGINT, signal.SIGPIPE),
    )  # fmt: skip


def _freeze(machine: Stage, tree: Tree) -> str:
    how = machine.freeze(tree)
    if how != "cgroup":
        return f"SIGSTOP only: {_why(tree.containment)}" if how else "nobody could be stopped"
    group = tree.containment.kill or ""
    return "yes" if cgroup.frozen(group) else "SIGSTOP only: the group does not come to a halt"


def _why(containment: Containment) -> str:
    return containment.why_not.removeprefix("kill: ") or "no cgroup"


def _killed(ended: Ended, without: str, began: float) -> str:
    if ended.left:
        return f"{len(ended.left)} of the dummies could not be ended within {time.monotonic() - began:.1f} s"
    return "yes" if without == "yes" else f"one by one: {without}"


def _reap(pid: int) -> str:
    """The dummy's status; its grandchild falls to the keeper, as every orphan does."""
    for _ in range(50):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            signalled = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            return "yes" if signalled else f"unexpected status {status}"
        time.sleep(0.01)
    return "the dummy does not leave"


def _release(seconds: float) -> str:
    """A program of its own tries it, so that nothing of it stays in this process."""
    import subprocess

    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", mrelease.__file__], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=max(0.1, min(_HELP, seconds)), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return BUSY
    except (OSError, subprocess.SubprocessError) as error:
        return f"not tried: {error}"[:200]
    return done.stdout.strip()[:200] or "not tried: its helper failed"
