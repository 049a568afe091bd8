"""After keeper and engine were killed together: the runs that lived on are found and taken over.

A run is adopted when its identity (pid, start time, boot) still stands and bears no other run's marker, or when its
marker or its FIFO is found in a process that leads its own session; the new keeper opens the FIFOs again and watches
the process. Everything else of an earlier daemon is ended by identity before anything is started (restore.py). A FIFO
that was replaced by something else costs the output, not the run. Must not decide what a service does next.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from midwatch.engine.run import Run
from midwatch.machine.ports import Target
from midwatch.model.identity import ProcId
from midwatch.policy import defaults
from midwatch.record.runs import RunProblem, RunRecord

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service

ALIVE = ("starting", "up", "stopping", "killing")
GATE = "midwatch-gate"  # argv[0] of a waiting gate: it leaves by itself, its pipe died with the keeper


async def adopt(engine: Engine, records: dict[str, RunRecord]) -> dict[str, Run]:
    """Take over what lives on of the runs that the states speak of; returns them by run id."""
    alive = [service for service in engine.services.values() if service.state.phase in ALIVE and service.state.run]
    known = {run: record for run, record in records.items() if record.pid is not None}
    known |= await _search(engine, [service for service in alive if service.state.run not in known])
    found = {}
    for service in alive:
        run_id = service.state.run or ""
        if run_id in known and await _lives(engine, service, known[run_id]):
            found[run_id] = (service, known[run_id])
    attached = await asyncio.gather(*(_attach(engine, service, record) for service, record in found.values()))
    return {run.id: run for run in attached if run is not None}


def genuine(engine: Engine, records: list[RunRecord]) -> tuple[list[RunRecord], list[RunProblem]]:
    """The records, and those that are wrong (damaged, or written in another pid namespace): their process bears the
    marker of somebody else. One without any marker may have overwritten its environment; its start time stands for it.
    """
    good, wrong = [], []
    boot = engine.machine.now().boot
    for record in records:
        holder = engine.machine.holder(record.pid) if record.pid is not None and record.boot == boot else None
        borne = holder.marker if holder is not None and holder.proc.start == record.start else ""
        inside = f"{borne}/".startswith(f"{record.marker}/")
        if not borne or inside or record.marker.startswith(f"{borne}/"):  # the latter: it has yet to exec
            good.append(record)
        else:
            words = f"names process {record.pid}, which belongs to {borne}"
            wrong.append(RunProblem(str(engine.layout.runs / f"{record.run}.json"), record.run, words))
    return good, wrong


async def _lives(engine: Engine, service: Service, record: RunRecord) -> bool:
    proc = ProcId(record.pid or 0, record.start or 0, record.boot)
    if service.state.pid is None:
        await _gate_left(engine, proc)
    return engine.machine.alive(proc)


async def _search(engine: Engine, services: list[Service]) -> dict[str, RunRecord]:
    """Intents without a pid, torn records: by marker and FIFO, in one walk. The main process leads its session."""
    machine = engine.machine
    made = [engine.spawner.make(service, service.state.run or "") for service in services]
    if not made:
        return {}
    wanted = {run.marker: tuple(where["fifo"] for where in run.streams.values()) for run in made}
    bearers = await asyncio.get_running_loop().run_in_executor(None, machine.find_all, wanted)
    found = {}
    for run in made:
        leaders = [proc for proc in bearers.get(run.marker, ()) if engine.keep_group or _leads(engine, proc.pid)]
        if leaders:
            run.containment = machine.leftover(run.id)
            main = min(leaders, key=lambda proc: (proc.start, proc.pid))
            run.born(main, engine.keeper_pid, not engine.keep_group)
            found[run.id] = run.record(machine.now().awake, "running")
    return found


def _leads(engine: Engine, pid: int) -> bool:
    holder = engine.machine.holder(pid)
    return holder is not None and holder.session == pid


async def _gate_left(engine: Engine, proc: ProcId) -> None:
    """Nobody saw its gate open: if it still waits there it reads end of file now and leaves."""
    for _ in range(defaults.GATE_LEAVES):
        holder = engine.machine.holder(proc.pid)
        if holder is None or holder.proc != proc or GATE not in holder.command:
            return
        await asyncio.sleep(defaults.GOODBYE)


async def _attach(engine: Engine, service: Service, record: RunRecord) -> Run | None:
    """Let the keeper watch it and pump its output again; None when it is gone meanwhile."""
    run = Run.from_record(record, service.spec.launch, engine.keeper_pid, not engine.keep_group, adopted=True)
    run.streams = {
        name: {"fifo": where["fifo"], "log": newest_log(where["log"])} for name, where in run.streams.items()
    }
    answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    limit = service.spec.logs.file_bytes
    streams = {name: {**where, "limit": limit} for name, where in run.streams.items()}
    user = owner(engine, service)
    asked = {"run": run.id, "pid": record.pid, "start": record.start, "streams": streams}
    engine.link.ask(answered.set_result, op="attach", **asked, **({"uid": user} if user is not None else {}))
    answer = await answered
    if "errno" in answer:
        return None
    for name, words in (answer.get("lost") or {}).items():
        fields = {"path": record.streams[name].fifo, "problem": f"output {name} of {run.id} is lost: {words}"}
        engine.write("state.damaged", service=service.spec.id, run=run.id, fields=fields)
    service.run = run
    engine.runs[run.id] = run
    engine.records.save(run.record(record.spawned_awake, "running"))
    if run.containment.memory is not None:  # what started the daemon again may have switched the controllers off
        again = engine.machine.limit
        if words := await asyncio.get_running_loop().run_in_executor(None, again, run.containment, run.launch):
            engine.write("limit.warning", service=service.spec.id, run=run.id, fields={"message": words})
    return run


def owner(engine: Engine, service: Service) -> int | None:
    """The user it runs as, where that is not ours: its FIFOs and sockets are theirs."""
    if service.spec.launch.user is None:
        return None
    target = engine.machine.lookup(service.spec.launch)
    return target.uid if isinstance(target, Target) else None


def newest_log(first: str) -> str:
    """The file that the dead keeper wrote to last: `<run>.<stream>.<n>.log` with the highest n; full ones are .gz."""
    folder, name = os.path.split(first)
    stem = name.rsplit(".", 2)[0]
    numbers = [0]
    try:
        for entry in os.scandir(folder):
            middle = entry.name.removeprefix(stem + ".").removesuffix(".gz").removesuffix(".log")
            if entry.name.startswith(stem + ".") and middle.isdecimal():
                numbers.append(int(middle) + entry.name.endswith(".gz"))
    except OSError:
        pass  # its first byte makes the folder
    return os.path.join(folder, f"{stem}.{max(numbers)}.log")


def unseen_since(engine: Engine, record: RunRecord | None) -> float:
    """For how many seconds nobody looked at a run that is gone now: since the daemon's last sign of life, or the
    run's own last output, whichever is later. 0 when neither is known."""
    signs = []
    logs = [newest_log(where.log) for where in record.streams.values()] if record is not None else []
    for path in (os.fspath(engine.layout.beat), *logs):
        try:
            signs.append(os.stat(path).st_mtime)
        except OSError:
            continue
    return max(0.0, engine.machine.now().wall - max(signs)) if signs else 0.0
