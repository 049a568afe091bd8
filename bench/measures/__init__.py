"""The measures, one a file; each takes a Context and returns one Result for each peer and setting.

A peer that fails costs its own row only.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.context import Context
from bench.measures import (
    cpu,
    execute,
    first_look,
    guards,
    logs,
    memory,
    readings,
    restart,
    sessions,
    sockets,
    spooling,
    start500,
    survive,
)
from bench.model import Measure, Result

RUN: dict[Measure, Callable[[Context], list[Result]]] = {
    "restart": restart.measure,
    "memory": memory.measure,
    "cpu": cpu.measure,
    "start500": start500.measure,
    "logs": logs.measure,
    "sockets": sockets.measure,
    "survive": survive.measure,
    "readings": readings.measure,
    "guards": guards.measure,
    "exec": execute.measure,
    "look": first_look.measure,
    "spool": spooling.measure,
    "sessions": sessions.measure,
}
