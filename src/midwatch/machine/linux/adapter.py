"""`LinuxMachine`: the Machine protocol on Linux, put together from this folder's parts.

Holds what has to be remembered between calls: our cgroups, the scanner's markers, the place in the kernel
log. Safe to call from worker threads for the methods that ports.py marks blocking. Must not decide anything.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from midwatch.machine import end, pause, trial
from midwatch.machine import launch as launches
from midwatch.machine.linux import (
    binary,
    cgroup,
    host,
    kernellog,
    limits,
    meters,
    pidfd,
    procfs,
    sockets,
    who,
)
from midwatch.machine.linux.readings import Readings
from midwatch.machine.linux.source import LinuxHand, ProcSource
from midwatch.machine.ports import (
    Containment,
    Ended,
    Holder,
    Host,
    LaunchProblem,
    Listener,
    Reading,
    Target,
    Tree,
)
from midwatch.machine.tree import Scanner
from midwatch.model.finding import FdSnapshot
from midwatch.model.identity import Now, ProcId
from midwatch.model.service import Launch

_FRESH = 0.25  # seconds: age up to which a meter may share a look at /proc with others
_LEAVING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


class LinuxMachine(Readings):
    """One Linux machine as one instance sees it. `instance` names our cgroups, `keeper_pid` is the
    subreaper.
    """

    def __init__(self, instance: str, keeper_pid: int) -> None:
        """Looks at mounts and capabilities; changes nothing."""
        self._boot = host.boot_id()
        self._instance = instance
        self._cgroups = cgroup.Cgroups(instance)
        self._scanner = Scanner(ProcSource(), keeper_pid, self._boot)
        self._hand = LinuxHand()
        self._keeper = keeper_pid
        self._log = kernellog.KernelLog()
        self._version = procfs.kernel_version(os.uname().release)
        self._host: Host | None = None

    def now(self) -> Now:
        """CLOCK_MONOTONIC (stops in suspend), wall clock, boot id."""
        return Now(time.monotonic(), time.time(), self._boot)

    def host(self) -> Host:
        """Capabilities, found out at the first call."""
        if self._host is None:
            self._host = host.probe(self._cgroups, self._boot)
        return self._host

    def identify(self, pid: int) -> ProcId | None:
        """See ports. A child of the keeper is asked for its marker while it has one."""
        stat = pidfd.look(pid)
        if stat is None:
            return None
        if stat.ppid == self._keeper:
            self._scanner.learn(stat)
        return ProcId(pid, stat.start, self._boot)

    def alive(self, proc: ProcId) -> bool:
        """See ports."""
        stat = pidfd.look(proc.pid)
        return stat is not None and stat.start == proc.start and proc.boot == self._boot and not stat.dead

    def lookup(self, launch: Launch) -> Target | LaunchProblem:
        """See ports."""
        return launches.lookup(launch, binary.check)

    def fingerprint(self, launch: Launch) -> str:
        """See ports."""
        return launches.fingerprint(launch, binary.check)

    def contain(self, run: str, launch: Launch) -> Containment:
        """See ports. The memory group is made only for a run with a limit: each one costs the kernel a while
        after.
        """
        if launch.contain == "none":
            return Containment(why_not='contain = "none"')
        return self._cgroups.make(run, launch.memory_hard, launch.contain == "cgroup")

    def leftover(self, run: str) -> Containment:
        """See ports."""
        return self._cgroups.existing(run)

    def place(self, moves: list[tuple[Containment, int]]) -> list[OSError | None]:
        """See ports."""
        results: list[OSError | None] = []
        for containment, pid in moves:
            failure: OSError | None = None
            for directory in containment.dirs:
                try:
                    cgroup.place(directory, pid)
                except OSError as error:
                    failure = error
                    break
            results.append(failure)
        return results

    def prepare(self, pid: int, launch: Launch) -> list[str]:
        """See ports."""
        return limits.prepare(pid, launch)

    def signal(self, proc: ProcId, signum: int) -> bool:
        """See ports. Raises PermissionError (a program that took another user's rights)."""
        return proc.boot == self._boot and pidfd.send(proc, signum)

    def signal_group(self, tree: Tree, signum: int) -> int:
        """See ports. A tree that is frozen or stopped is woken for a signal that asks it to leave.

        The number is exact for members one by one; for the group it is the cgroup's count, or 1 ("somebody").
        """
        if tree.main.boot != self._boot:
            return 0
        kill = tree.containment.kill
        leaving = signum in _LEAVING
        if kill and leaving:
            cgroup.thaw(kill)
        try:
            if tree.own_group and pidfd.send_group(tree.main, signum):
                if leaving:
                    pidfd.send_group(tree.main, signal.SIGCONT)
                return max(1, len(cgroup.pids(kill) or ())) if kill else 1
        except PermissionError:
            pass  # nobody of the group may be signalled; perhaps others of the tree
        return sum(self._tell(proc, signum, leaving) for proc in self.members(tree))

    def _tell(self, proc: ProcId, signum: int, leaving: bool) -> bool:
        try:
            told = pidfd.send(proc, signum)
            if told and leaving:
                pidfd.send(proc, signal.SIGCONT)
            return told
        except PermissionError:
            return False

    def members(self, tree: Tree) -> list[ProcId]:
        """See ports."""
        return self._scanner.identities(self._scanner.find(tree))

    def empty(self, tree: Tree) -> bool | None:
        """See ports."""
        if tree.main.boot != self._boot:
            return True
        occupied = cgroup.populated(tree.containment.kill) if tree.containment.kill else None
        return None if occupied is None else not occupied

    def end(self, tree: Tree, polite: float, verify: float) -> Ended:
        """See ports."""
        if tree.main.boot != self._boot:
            return Ended("tree", 0)  # nobody outlives a reboot
        return end.Ending(self._scanner, self._hand, tree).run(polite, verify)

    def freeze(self, tree: Tree) -> str:
        """See ports."""
        return pause.freeze(self._scanner, self._hand, tree) if tree.main.boot == self._boot else ""

    def thaw(self, tree: Tree, spare: tuple[ProcId, ...] = ()) -> None:
        """See ports."""
        if tree.main.boot == self._boot:
            pause.thaw(self._scanner, self._hand, tree, spare)

    def stopped(self, tree: Tree) -> tuple[ProcId, ...]:
        """See ports."""
        return pause.stopped(self._scanner, tree)

    def scene(self, tree: Tree, seconds: float) -> dict[str, Any]:
        """See ports."""
        from midwatch.machine.linux import scene  # seldom needed

        return scene.around(self._by_rank(tree), tree.containment.dirs, time.monotonic() + seconds)

    def stills(self, tree: Tree, seconds: float) -> dict[str, Any]:
        """See ports."""
        from midwatch.machine.linux import scene

        return scene.paused(self._by_rank(tree), time.monotonic() + seconds)

    def _by_rank(self, tree: Tree) -> list[int]:
        """The main process, if it is there, then the others."""
        pids = self._pids(tree)
        return sorted(pids, key=lambda pid: (pid != tree.main.pid, pid))

    def tracing(self) -> str:
        """See ports."""
        return host.tracing()

    def rehearse(self) -> dict[str, str]:
        """See ports."""
        from midwatch.machine.linux import rehearsal

        run = "midwatch.rehearsal.0"  # no service has a run 0; what a death of ours left is removed by the next
        containment = self._cgroups.make(run, None, False)
        try:
            rung = self.host().rungs["cgroup.kill"]
            return rehearsal.rehearse(self, containment, self._keeper, run, rung)
        except (OSError, RuntimeError) as error:
            return {"rehearsal": f"failed: {error}"}
        finally:
            self._cgroups.release(containment)

    def release(self, containment: Containment) -> None:
        """See ports."""
        self._cgroups.release(containment)

    def oom_kills(self, containment: Containment) -> int | None:
        """See ports."""
        return cgroup.oom_kills(containment.memory) if containment.memory else None

    def oom_by(self, containment: Containment) -> str:
        """See ports."""
        return next(filter(None, map(cgroup.oomd, containment.dirs)), "")

    def sees_kernel_log(self) -> bool:
        """See ports."""
        return self._log.speaks()

    def kernel_oom(self, pids: set[int], since: float) -> str | None:
        """See ports."""
        return self._log.oom(pids, since)

    def _pids(self, tree: Tree) -> list[int]:
        """The members for a reading: from the cgroup, else from a look at /proc that others may share."""
        inside = cgroup.pids(tree.containment.kill) if tree.containment.kill else None
        if inside is None:
            inside = self._scanner.find(tree, _FRESH).pids
        return sorted(inside - {self._keeper, os.getpid()})

    def held(self, tree: Tree) -> Reading:
        """See ports."""
        return meters.held(self._pids(tree), self._version)

    def held_one(self, pid: int) -> Reading:
        """See ports."""
        return meters.held([pid], self._version)

    def open_fds(self, pid: int) -> tuple[int | None, int | None]:
        """See ports."""
        return meters.open_fds(pid)

    def listener_in_tree(self, tree: Tree, host: str, port: int) -> bool | None:
        """See ports."""
        return sockets.owner(self._pids(tree), host, port)

    def owns(self, tree: Tree, listener: Listener) -> bool | None:
        """See ports."""
        return sockets.owns(self._pids(tree), {listener.inode})

    def serving(self, tree: Tree) -> dict[int, tuple[int, ...]]:
        """See ports."""
        return sockets.serving(self._pids(tree))

    def listeners(self, port: int, owners: bool = True) -> list[Listener]:
        """See ports."""
        return sockets.listeners(port, owners)

    def bindable(self, port: int) -> bool:
        """See ports."""
        return trial.bindable(port)

    def blockers(self, port: int) -> str:
        """See ports."""
        return sockets.blockers(port)

    def holder(self, pid: int) -> Holder | None:
        """See ports."""
        return who.holder(pid, self._boot, self._keeper, self._instance, self._cgroups.name)

    def find(self, marker: str, fifos: tuple[str, ...]) -> list[ProcId]:
        """See ports."""
        return self.find_all({marker: fifos})[marker]

    def find_all(self, wanted: dict[str, tuple[str, ...]]) -> dict[str, list[ProcId]]:
        """See ports."""
        return who.find(wanted, self._boot, {self._keeper, os.getpid()})

    def inspect_tree(self, tree: Tree, pids: tuple[int, ...] = (), seconds: float = 2.0) -> dict[str, Any]:
        """See ports."""
        from midwatch.machine.linux.closeup import CloseUp  # seldom needed

        wanted = [tree.main.pid, *sorted(self._pids(tree)), *pids]
        there = [pid for pid in dict.fromkeys(wanted) if pid != tree.main.pid or self.alive(tree.main)]
        return CloseUp(there, self._version, seconds).take()

    def fd_snapshot(self, tree: Tree) -> FdSnapshot | None:
        """See ports."""
        from midwatch.machine.linux.fdlook import look  # seldom needed

        if not self.alive(tree.main):
            return None
        found = look(tree.main.pid, [pid for pid in self._pids(tree) if pid != tree.main.pid], time.monotonic())
        return found if self.alive(tree.main) else None

    def suspended(self) -> float:
        """See ports. CLOCK_BOOTTIME goes on while the machine sleeps, CLOCK_MONOTONIC does not."""
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic())

    def settle(self) -> str:
        """See ports."""
        return self._cgroups.settle([self._keeper, os.getpid()])

    def limit(self, containment: Containment, launch: Launch) -> str:
        """See ports."""
        return "" if launch.memory_hard is None else self._cgroups.limit(containment, launch.memory_hard)

    def free_bytes(self, path: str) -> int | None:
        """See ports."""
        return meters.free_bytes(path)
