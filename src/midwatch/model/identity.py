"""Who a process is, and when "now" is.

A bare pid is recycled; a pid with its start time and the boot it belongs to is not. Everything that is
signalled, adopted or reported carries a `ProcId`. Must not know how these numbers are obtained (machine/).
"""

from __future__ import annotations

import msgspec


class ProcId(msgspec.Struct, frozen=True, order=True):
    """One process for all time: `start` is in clock ticks since boot (Linux) or microseconds (macOS)."""

    pid: int
    start: int
    boot: str


class Now(msgspec.Struct, frozen=True):
    """One reading of the clocks.

    `awake` is monotonic seconds that stop while the machine sleeps: every duration and window uses it.
    `wall` is Unix time and appears in records only. `boot` is the kernel's boot id: `awake` values of two
    boots cannot be compared.
    """

    awake: float
    wall: float
    boot: str
