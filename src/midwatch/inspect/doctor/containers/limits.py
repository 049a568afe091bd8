"""DOC-3: containers without a memory limit. One of them can take everything that the machine or the VM has.

A limit is what is configured, or in force by its cgroup; "limit" in `docker stats` is then the whole machine's memory.
Tests: tests/inspect/doctor/containers/test_limits.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from midwatch.inspect.doctor import pressure
from midwatch.inspect.doctor.check import Check, Context, Missing
from midwatch.inspect.doctor.containers import common
from midwatch.inspect.doctor.containers.common import Row
from midwatch.model.look import Checked, Status
from midwatch.model.units import format_bytes
from midwatch.policy import defaults_inspect as figures

_COMPUTES = ("worker", "celery", "sidekiq", "spark", "dask", "ray", "jupyter", "notebook", "ollama", "vllm", "train",
             "elasticsearch", "model", "compute")  # fmt: skip


def _run(ctx: Context) -> Iterable[Checked]:
    found = common.seen(ctx)
    for words in found.missing:
        yield CHECK.say("skip", words, hint="midwatch doctor --category containers, once the engine answers")
    everyone = list(common.rows(found))
    free = [row for row in everyone if row.limit is None]
    if not free:
        yield CHECK.say("pass", f"{len(everyone)} running containers, each with a memory limit")
        return
    tight = _pressed(ctx)
    told = [(row, _why(row, tight)) for row in free]
    bad = [(row, why) for row, why in told if why]
    status: Status = "fail" if bad else "warn"
    words = f"{len(free)} of {len(everyone)} running containers have no memory limit: {common.names(free)}"
    if bad:
        words += f"; {bad[0][0].name} {bad[0][1]}"
    yield CHECK.say(
        status,
        words,
        offenders=[common.offender(row, _detail(row, why)) for row, why in told],
        evidence={row.name: row.usage.used if row.usage else None for row in free},
        hint=f"{common.update((bad or told)[0][0])}, and mem_limit in its compose file",
    )


def _why(row: Row, tight: bool) -> str:
    """Why it is more than a warning; "" when it is not."""
    whole = row.picture.engine.memory
    if row.usage is not None and whole and row.usage.used > figures.UNLIMITED_SHARE * whole:
        return f"uses {common.of(row.usage.used, whole)}"
    text = f"{row.container.image} {row.container.service} {row.container.name}".lower()
    word = next((word for word in _COMPUTES if word in text), "")
    if word:
        return f"computes by its name ({word}): what it needs has no bound"
    return "runs while the machine is short of memory" if tight else ""


def _detail(row: Row, why: str) -> str:
    whole = row.picture.engine.memory
    shown = f"the limit shown is the machine's {format_bytes(whole)}" if whole else "no limit"
    used = f"uses {format_bytes(row.usage.used)}" if row.usage else "use not known"
    return "; ".join(part for part in (used if "uses" not in why else "", why, shown) if part)


def _pressed(ctx: Context) -> bool:
    try:
        return any(one.status in ("warn", "fail") for one in pressure.CHECK.run(ctx))
    except Missing:
        return False


CHECK = Check(
    id="DOC-3",
    category="containers",
    title="containers without a limit",
    about=(
        "A running container without a memory limit warns. It fails when it uses over a quarter of the machine's (or "
        "VM's) memory, does computation by its name, or memory is short right now (DOC-1)."
    ),
    run=_run,
)
