"""A new engine takes over: states from the journal, runs from the records, the truth about the living from the keeper.

The same keeper: it holds a run (go on), or its exit (hand it in), or has never heard of it (the spawn was asked for and
never arrived: it is asked for again). A new keeper: what lives on is adopted (adopt.py), what cannot be is ended by
identity before anything starts. Must not decide; the policy's `Resumed` does.
"""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from midwatch import __version__
from midwatch.engine.adopt import ALIVE, adopt, genuine, owner, unseen_since
from midwatch.engine.core import Service
from midwatch.engine.run import Run
from midwatch.engine.specs import load_specs
from midwatch.machine.ports import Containment, Tree
from midwatch.model.event import Event, Exited, Resumed, Spawned
from midwatch.model.exit import ExitFacts
from midwatch.model.identity import Now, ProcId
from midwatch.model.service import ServiceSpec
from midwatch.model.state import ServiceState
from midwatch.policy import defaults
from midwatch.policy.rebase import rebase
from midwatch.policy.step import initial, step
from midwatch.record.history import SqliteHistory
from midwatch.record.journal import Journal, recover
from midwatch.record.runs import RunRecord

if TYPE_CHECKING:
    from midwatch.engine.core import Engine


async def restore(engine: Engine, hello: dict[str, Any], *, fresh: bool = False) -> None:
    """Bring the engine to where the last one was. `fresh`: a new `run` of an old name has budgets of its own."""
    restarted = hello["engine_restarts"] > 0
    accepted, problem = load_specs(engine.layout.specs)
    specs = accepted.specs
    engine.settings = accepted.settings
    engine.sockets.known(hello.get("sockets") or {})
    states = _states(engine)
    now = engine.machine.now()
    records, problems = engine.records.load()
    if not restarted:
        records, wrong = genuine(engine, records)
        problems += wrong
    table = hello["runs"] if restarted else [_entry(record) for record in records if _lives(engine, record)]
    for spec in specs:
        state = states.get(spec.id) or _found(spec, table, now)
        if fresh and not restarted:
            state = msgspec.structs.replace(initial(spec.id, spec.rules, now), run_no=state.run_no)
        engine.services[spec.id] = Service(spec, msgspec.structs.replace(state, rules=spec.rules))
    _open_record(engine)
    fields = {"pid": engine.keeper_pid, "version": __version__, "services": len(specs)}
    engine.write("engine.restarted" if restarted else "daemon.started", fields=fields)
    if problem:
        engine.write("state.damaged", fields={"path": str(engine.layout.specs), "problem": problem})
    for damaged in problems:
        engine.write("state.damaged", fields={"path": damaged.path, "problem": damaged.message})
        if damaged.run:
            engine.records.remove(damaged.run)  # told once; made anew below, or its run is ended
    engine.jobs.restore(same_daemon=restarted)
    if restarted:
        _continue(engine, {r.run: r for r in records}, {entry["run"]: entry for entry in hello["runs"]})
    else:
        await _begin(engine, {r.run: r for r in records}, [damaged.run for damaged in problems])
    engine.jobs.resume()
    engine.needs_changed()
    for service in engine.services.values():
        engine.rearm(service)
    if not restarted:
        engine.journal.checkpoint()  # times of this boot from here on


def _states(engine: Engine) -> dict[str, ServiceState]:
    """The policy's states: the journal's newest snapshot, and every input since then through `step` again."""
    snapshot, inputs = recover(engine.layout.journal)
    if snapshot is None:
        return {}
    states: dict[str, ServiceState] = {}
    try:
        saved = msgspec.convert(snapshot["now"], Now)
        for raw in snapshot["states"]:
            state = msgspec.convert(raw, ServiceState)
            states[state.id] = state
        for entry, awake, wall in inputs:
            service = entry.pop("service", "")
            if service in states:
                saved = Now(awake=awake, wall=wall, boot=saved.boot)
                event: Event = msgspec.convert(entry, Event)
                states[service] = step(states[service], event, saved).state
    except (KeyError, msgspec.ValidationError) as error:
        engine.complain(f"the journal's last snapshot cannot be used ({error}); budgets start afresh")
        return {}
    now = engine.machine.now()
    return {name: rebase(state, saved, now) for name, state in states.items()}


def _found(spec: ServiceSpec, table: list[dict[str, Any]], now: Now) -> ServiceState:
    """A service of which the journal knows nothing: new, or the journal is lost and the keeper holds its run."""
    state = initial(spec.id, spec.rules, now)
    prefix = f"{spec.project}.{spec.name}."
    runs = {int(e["run"][len(prefix) :]): e for e in table if e["run"].startswith(prefix)}
    number = max((n for n, e in runs.items() if not over(e) and e["gate"] != "closed"), default=None)
    if number is None:
        return msgspec.structs.replace(state, run_no=max(runs, default=0))
    return msgspec.structs.replace(
        state, phase="up", want="up", ready=True, run=runs[number]["run"], run_no=max(runs), pid=runs[number]["pid"],
        spawned_at=now.awake, decision="its journal is lost; it was found running",
    )  # fmt: skip


def _unrecorded(engine: Engine, known: set[str], damaged: list[str]) -> list[RunRecord]:
    """Runs that may live although no readable record speaks of them: they are looked for by marker and cgroup."""
    states = [service.state for service in engine.services.values()]
    wanted = [*damaged, *(state.run for state in states if state.phase in ALIVE and state.run)]
    boot = engine.machine.now().boot
    found = []
    for run in dict.fromkeys(name for name in wanted if name and name not in known):
        groups = engine.machine.leftover(run)
        found.append(
            RunRecord(
                run=run, service="/".join(run.split(".")[:2]), boot=boot, spawned_wall=0.0, spawned_awake=0.0,
                marker=engine.spawner.marker(run), kill_dir=groups.kill, memory_dir=groups.memory,
            )
        )  # fmt: skip
    return found


def _open_record(engine: Engine) -> None:
    engine.journal = Journal(
        engine.layout.journal,
        weeks=engine.limits.journal_weeks,
        max_bytes=engine.limits.journal_bytes,
        file_bytes=defaults.JOURNAL_FILE_BYTES,
        snapshot=engine.snapshot,
        on_trouble=engine.complain,
    )
    engine.history = SqliteHistory(
        engine.layout.history, journal=engine.layout.journal, on_trouble=engine.complain
    )


def over(entry: dict[str, Any]) -> bool:
    """Has this run of the keeper's table ended? Its status may be unknown all the same: it was never our child."""
    return entry["status"] is not None or entry.get("ended_at") is not None


def _entry(record: RunRecord) -> dict[str, Any]:
    """A living run as the keeper would tell of it."""
    return {"run": record.run, "pid": record.pid, "status": None, "gate": None}


def _lives(engine: Engine, record: RunRecord) -> bool:
    return record.pid is not None and engine.machine.alive(ProcId(record.pid, record.start or 0, record.boot))


async def _begin(engine: Engine, records: dict[str, RunRecord], damaged: list[str]) -> None:
    """A new daemon: adopt what lives on, end the rest of an earlier one, and only then let anything start."""
    adopted = await adopt(engine, records)
    others = [record for run, record in records.items() if run not in adopted]
    unknown = [run for run in damaged if run not in adopted]
    await _clean_up(engine, [*others, *_unrecorded(engine, {*records, *adopted}, unknown)])
    kept = {where["fifo"] for run in adopted.values() for where in run.streams.values()}
    _out_of_sight(engine, records, adopted)
    _empty(engine.layout.fifos, kept)
    _empty(engine.layout.notify, set())
    for service in list(engine.services.values()):
        run = adopted.get(service.state.run or "")
        if run is None or run.proc is None:
            _gone(engine, service, records.get(service.state.run or ""))
        else:
            _go_on(engine, service, run)


def _out_of_sight(engine: Engine, records: dict[str, RunRecord], adopted: dict[str, Run]) -> None:
    """A run of which no process is found here, while somebody holds its FIFO open: it lives in another container."""
    for service in engine.services.values():
        run = service.state.run or ""
        if service.state.phase not in ALIVE or service.state.pid is None or run in adopted or run not in records:
            continue
        for fifo in (where.fifo for where in records[run].streams.values() if _held(where.fifo)):
            words = f"a process that cannot be seen from here holds it: {run} was not ended, and may be a second copy"
            engine.write("state.damaged", service=service.spec.id, run=run, fields={"path": fifo, "problem": words})


def _held(fifo: str) -> bool:
    """Has anybody this FIFO open for reading? Every run has, its own; the old keeper is gone."""
    try:
        fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)  # ENXIO: nobody
    except OSError:
        return False
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


def _go_on(engine: Engine, service: Service, run: Run) -> None:
    """The run lives and is ours: what was lost of its story is told again, then the policy continues."""
    pid = run.proc.pid if run.proc is not None else 0
    if service.state.pid is None and service.state.phase in ("starting", "stopping"):
        engine.post(service, Spawned(run=run.id, pid=pid))  # the answer to the spawn was lost
    if engine.wants_notify(service.spec):
        engine.notify.open(run.id, owner(engine, service))
    engine.write("run.adopted", service=service.spec.id, run=run.id, fields={"pid": pid})
    engine.post(service, Resumed(alive=True))


def _gone(engine: Engine, service: Service, record: RunRecord | None = None) -> None:
    """The run that the state speaks of did not outlive the last keeper, and nobody saw its end."""
    state = service.state
    engine.post(service, Resumed(alive=False))
    if state.phase in ALIVE and state.run is not None and service.state.run == state.run:
        spawned = state.spawned_at if state.spawned_at is not None else state.since
        lived = max(0.0, engine.machine.now().awake - spawned)
        facts = ExitFacts(status=None, duration=lived, unseen=min(lived, unseen_since(engine, record)))
        engine.post(service, Exited(run=state.run, facts=facts))


async def _clean_up(engine: Engine, records: list[RunRecord]) -> None:
    """End what an earlier daemon left running, by identity, before anything is started: never a second copy."""
    loop = asyncio.get_running_loop()
    ending = []
    for record in records:
        proc = ProcId(record.pid or 0, record.start or 0, record.boot)
        containment = Containment(kill=record.kill_dir, memory=record.memory_dir)
        tree = Tree(
            run=record.run, main=proc, marker=record.marker, containment=containment, keeper=engine.keeper_pid,
            own_group=record.pid is not None,
        )  # fmt: skip
        ending.append(loop.run_in_executor(None, _end_orphan, engine, tree))
    for record, ended in zip(records, await asyncio.gather(*ending), strict=True):
        if ended is not None:
            fields = {"run_id": record.run, "pid": record.pid, "ended": ended.ended, "left": len(ended.left),
                      "verified_by": ended.verified_by}  # fmt: skip
            engine.write("run.orphaned", service=record.service, run=record.run, fields=fields)
        engine.records.remove(record.run)


def _empty(folder: Path, kept: set[str]) -> None:
    """FIFOs and sockets of runs that are over: their names would be in the way of the next runs."""
    for entry in os.scandir(folder):
        if entry.path not in kept and not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)


def _end_orphan(engine: Engine, tree: Tree) -> Any:
    """In a thread. None when nothing was left."""
    if tree.main.boot != engine.machine.now().boot or not engine.machine.members(tree):
        engine.machine.release(tree.containment)
        return None
    ended = engine.machine.end(tree, defaults.STOP_GRACE, defaults.STOP_VERIFY)
    engine.machine.release(tree.containment)
    return ended


def _continue(engine: Engine, records: dict[str, RunRecord], table: dict[str, dict[str, Any]]) -> None:
    """The same keeper: everything it holds goes on. What waited in a gate that never opened was no run."""
    current = {s.state.run for s in engine.services.values() if s.state.phase in ALIVE}
    for run_id, entry in list(table.items()):
        service = engine.services.get("/".join(run_id.split(".")[:2]))
        if service is not None and _unopened(entry, wanted=run_id in current):
            engine.gates.abandoned(service, entry, over(entry))
            del table[run_id]
            continue
        if run_id in current:
            continue
        if over(entry):
            engine.link.send(op="taken", run=run_id)
        elif entry["gate"] == "closed":
            engine.link.ask(lambda _: None, op="drop", run=run_id)
        else:
            _end_stranger(engine, entry, records.get(run_id))
    for run_id in records.keys() - table.keys():
        engine.records.remove(run_id)
    for service in list(engine.services.values()):
        _take_over(engine, service, records, table)


def _unopened(entry: dict[str, Any], wanted: bool) -> bool:
    """A gate that nobody will open: shut, or dead before it was opened, or waiting for a run nobody asks for."""
    return entry["gate"] == "shut" or (entry["gate"] == "closed" and (over(entry) or not wanted))


def _take_over(
    engine: Engine, service: Service, records: dict[str, RunRecord], table: dict[str, dict[str, Any]]
) -> None:
    state = service.state
    run_id = state.run
    if state.phase not in ALIVE or run_id is None:
        engine.post(service, Resumed(alive=False))
        return
    entry = table.get(run_id)
    if entry is None:
        if state.phase == "starting" and state.pid is None:
            engine.spawner.spawn(service, run_id)  # the intent was written, the keeper never got the request
        else:
            _gone(engine, service)
        return
    if entry["gate"] == "closed" and not over(entry):
        engine.spawner.resume(service, run_id, entry["pid"], entry["start"])
        return
    run = _run_of(engine, service, run_id, entry, records.get(run_id))
    service.run = run
    engine.runs[run_id] = run
    if not over(entry):
        _go_on(engine, service, run)
        return
    if state.pid is None and state.phase in ("starting", "stopping"):
        engine.post(service, Spawned(run=run_id, pid=entry["pid"]))
    if state.phase == "killing":  # that kill died with the last engine
        run.exited = state.pid is None  # the exit is in the journal already
        engine.post(service, Resumed(alive=False))
    if not run.exited:
        engine.ender.exited({**entry, "at": entry.get("ended_at")})


def _run_of(
    engine: Engine, service: Service, run_id: str, entry: dict[str, Any], record: RunRecord | None
) -> Run:
    if record is not None:
        run = Run.from_record(record, service.spec.launch, engine.keeper_pid, not engine.keep_group)
    else:
        run = Run(run_id, service.spec.id, service.spec.launch, engine.spawner.marker(run_id))
        run.containment = engine.machine.leftover(run_id)
        run.released = True
    run.adopted = bool(entry.get("adopted"))
    run.born(ProcId(entry["pid"], entry["start"], engine.machine.now().boot), engine.keeper_pid, not engine.keep_group)
    for name, where in (entry.get("streams") or {}).items():
        run.streams[name] = {"fifo": where["fifo"], "log": where["log"]}
    if record is None:
        engine.records.save(run.record(engine.machine.now().awake, "running"))
    return run


def _end_stranger(engine: Engine, entry: dict[str, Any], record: RunRecord | None) -> None:
    """A living run that no state speaks of any more (its service was removed): end it."""
    proc = ProcId(entry["pid"], entry["start"], engine.machine.now().boot)
    containment = Containment(kill=record.kill_dir, memory=record.memory_dir) if record else Containment()
    marker = record.marker if record else engine.spawner.marker(entry["run"])
    tree = Tree(run=entry["run"], main=proc, marker=marker, containment=containment, keeper=engine.keeper_pid)
    asyncio.get_running_loop().run_in_executor(None, _end_orphan, engine, tree)
