"""DOC-25: one of our services, or all: memory against its line, who has its port, what it may open.

From what the daemon says of it and what the machine shows. Must not ask the daemon itself.
Tests: tests/inspect/doctor/test_ours.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from midwatch.inspect.doctor.check import Check, Context, Missing, Watched
from midwatch.inspect.doctor.parts import listeners, naming
from midwatch.model.look import Checked, Offender, Status
from midwatch.model.units import exact_bytes, format_bytes, format_seconds
from midwatch.policy import defaults
from midwatch.policy import defaults_inspect as figures

_MIB = 1 << 20


def _run(ctx: Context) -> Iterable[Checked]:
    mine = [one for one in ctx.services if not ctx.name or one.id == ctx.name]
    if not mine:
        yield CHECK.say("pass", "no service of midwatch runs here")
        return
    if not ctx.name:
        free = [one for one in mine if one.memory_hard is None and one.pid]
        if len(free) > 1:
            yield _free(free)
            mine = [one for one in mine if one not in free] + [
                msgspec.structs.replace(one, memory_hard=0) for one in free
            ]
    for watched in mine:
        found = [*_memory(watched), *_port(ctx, watched), *_files(watched)]
        yield from found
        if not found or ctx.name:
            yield CHECK.say("pass", _calm(watched), offenders=[_named(watched)])


def _free(free: list[Watched]) -> Checked:
    names = naming.some(one.id for one in free)
    words = f"{len(free)} services have no memory line of their own: {names}; a leak takes what the whole budget has"
    hint = f"midwatch doctor {free[0].id}, which proposes one; memory = {{ hard = ... }}"
    return CHECK.say("warn", words, offenders=[_named(one) for one in free], hint=hint)


def _named(watched: Watched) -> Offender:
    return Offender("service", watched.id, watched.pid)


def _calm(watched: Watched) -> str:
    held = _held(watched)
    words = f"{watched.id} is {watched.row.get('state', 'known')}"
    words += f", holds {format_bytes(held)}" if held is not None else ""
    words += f" of {format_bytes(watched.memory_hard)}" if watched.memory_hard else ""
    words += f", stops within {format_seconds(watched.drain)}" if watched.drain else ""
    return words


def _held(watched: Watched) -> int | None:
    memory = watched.row.get("memory")
    held = memory.get("held_bytes") if isinstance(memory, dict) else None
    return held if isinstance(held, int) else None


def _memory(watched: Watched) -> Iterator[Checked]:
    held, hard = _held(watched), watched.memory_hard
    if hard is None and watched.pid:
        peak = max(held or 0, 64 * _MIB)
        proposal = exact_bytes((peak * 3 // _MIB // 64 + 1) * 64 * _MIB)
        yield CHECK.say(
            "warn", f"{watched.id} has no memory line of its own: a leak takes what the whole budget has",
            offenders=[_named(watched)], evidence={"held_bytes": held}, hint=f'memory = {{ hard = "{proposal}" }}',
        )  # fmt: skip
    elif hard and held is not None and held > figures.SERVICE_MEMORY * hard:
        words = f"{watched.id} holds {format_bytes(held)} of its {format_bytes(hard)} ({held / hard:.0%})"
        yield CHECK.say("warn", words, offenders=[_named(watched)], hint=f"midwatch leaks {watched.id}",
                        evidence={"held_bytes": held, "hard_bytes": hard})  # fmt: skip


def _port(ctx: Context, watched: Watched) -> Iterator[Checked]:
    if not watched.port or not watched.pid:
        return
    try:
        pids = listeners.of(ctx, watched.port)
    except Missing:
        return
    own = {watched.pid, *watched.pids}
    procs = ctx.sources.table().procs
    others = [pid for pid in pids if pid not in own and pid in procs and not _below(ctx, pid, own)]
    if others and not own & set(pids):
        proc = procs[others[0]]
        yield CHECK.say(
            "fail", f"port {watched.port} of {watched.id} is held by {naming.short(proc, 40)} (pid {proc.pid})",
            offenders=[_named(watched), naming.offender(proc, ctx.sources.now())], evidence={"port": watched.port},
            hint=f"kill {proc.pid}, then midwatch restart {watched.id}",
        )  # fmt: skip


def _below(ctx: Context, pid: int, own: set[int]) -> bool:
    from midwatch.inspect.ours import lineage

    procs = ctx.sources.table().procs
    return any(one.pid in own for one in lineage(procs[pid], procs))


def _files(watched: Watched) -> Iterator[Checked]:
    used, limit = watched.fds_open, watched.fds_limit
    if not used or not limit:
        return
    share = used / limit
    warn, act = defaults.FD_ROOM
    if share > warn:
        status: Status = "fail" if share > act else "warn"
        yield CHECK.say(status, f"{watched.id} has {used} of {limit} files open ({share:.0%})",
                        offenders=[_named(watched)], hint=f"midwatch leaks {watched.id}")  # fmt: skip


CHECK = Check(
    id="DOC-25",
    category="services",
    title="services of midwatch",
    about=(
        "Each service of ours: no hard memory line, or over 80 % of it, warns; its port held by a stranger "
        "fails; over 70 % of its open files warns, over 85 % fails. `doctor NAME` asks about one."
    ),
    run=_run,
    services=True,
)
