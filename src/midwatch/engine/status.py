"""The answer to `ps`: every service as it stands, measured at the moment of asking.

Reads only; never waits for a slow stop. Must not change anything.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from midwatch import __version__
from midwatch.machine.ports import Containment
from midwatch.model.identity import Now

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service
    from midwatch.engine.run import Run

SCHEMA_VERSION = 1


def status_report(engine: Engine) -> dict[str, Any]:
    """`ps --json` without the front's own fields."""
    now = engine.machine.now()
    return {
        "schema_version": SCHEMA_VERSION,
        "daemon": _daemon(engine),
        "services": [status_of(engine, service, now) for service in engine.services.values()],
    }


def status_of(engine: Engine, service: Service, now: Now) -> dict[str, Any]:
    """One service's row."""
    state = service.state
    run = service.run
    alive = run is not None and run.tree is not None and not run.exited and run.released
    memory, fds = _measured(engine, run if alive else None)
    memory |= engine.guards.lines(service)
    retry = state.wake_at if state.phase in ("backoff", "degraded", "held", "waiting") else None
    return {
        "name": service.spec.name,
        "project": service.spec.project,
        "state": state.phase,
        "want": state.want,
        "pid": state.pid,
        "run_id": state.run,
        "since": round(now.wall - max(0.0, now.awake - state.since), 3),
        "uptime_s": round(now.awake - state.spawned_at, 3) if alive and state.spawned_at is not None else None,
        "restarts": state.restarts,
        "crash_count": state.crash_count,
        "memory": memory,
        "fds": fds,
        "ready": state.ready,
        "health": state.health,
        "decision": state.decision,
        "status": run.status if run is not None else "",
        "last_cause": state.last_cause,
        "retry_at": round(now.wall + retry - now.awake, 3) if retry is not None else None,
        "next_at": engine.schedules.next_at(service.spec.id),
        "zone": state.rules.schedule.zone if state.rules.schedule is not None else None,
        "needs": engine.fleet.missing(service.spec.id) if state.phase == "pending" else [],
        "contained_by": _contained(run.containment) if run is not None else None,
        "source": service.spec.source,
    }


def _measured(engine: Engine, run: Run | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Memory and descriptors of a living run: the sampler's last look where there is one, at most 2 s old."""
    memory: dict[str, Any] = {"held_bytes": None, "quality": "absent"}
    fds: dict[str, Any] = {"open": None, "soft_limit": None}
    if run is None or run.tree is None:
        return memory, fds
    sample = engine.guards.sample(run)
    reading = engine.machine.held(run.tree) if sample is None else sample.held
    memory = {"held_bytes": reading.value, "quality": reading.quality}
    if sample is not None and sample.fds is not None:
        return memory, {"open": sample.fds, "soft_limit": sample.fd_limit}
    used, limit = engine.machine.open_fds(run.tree.main.pid)
    return memory, {"open": used, "soft_limit": limit}


def _contained(containment: Containment) -> str:
    return "cgroup" if containment.kill else "tree"


def _daemon(engine: Engine) -> dict[str, Any]:
    machine = engine.machine
    held = sum(machine.held_one(pid).value or 0 for pid in (engine.keeper_pid, os.getpid()))
    return {
        "pid": os.getpid(),
        "keeper_pid": engine.keeper_pid,
        "version": __version__,
        "home": str(engine.layout.home),
        "held_bytes": held,
        "cpu_s": round(time.process_time(), 3),
        "rungs": machine.host().rungs | engine.rehearsed,
        "guard": engine.guards.state(),
    }
