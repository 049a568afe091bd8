"""What the exit of a main process leaves behind: a launcher's child that serves, or somebody else on its port.

A command that exits 0 while its child goes on and serves was a launcher (scenario 14): the child is named as the run's
heir, and followed if the policy says so. A failed start whose port another process holds lost it after our look. Both
are looked for in worker threads before the exit is handed in, in bounded time. Must not decide what follows. Tests:
tests/engine/test_launcher.py, tests/system/test_launcher.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from midwatch.engine.liveness import ports_of
from midwatch.machine.ports import Machine, Tree
from midwatch.model.action import Follow
from midwatch.model.exit import ExitFacts
from midwatch.policy import defaults

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service
    from midwatch.engine.portsight import Owner
    from midwatch.engine.run import Run

HandIn = Callable[[ExitFacts], None]
Found = tuple[int, int | None] | None  # pid and port of the heir


class Heirs:
    """One per engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def examine(self, service: Service, run: Run, facts: ExitFacts, hand_in: HandIn) -> None:
        """Complete the facts of an exit and hand it in, at once or in at most `defaults.HEIR_START` seconds."""
        ours = service.state.phase in ("starting", "up")
        rules = service.spec.rules
        serves = not rules.oneshot and rules.schedule is None  # those are done when they leave, whatever they leave
        if ours and serves and facts.code == 0 and facts.strays > 0 and run.tree is not None:
            self._look(service, run, facts, hand_in, self._engine.machine.now().awake)
        elif ours and facts.code and facts.duration <= defaults.PORT_EARLY:
            self._engine.ports.owner(service, lambda owner: hand_in(_beside(facts, service, owner)))
        else:
            hand_in(facts)

    # -- a launcher --------------------------------------------------------------------------------------------

    def _look(self, service: Service, run: Run, facts: ExitFacts, hand_in: HandIn, began: float) -> None:
        assert run.tree is not None
        ports = ports_of(service)
        future = asyncio.get_running_loop().run_in_executor(None, heir_of, self._engine.machine, run.tree, ports)

        def looked(done: asyncio.Future[tuple[Found, int]]) -> None:
            problem = done.exception()
            if problem is not None:
                self._engine.complain(f"cannot look at what {run.id} has left behind: {problem!r}")
                hand_in(facts)
                return
            heir, left = done.result()
            waited = self._engine.machine.now().awake - began
            if heir is not None:
                hand_in(msgspec.structs.replace(facts, strays=left, heir=heir[0], port=heir[1]))
            elif not left or waited >= _patience(facts, ports) or service.state.phase not in ("starting", "up"):
                hand_in(msgspec.structs.replace(facts, strays=left))
            else:
                again = lambda: self._look(service, run, facts, hand_in, began)  # noqa: E731
                self._engine.later(defaults.HEIR_POLL, again)

        future.add_done_callback(looked)

    def follow(self, service: Service, action: Follow) -> None:
        """From now on this process is the run; the keeper tells of its end as of any other."""
        engine, run = self._engine, service.run
        if run is None or run.id != action.run:
            return
        proc = engine.machine.identify(action.pid)
        if proc is None:
            self._lost(run.id, action.pid)
            return
        run.follow(proc)
        engine.records.save(run.record(engine.machine.now().awake, "running"), flush=True)

        def followed(answer: dict[str, Any]) -> None:
            if not answer.get("ok"):
                self._lost(action.run, proc.pid)

        engine.link.ask(followed, op="follow", run=run.id, pid=proc.pid, start=proc.start)

    def _lost(self, run_id: str, pid: int) -> None:
        """It went in the moment between: how, nobody saw."""
        frame = {"run": run_id, "pid": pid, "status": None, "at": self._engine.machine.now().awake}
        self._engine.later(0.0, lambda: self._engine.ender.exited(frame))


def _patience(facts: ExitFacts, ports: tuple[int, ...]) -> float:
    """A launcher leaves early, and its child may take seconds until it listens; what ends later than that and leaves
    processes is no launcher, unless they serve already."""
    early = bool(ports) and facts.duration <= defaults.HEIR_START
    return defaults.HEIR_START if early else defaults.HEIR_WAIT


def _beside(facts: ExitFacts, service: Service, owner: Owner | None) -> ExitFacts:
    if owner is None:
        return facts
    return msgspec.structs.replace(facts, port=service.spec.launch.port, port_owner=owner.words)


def heir_of(machine: Machine, tree: Tree, ports: tuple[int, ...]) -> tuple[Found, int]:
    """In a worker thread: who of a tree without its main process serves, and how many live.

    Of several (a server and its workers share a socket) the one from which the others descend, else the oldest.
    """
    members = {proc.pid: proc for proc in machine.members(tree)}
    serving = _on_ports(machine, members.keys(), ports) if ports else _anywhere(machine, tree)
    serving = {pid: port for pid, port in serving.items() if pid in members}
    if not serving:
        return None, len(members)
    parents = {pid: _parent(machine, pid) for pid in members}
    heads = [pid for pid in serving if not _descends(pid, parents, serving.keys())]
    first = min(heads or serving, key=lambda pid: (members[pid].start, pid))
    return (first, serving[first]), len(members)


def _on_ports(machine: Machine, members: Any, ports: tuple[int, ...]) -> dict[int, int | None]:
    rows = [row for port in ports for row in machine.listeners(port)]
    return {pid: row.port for row in rows for pid in row.pids if pid in members}


def _anywhere(machine: Machine, tree: Tree) -> dict[int, int | None]:
    """Without a configured port: any TCP socket on which a member listens."""
    processes = machine.inspect_tree(tree, (), defaults.HEIR_WAIT).get("processes", [])
    found: dict[int, int | None] = {}
    for entry in processes:
        listening = [int(port) for port in entry.get("listening", ())]
        tails = (s["local"].rpartition(":")[2] for s in entry.get("sockets", ()) if s["kind"] == "tcp listen")
        listening += [int(tail) for tail in tails if tail.isdigit()]
        if listening:
            found[entry["pid"]] = min(listening)
    return found


def _parent(machine: Machine, pid: int) -> int:
    holder = machine.holder(pid)
    return holder.ppid if holder is not None else 0


def _descends(pid: int, parents: dict[int, int], others: Any) -> bool:
    seen = {pid}
    at = parents.get(pid, 0)
    while at in parents and at not in seen:
        if at in others:
            return True
        seen.add(at)
        at = parents[at]
    return False
