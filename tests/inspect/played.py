"""A table of processes made of values, for what the finder decides without a system."""

from __future__ import annotations

from typing import Any

from tests.inspect.doctor.machines import NOW, Machine, proc

from midwatch.inspect.sources import Table
from midwatch.model.look import Proc

__all__ = ["NOW", "Machine", "many", "proc", "table"]


def table(*procs: Proc) -> Table:
    return Table({one.pid: one for one in procs}, NOW)


def many(first: int, count: int, words: str, **facts: Any) -> list[Proc]:
    """`count` processes, one second apart."""
    return [proc(first + n, words, started=NOW - 9000 + n, **facts) for n in range(count)]
