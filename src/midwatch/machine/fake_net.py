"""The fake machine's ports, and who holds them: the part of `ports.Machine` about listeners and strangers.

What a test stages with `Stage.listen`, `hand_over`, `sleep` and `blocked` is answered here. Must not touch the real
system.
"""

from __future__ import annotations

from typing import Any

import msgspec

from midwatch.machine.fake_stage import FakeProcess, FakeQueue, Stage
from midwatch.machine.ports import Holder, Listener, Opener, Tree
from midwatch.model.finding import FdSnapshot
from midwatch.model.identity import ProcId


class FakeNet(Stage):
    """Below `FakeMachine`."""

    def members(self, tree: Tree) -> list[ProcId]:
        """In fake.py."""
        raise NotImplementedError

    def listeners(self, port: int, owners: bool = True) -> list[Listener]:
        """One socket a process; those with the same inode (a fork that inherited it) are one."""
        self._raise("listeners")
        found: dict[int, Listener] = {}
        for process in self.procs.values():
            if port not in process.ports or process.status is not None:
                continue
            queue = process.queues.get(port, FakeQueue(inode=process.pid))
            pids = (process.pid,) if owners and queue.readable else ()
            if queue.inode in found:
                pids = (*found[queue.inode].pids, *pids)
            found[queue.inode] = _listener(port, queue, pids)
        return list(found.values())

    def owns(self, tree: Tree, listener: Listener) -> bool | None:
        found = [row.pids for row in self.listeners(listener.port) if row.inode == listener.inode]
        if not found or not found[0]:
            return None
        return not {proc.pid for proc in self.members(tree)}.isdisjoint(found[0])

    def serving(self, tree: Tree) -> dict[int, tuple[int, ...]]:
        return {
            proc.pid: tuple(sorted(self.procs[proc.pid].ports))
            for proc in self.members(tree)
            if self.procs[proc.pid].ports
        }

    def bindable(self, port: int) -> bool:
        return port not in self.blocked and not self.listeners(port)

    def blockers(self, port: int) -> str:
        return self.blocked.get(port, "")

    def holder(self, pid: int) -> Holder | None:
        process = self.procs.get(pid)
        if process is None:
            return None
        return Holder(
            ProcId(pid, process.start, self.boot),
            " ".join(process.argv)[:200],
            max(0.0, self.awake - process.start / 100),
            process.user,
            process.ppid,
            process.env.get("MIDWATCH_RUN", ""),
            process.unit,
            process.manager,
            process.session,
        )

    def find(self, marker: str, fifos: tuple[str, ...]) -> list[ProcId]:
        found = [p for p in self.procs.values() if p.status is None and self._sought(p, marker, fifos)]
        return sorted(ProcId(p.pid, p.start, self.boot) for p in found)

    def find_all(self, wanted: dict[str, tuple[str, ...]]) -> dict[str, list[ProcId]]:
        return {marker: self.find(marker, fifos) for marker, fifos in wanted.items()}

    def _sought(self, process: FakeProcess, marker: str, fifos: tuple[str, ...]) -> bool:
        if process.pid in (1, self.keeper, self.engine):
            return False
        borne = process.env.get("MIDWATCH_RUN", "")
        if marker and (borne == marker or borne.startswith(marker + "/")):
            return True
        names = [path.rpartition("/")[2] for path in fifos]
        named = bool(process.fifo_of) and any(name.startswith(process.fifo_of + ".") for name in names)
        return named or not process.fifos.isdisjoint(fifos)

    def inspect_tree(self, tree: Tree, pids: tuple[int, ...] = (), seconds: float = 2.0) -> dict[str, Any]:
        self._raise("inspect_tree")
        wanted = dict.fromkeys([*(proc.pid for proc in self.members(tree)), *pids])
        processes = [
            {
                "pid": pid,
                "command": " ".join(self.procs[pid].argv),
                "state": "T" if self.procs[pid].stopped else self.procs[pid].state,
                "fds": {"count": self.procs[pid].fds},
                "listening": sorted(self.procs[pid].ports),
            }
            for pid in wanted
            if pid in self.procs
        ]
        return {"processes": processes, "missing": []}

    def fd_snapshot(self, tree: Tree) -> FdSnapshot | None:
        process = self.procs.get(tree.main.pid)
        if process is None or process.status is not None or process.table is None:
            return None
        return msgspec.structs.replace(process.table, at=self.awake)

    def openers(self, paths: tuple[str, ...]) -> dict[str, list[Opener]]:
        """By the tables of all living processes."""
        found: dict[str, list[Opener]] = {path: [] for path in paths}
        for process in self.procs.values():
            table = process.table if process.status is None else None
            for target, _, count in table.targets if table is not None else ():
                if target in found:
                    found[target].append(Opener(process.pid, 3600.0, " ".join(process.argv), count))
        return found

    def remote(self, path: str) -> str:
        return next((kind for folder, kind in self.remotes.items() if path.startswith(folder)), "")

    def suspended(self) -> float:
        return self.slept

    def settle(self) -> str:
        return ""


def _listener(port: int, queue: FakeQueue, pids: tuple[int, ...]) -> Listener:
    family: Any = "inet6" if ":" in queue.address else "inet"
    return Listener(queue.address, port, family, queue.inode, 0, queue.waiting, queue.backlog, pids)
