"""What the container checks share: the one look at the engines, names of containers, shares of memory.

Must not judge. Tests: tests/inspect/doctor/containers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from midwatch.inspect.containers import Container, NoEngine, Picture, Seen, Usage, see
from midwatch.inspect.doctor.check import Context, Missing
from midwatch.inspect.doctor.parts import limit
from midwatch.model.look import Offender
from midwatch.model.units import format_bytes


class Row(NamedTuple):
    """One container with everything about it."""

    picture: Picture
    container: Container
    usage: Usage | None
    name: str
    limit: int | None


def seen(ctx: Context) -> Seen:
    """The engines. Raises Missing, with what would make the check run."""
    try:
        found = ctx.docker() if ctx.docker is not None else see(ctx.sources)
    except NoEngine as none:
        raise Missing(none.why, none.how) from None
    assert isinstance(found, Seen)
    return found


def rows(found: Seen, *, running: bool = True) -> Iterator[Row]:
    """Every container of every engine, by engine and name."""
    for picture in found.pictures:
        for one in picture.running() if running else sorted(picture.containers, key=lambda c: c.name):
            usage = picture.usage.get(one.id)
            yield Row(picture, one, usage, found.label(picture, one), picture.limit(one))


def offender(row: Row, detail: str) -> Offender:
    """By name, id and compose project (GEN-2)."""
    of = f" of {row.container.project}" if row.container.project else ""
    return Offender(
        "container", row.name, row.container.pid or None, None, f"{row.container.id[:12]}{of}: {detail}"
    )


def machine_memory(ctx: Context) -> int | None:
    """Of the machine that we look at (not of an engine's VM)."""
    try:
        if not ctx.linux:
            return int(ctx.sources.sysctl("hw.memsize"))
        return limit.meminfo(ctx.sources).get("MemTotal") or None
    except (OSError, ValueError):
        return None


def of(used: int, whole: int | None) -> str:
    """ "4.8G of 5G (96%)"."""
    return format_bytes(used) + (f" of {format_bytes(whole)} ({used / whole:.0%})" if whole else "")


def names(found: list[Row], most: int = 4) -> str:
    """The first few, and how many more."""
    known = [row.name for row in found]
    more = len(known) - most
    return ", ".join(known[:most]) + (f" and {more} more" if more > 0 else "")


def update(row: Row, size: str = "") -> str:
    """The command that sets a limit now: half more than the most it was seen to use."""
    if not size:
        seen = max(row.usage.peak or 0, row.usage.used) if row.usage else 0
        size = f"{max(256, -(-seen * 3 // 2 >> 20) // 64 * 64 + 64)}m"
    return f"{row.picture.engine.kind} update --memory {size} --memory-swap {size} {row.container.name}"
