"""The command's process: how it is started, told to leave, ended with everything it started, and reaped.

It stands on the machine's look-up, cgroups, members and ladder. A run with a memory limit waits in a gate (a shell that
reads a line) until it is in its cgroup. Inside of other people's programs: no signal handler, no waitpid but of our own
child, no change of process-wide settings. Must not read output. Tests: tests/system/test_bounded_*.py.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from midwatch.bounded import orphans, pipes
from midwatch.bounded.machinery import INSTANCE, Machinery
from midwatch.bounded.traces import Trace
from midwatch.machine.ports import Containment, Ended, LaunchProblem, Tree
from midwatch.model.identity import ProcId
from midwatch.model.service import Launch
from midwatch.policy import defaults_bounded as d

_GET_INFO, _INFO_EXIT = 0xC040FF0B, 1 << 3  # _IOWR(0xFF, 11, 64 bytes); the status is in its last int (Linux >= 6.15)
_READ = 'read midwatch_gate <&{fd} || exit 125; exec "$@" {back}'


class CannotStart(Exception):
    """Nothing was started. `error` is the errno's name."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error


class Order(NamedTuple):
    """What to start."""

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    split: bool
    stdin: int | None  # a descriptor; None: /dev/null
    memory: int | None


class Gone(NamedTuple):
    """How the process ended: raw wait status (None: somebody else took it), largest resident size it or a child had."""

    status: int | None
    max_rss: int


class Child:
    """A command: `start` it, and `close` it whatever happened then. `outs`: our ends of its pipes, for stdout (or both)
    and stderr."""

    def __init__(self, order: Order, machinery: Machinery) -> None:
        """Looks for the program; raises CannotStart."""
        self.machine = machinery.machine
        self._machinery = machinery
        token = os.urandom(8).hex()
        self.run = f"{INSTANCE}.{token}"
        outer = order.env.get("MIDWATCH_RUN")
        self.marker = f"{outer}/{INSTANCE}:{token}" if outer else f"{INSTANCE}:{token}"
        self.outs: list[int] = []
        self.watch = -1
        self._wide = 0  # bytes of pipes that are wider than usual
        self.polled = ""  # why the memory limit is held by looking, not by the kernel
        env = {**order.env, "MIDWATCH_RUN": self.marker}
        launch = Launch(order.argv, order.cwd, env, memory_hard=order.memory)
        target = self.machine.lookup(launch)
        if isinstance(target, LaunchProblem):
            raise CannotStart(target.error, target.message)
        self._order, self._launch, self._exe = order, launch, target.exe
        self._contained = Containment()
        self._trace = machinery.book.open()
        self._started = self._closed = False

    def start(self) -> None:
        """Raises CannotStart, and then nothing is left; after anything else `abandon` it."""
        order = self._order
        if order.memory:
            self._contained = self.machine.contain(self.run, self._launch)
            if not self._contained.memory:
                self.polled = self._contained.why_not or "no memory cgroup here"
        try:
            self._start(order, self._launch.env, self._exe)
        except OSError as error:
            self.close()
            raise CannotStart(_name(error), f"cannot start {order.argv[0]!r}: {error.strerror}") from None

    def _start(self, order: Order, env: Mapping[str, str], exe: str) -> None:
        """With every descriptor closed that the child does not need, and ours close-on-exec."""
        theirs: list[int] = []
        gate: tuple[int, int] | None = None
        try:
            for _ in range(2 if order.split else 1):
                mine, other = os.pipe()
                self.outs.append(mine)
                theirs.append(other)
                self._wide += pipes.widen(mine)
            if self._contained.dirs:
                gate = os.pipe()
            argv, files, keep = self._words(order, theirs, gate)
            self._popen = subprocess.Popen(
                argv, executable=None if argv[0] != order.argv[0] else exe, stdin=files[0], stdout=files[1],
                stderr=files[2], cwd=order.cwd, env=env, start_new_session=True, pass_fds=keep,
            )  # fmt: skip
        except BaseException:
            if gate:
                os.close(gate[1])
            raise
        finally:
            for fd in theirs + ([gate[0]] if gate else []):
                os.close(fd)
        self._known(self._popen.pid)
        # Only now, and once: should we be killed before, PDEATHSIG or the end of its gate makes it leave.
        self._trace.write(Trace(self.run, self.marker, self.tree.main))
        if gate:
            self._admit(gate[1])

    def _words(
        self, order: Order, theirs: Sequence[int], gate: tuple[int, int] | None
    ) -> tuple[list[str], tuple[int, int, int], tuple[int, ...]]:
        """What is executed, its three files, and what else it keeps. The gate borrows stdin when there is none, else
        stderr: a shell's digits end at 9, and those numbers may be in use in this process."""
        null = subprocess.DEVNULL
        stdin = null if order.stdin is None else order.stdin
        words = [*self._machinery.deathly, *order.argv]
        if gate is None:
            return words, (stdin, theirs[0], theirs[-1]), ()
        odd = [f"{k}={v}" for k, v in order.env.items() if not (k.isascii() and k.isidentifier())]  # a shell drops them
        words = [*(("/usr/bin/env", *odd) if odd else ()), *words]
        shell = ["/bin/sh", "-c"]
        if stdin == null:
            script = _READ.format(fd=0, back="</dev/null")
            return [*shell, script, "midwatch-gate", *words], (gate[0], theirs[0], theirs[-1]), ()
        back = f"2>/proc/self/fd/{theirs[1]}" if order.split else "2>&1"
        keep = (theirs[1],) if order.split else ()
        return [*shell, _READ.format(fd=2, back=back), "midwatch-gate", *words], (stdin, theirs[0], gate[0]), keep

    def _known(self, pid: int) -> None:
        try:
            self.watch = os.pidfd_open(pid)
        except (OSError, AttributeError):
            self.watch = -1  # it is gone already and somebody took its status, or this system has none
        main = self.machine.identify(pid)
        boot = self.machine.now().boot
        self.tree = Tree(self.run, main or ProcId(pid, 0, boot), self.marker, self._contained, 0)
        self._started = True

    def _admit(self, gate: int) -> None:
        """Into its cgroup, then through the gate. Where the kernel refuses, we look at its memory ourselves."""
        try:
            failed = self.machine.place([(self._contained, self.tree.main.pid)])[0]
            if failed is not None:
                self.polled = f"it could not be placed into its cgroup: {failed.strerror}"
            os.write(gate, b"\n")
        except BrokenPipeError:
            pass  # it has been killed in its gate; that is seen at once
        finally:
            os.close(gate)

    def ask(self) -> None:
        """TERM to everybody in its group."""
        self.machine.signal_group(self.tree, signal.SIGTERM)

    def end(self) -> Ended:
        """KILL to all of its tree, verified. At most VERIFY seconds."""
        members = {proc.pid for proc in self.machine.members(self.tree)}
        ended = self.machine.end(self.tree, 0.0, d.VERIFY)
        reap(members - {self.tree.main.pid})
        orphans.end(self.tree.main.pid, d.VERIFY)
        return ended

    def abandon(self) -> None:
        """Ctrl-C at any moment, also of its start: nothing of it is left running or open."""
        if self._closed:
            return  # it was over: who may have been left running stays
        if self._started:
            self.end()
            if self._popen.returncode is None:
                self.reap()
        elif found := self.machine.find(self.marker, ()):  # it was started, and nobody could tell us its number
            self.machine.end(Tree(self.run, found[0], self.marker, self._contained, 0), 0.0, d.VERIFY)
            reap({proc.pid for proc in found})
        self.close()

    def oom_kills(self) -> int:
        """How often the kernel ended somebody of the tree at the memory limit."""
        return (self.machine.oom_kills(self._contained) or 0) if self._contained.memory else 0

    def reap(self) -> Gone | None:
        """How it ended; None: it has not."""
        pid = self.tree.main.pid
        try:
            done, status, usage = os.wait4(pid, os.WNOHANG)
        except ChildProcessError:
            return self._taken()
        if done == 0:
            return None
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        scale = 1 if sys.platform == "darwin" else 1024
        return Gone(status, usage.ru_maxrss * scale)

    def _taken(self) -> Gone | None:
        """The host program ignores SIGCHLD or waits for everybody: the status may still be had from the kernel."""
        if self.machine.alive(self.tree.main):
            return None
        self._popen.returncode = 0  # so that nobody waits for it again
        info = bytearray(_INFO_EXIT.to_bytes(64, "little"))
        try:
            fcntl.ioctl(self.watch, _GET_INFO, info)
        except (OSError, ValueError):
            return Gone(None, 0)
        return Gone(int.from_bytes(info[60:], "little") if info[0] & _INFO_EXIT else None, 0)

    def told(self) -> tuple[str, ...]:
        """What is not as it should be here, in words."""
        polled = f"the memory limit is held by looking every {d.MEMORY_EVERY:g} s: {self.polled}" if self.polled else ""
        return tuple(words for words in (polled, self._trace.why) if words)

    def close(self) -> None:
        """Our ends; the cgroup; the trace."""
        self._closed = True
        for fd in (*self.outs, *((self.watch,) if self.watch >= 0 else ())):
            os.close(fd)
        pipes.give_back(self._wide)
        self.outs, self.watch, self._wide = [], -1, 0
        if self._started and self._popen.returncode is None:
            self._machinery.late.add(self.tree.main.pid)
            self._popen.returncode = 0  # so that subprocess does not warn of it
        self._forget()

    def _forget(self) -> None:
        if self._contained.dirs:
            self.machine.release(self._contained)
        self._trace.remove()


def reap(pids: set[int]) -> set[int]:
    """Those of a tree that fell to us (a subreaper, or process 1 of a container): they leave no zombie. Who of them is
    still there."""
    left = set()
    for pid in pids:
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                left.add(pid)
        except OSError:
            pass  # not our child, as usual
    return left


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "EIO")
