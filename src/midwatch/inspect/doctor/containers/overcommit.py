"""DOC-5: what if every container took what it may take? Against the machine or VM, and the VM's cap against the host.

A limit counts whole; an unlimited container counts with its label midwatch.spike, else with the most it was seen to
use, which is a lower bound and said. Tests: tests/inspect/doctor/containers/test_overcommit.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from midwatch.inspect.containers import Picture, vm
from midwatch.inspect.doctor.check import Check, Context
from midwatch.inspect.doctor.containers import common
from midwatch.inspect.doctor.containers.common import Row
from midwatch.inspect.doctor.parts import naming
from midwatch.model.look import Checked, Status
from midwatch.model.units import format_bytes
from midwatch.policy import defaults_inspect as figures


def grade(parts: Sequence[int], whole: int) -> tuple[Status, float]:
    """What all of them together would be of the whole."""
    share = sum(parts) / whole
    bad = share >= figures.OVERCOMMIT[1]
    return "fail" if bad else "warn" if share >= figures.OVERCOMMIT[0] else "pass", share


def _run(ctx: Context) -> Iterable[Checked]:
    found = common.seen(ctx)
    for picture in found.pictures:
        mine = [row for row in common.rows(found) if row.picture is picture]
        if picture.engine.memory and mine:
            yield _engine(mine, picture.engine.memory)
    yield from _host(ctx, [picture for picture in found.pictures if picture.engine.desktop])
    if not any(picture.engine.memory for picture in found.pictures):
        yield CHECK.say("skip", "the engine does not say how much memory it has", hint="docker info")


def worst(row: Row) -> tuple[int, str]:
    """What one may take, and where that is from."""
    if row.limit is not None:
        return row.limit, "limit"
    if row.container.spike:
        return row.container.spike, "spike it declares"
    if row.usage is None:
        return 0, "not known"
    return max(row.usage.peak or 0, row.usage.used), "most seen, unlimited"


def _engine(mine: Sequence[Row], whole: int) -> Checked:
    parts = [(row, *worst(row)) for row in mine]
    status, share = grade([size for _, size, _ in parts], whole)
    total = sum(size for _, size, _ in parts)
    open_ended = [row for row, _, source in parts if source in ("most seen, unlimited", "not known")]
    words = f"containers may take {common.of(total, whole)}"
    if open_ended:
        words += f", and without bound {common.names(open_ended)}"
    return CHECK.say(
        status,
        words,
        offenders=[common.offender(row, f"{format_bytes(size)} ({source})") for row, size, source in parts],
        evidence={"sum_bytes": total, "machine_bytes": whole, "share": round(share, 3)},
        hint="" if status == "pass" else "lower the largest limits, or run fewer of them at once",
    )


def _host(ctx: Context, desktops: Sequence[Picture]) -> Iterable[Checked]:
    """The VM may grow to its cap; everything else holds what it holds."""
    whole = common.machine_memory(ctx)
    cap = sum(picture.engine.memory or 0 for picture in desktops)
    if not whole or not cap:
        return
    inside = {one.proc.pid for one in vm.find(ctx.sources)}
    others = naming.total(proc for proc in ctx.sources.table().procs.values() if proc.pid not in inside)
    status, share = grade([cap, others], whole)
    yield CHECK.say(
        status,
        f"the VM may take {format_bytes(cap)} and other processes hold {format_bytes(others)}: "
        f"{common.of(cap + others, whole)} of this machine",
        evidence={
            "vm_cap_bytes": cap,
            "others_bytes": others,
            "machine_bytes": whole,
            "share": round(share, 3),
        },
        hint=""
        if status == "pass"
        else "lower the VM's memory in its settings (DOC-6), or close idle sessions",
    )


CHECK = Check(
    id="DOC-5",
    category="containers",
    title="containers all at once",
    about=(
        "Sum of all limits, with the label midwatch.spike=8g (or the peak seen) for containers without one, against "
        "the memory of the machine or VM; then the VM's cap and all other processes against the host. From 80 % on it "
        "warns, from 95 % it fails."
    ),
    run=_run,
)
