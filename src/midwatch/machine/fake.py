"""A whole machine in memory, as `ports.Machine`: the one on which engine tests and the drill run.

Passes the same contract tests as the real adapters (tests/machine/test_contract.py). `end` moves the clock by as
long as it would have taken. What a test does to the machine (`spawn`, `exit`, `advance`, `fail` ...) is in
fake_stage.py. Must not touch the real system.
"""

from __future__ import annotations

import errno
import signal

from midwatch.machine.fake_readings import FakeReadings
from midwatch.machine.fake_stage import FakeProcess
from midwatch.machine.ports import Containment, Ended, Host, LaunchProblem, Reading, Rung, Target, Tree
from midwatch.model.identity import Now, ProcId
from midwatch.model.service import Launch

_ROUNDS = 10


class FakeMachine(FakeReadings):
    """One fake machine; `cgroups` and `memory_cgroups` say what it offers."""

    def _below(self, pid: int) -> set[int]:
        found: set[int] = set()
        queue = [pid]
        while queue:
            at = queue.pop()
            children = {process.pid for process in self.procs.values() if process.ppid == at}
            queue += (fresh := children - found - {self.engine, self.keeper})
            found |= fresh
        return found

    def _members(self, tree: Tree) -> tuple[list[FakeProcess], Rung]:
        """The living of a tree by the same rules as on Linux, and what an empty list would prove."""
        ours = self._below(self.keeper)
        keeper = self.procs.get(tree.keeper)
        lineage = keeper is not None and keeper.status is None and keeper.start <= tree.began
        roots = {
            process.pid for process in self.procs.values() if self._belongs(process, tree, ours, lineage)
        }
        for pid in list(roots):
            roots |= self._below(pid)
        roots -= {self.keeper, self.engine, 1}
        for pid in roots:
            self.procs[pid].seen_in.add(tree.run)
        living = [self.procs[pid] for pid in sorted(roots) if self.procs[pid].status is None]
        if not lineage:
            return living, "marker"
        unknown = any(
            process.ppid == self.keeper
            and not (process.main or "MIDWATCH_RUN" in process.env or process.pid in roots | {self.engine})
            and process.start >= tree.began
            for process in self.procs.values()
        )
        return living, "not provable" if unknown else "tree"

    def _belongs(self, process: FakeProcess, tree: Tree, ours: set[int], lineage: bool) -> bool:
        if process.cgroups & set(tree.containment.dirs) or process.fifo_of == tree.run:
            return True
        if tree.run in process.seen_in:
            return True
        if process.start < tree.began or tree.main.boot != self.boot:
            return False
        holder = self.procs.get(tree.main.pid)
        if process is holder and process.start == tree.main.start:
            return True
        marker = process.env.get("MIDWATCH_RUN", "")
        marked = marker == tree.marker or marker.startswith(tree.marker + "/")
        if marked and (process.pid in ours or not lineage):
            return True
        if not tree.own_group or tree.main.pid not in (process.session, process.pgrp):
            return False
        return holder.start == tree.main.start if holder else process.pid in ours

    def _id(self, process: FakeProcess) -> ProcId:
        return ProcId(process.pid, process.start, self.boot)

    # ---- ports.Machine -----------------------------------------------------------------------------------

    def now(self) -> Now:
        return Now(self.awake, self.wall, self.boot)

    def host(self) -> Host:
        words = {True: "yes", False: "no cgroup v2 hierarchy is mounted"}
        rungs = {"pidfd": "yes", "cgroup": words[self.cgroups], "memory limit": words[self.memory_cgroups]}
        return Host("fake 1.0", self.boot, self.refusal, rungs)

    def identify(self, pid: int) -> ProcId | None:
        process = self.procs.get(pid)
        return self._id(process) if process else None

    def alive(self, proc: ProcId) -> bool:
        process = self._exactly(proc)
        return process is not None and process.status is None

    def lookup(self, launch: Launch) -> Target | LaunchProblem:
        problem = self.problems.get(launch.argv[0])
        return problem or Target(launch.argv[0] if "/" in launch.argv[0] else f"/fake/bin/{launch.argv[0]}")

    def fingerprint(self, launch: Launch) -> str:
        name = launch.argv[0]
        return f"{name}:{self.versions.get(name, 0)}:{self.problems.get(name)}"

    def contain(self, run: str, launch: Launch) -> Containment:
        self._raise("contain")
        if launch.contain == "none":
            return Containment(why_not='contain = "none"')
        wants_memory = launch.memory_hard is not None
        if launch.contain == "cgroup" and not (self.cgroups and (self.memory_cgroups or not wants_memory)):
            raise OSError(errno.ENOTSUP, "no cgroup v2 hierarchy is mounted")
        kill = f"/cg/unified/midwatch-{self._instance}/{run}" if self.cgroups else None
        memory = (
            f"/cg/memory/midwatch-{self._instance}/{run}" if wants_memory and self.memory_cgroups else None
        )
        for directory, limit in ((kill, None), (memory, launch.memory_hard)):
            if directory:
                if any(directory in process.cgroups for process in self.procs.values()):
                    raise OSError(errno.EBUSY, f"{directory} is populated")
                self.groups[directory] = limit
                self.ooms[directory] = 0
        why = "" if kill and (memory or not wants_memory) else "no cgroup v2 hierarchy is mounted"
        return Containment(kill, memory, why)

    def limit(self, containment: Containment, launch: Launch) -> str:
        if launch.memory_hard is None:
            return ""
        if containment.memory not in self.groups:
            return containment.why_not or "the run has no memory cgroup"
        self.groups[containment.memory] = launch.memory_hard
        return ""

    def leftover(self, run: str) -> Containment:
        kill, memory = (f"/cg/{kind}/midwatch-{self._instance}/{run}" for kind in ("unified", "memory"))
        return Containment(kill if kill in self.groups else None, memory if memory in self.groups else None)

    def place(self, moves: list[tuple[Containment, int]]) -> list[OSError | None]:
        results: list[OSError | None] = []
        for containment, pid in moves:
            failure: OSError | None = None
            try:
                self._raise("place")
                if pid not in self.procs or self.procs[pid].status is not None:
                    raise OSError(errno.ESRCH, "no such process")
                if not set(containment.dirs) <= set(self.groups):
                    raise OSError(errno.ENOENT, "no such cgroup")
                self.procs[pid].cgroups |= set(containment.dirs)
            except OSError as error:
                failure = error
            results.append(failure)
        return results

    def prepare(self, pid: int, launch: Launch) -> list[str]:
        self.procs[pid].limits = launch
        return list(self.procs[pid].warnings)

    def signal(self, proc: ProcId, signum: int) -> bool:
        self._raise("signal")
        process = self._exactly(proc)
        return process is not None and self._deliver(process, signum)

    def signal_group(self, tree: Tree, signum: int) -> int:
        if tree.main.boot != self.boot:
            return 0
        leaving = signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
        if leaving:
            self._thaw(tree.containment.kill)
        group = [p for p in self.procs.values() if p.pgrp == tree.main.pid]
        if not tree.own_group or self._exactly(tree.main) is None:
            group, _ = self._members(tree)
        told = 0
        for process in group:
            told += self._deliver(process, signum)
            if leaving:
                self._deliver(process, signal.SIGCONT)
        return told

    def members(self, tree: Tree) -> list[ProcId]:
        return [self._id(process) for process in self._members(tree)[0]]

    def empty(self, tree: Tree) -> bool | None:
        kill = tree.containment.kill
        if tree.main.boot != self.boot:
            return True
        return (
            None
            if kill not in self.groups
            else not any(kill in process.cgroups for process in self.procs.values())
        )

    def end(self, tree: Tree, polite: float, verify: float) -> Ended:
        self._raise("end")
        if tree.main.boot != self.boot:
            return Ended("tree", 0)
        seen: set[ProcId] = set()
        until = self.awake + polite
        if polite > 0:
            self._thaw(tree.containment.kill)
        told: set[ProcId] = set()
        while polite > 0 and (members := self._members(tree)[0]) and self.awake < until:
            for process in members:
                if self._id(process) not in told:
                    told.add(self._id(process))
                    self._deliver(process, signal.SIGTERM)
                    self._deliver(process, signal.SIGCONT)
            seen.update(self._id(process) for process in members)
            if any(process.status is None for process in members):
                self.advance(min(0.02, until - self.awake))
        for _ in range(_ROUNDS):
            members = self._members(tree)[0]
            seen.update(self._id(process) for process in members)
            for process in members:
                self._deliver(process, signal.SIGKILL)
        left, rung = self._members(tree)
        if left:
            self.advance(verify)
            left, rung = self._members(tree)
        kill = tree.containment.kill or tree.containment.memory
        if kill and not any(kill in process.cgroups for process in self.procs.values()):
            rung = "cgroup"
        return Ended(rung, len(seen) - len(left), tuple(self._id(process) for process in left))

    def release(self, containment: Containment) -> None:
        for directory in containment.dirs:
            if not any(directory in process.cgroups for process in self.procs.values()):
                self.groups.pop(directory, None)

    def oom_kills(self, containment: Containment) -> int | None:
        return self.ooms.get(containment.memory) if containment.memory else None

    def kernel_oom(self, pids: set[int], since: float) -> str | None:
        lines = [text for at, pid, text in self.kernel_log if pid in pids and at >= since]
        return lines[-1] if lines else None

    def held(self, tree: Tree) -> Reading:
        return self._reading(self._members(tree)[0])

    def held_one(self, pid: int) -> Reading:
        process = self.procs.get(pid)
        if process is None or process.status is not None:
            return Reading(None, "absent", "nothing runs")
        return Reading(process.held_bytes, "exact")

    def open_fds(self, pid: int) -> tuple[int | None, int | None]:
        process = self.procs.get(pid)
        return (process.fds, process.fd_limit) if process else (None, None)

    def listener_in_tree(self, tree: Tree, host: str, port: int) -> bool | None:
        holders = {pid for pid, process in self.procs.items() if port in process.ports}
        if not holders or not host:
            return None
        return holders <= {process.pid for process in self._members(tree)[0]}

    def free_bytes(self, path: str) -> int | None:
        return self.free if path else None
