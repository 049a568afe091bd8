"""DOC-4: containers near their limit, and containers in which the kernel has killed for lack of memory.

Near is judged by what cannot be dropped: file pages that nobody uses are taken off (inactive_file, on cgroup v1
total_inactive_file). A kill is believed from who counts it: the container's cgroup, the kernel's log by container id,
docker's OOMKilled. Podman's OOMKilled says nothing: it stays false after a real kill, so the other two decide. Exit 137
alone is a SIGKILL by anybody, `docker stop` too. Tests: tests/inspect/doctor/containers/test_ceiling.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from midwatch.inspect.containers import kernellog
from midwatch.inspect.doctor.check import WORST, Check, Context
from midwatch.inspect.doctor.containers import common
from midwatch.inspect.doctor.containers.common import Row
from midwatch.model.look import Checked
from midwatch.policy import defaults_inspect as figures

Grade = Literal["warn", "fail"]
KILLED = 137  # 128 + SIGKILL


class Told(NamedTuple):
    """A finding about one container."""

    status: Grade
    row: Row
    words: str


def _run(ctx: Context) -> Iterable[Checked]:
    found = common.seen(ctx)
    everyone = list(common.rows(found, running=False))
    log = (
        kernellog.read(ctx.sources)
        if any(_asks(row) for row in everyone)
        else kernellog.Log(why="not needed")
    )
    told = [one for row in everyone for one in (killed(row, log, ctx.sources.now()), near(row)) if one]
    limited = [row for row in everyone if row.container.running and row.limit]
    if not told:
        yield CHECK.say(
            "pass", f"{len(limited)} limited containers, none near its limit, none killed for memory"
        )
        return
    told.sort(key=lambda one: WORST[one.status])
    first = told[0]
    more = f"; also {common.names([one.row for one in told[1:]])}" if len(told) > 1 else ""
    yield CHECK.say(
        first.status,
        f"{first.row.name} {first.words}{more}",
        offenders=[common.offender(one.row, one.words) for one in told],
        evidence={"kernel_log": log.why or "read", "containers": len(everyone)},
        hint=_hint(first),
    )


def near(row: Row) -> Told | None:
    """By its limit; an upper bound warns at most."""
    if row.usage is None or not row.limit or not row.container.running:
        return None
    share = row.usage.used / row.limit
    if share < figures.NEAR_LIMIT[0]:
        return None
    words = f"uses {common.of(row.usage.used, row.limit)} of its limit"
    if not row.usage.exact:
        return Told(
            "warn", row, f"{words}, at most: {row.picture.engine.kind} does not say how much can be dropped"
        )
    return Told("fail" if share >= figures.NEAR_LIMIT[1] else "warn", row, words)


def killed(row: Row, log: kernellog.Log, now: float) -> Told | None:
    """What proves a kill out of memory in its present or last life; what leaves it open only warns."""
    one, docker = row.container, row.picture.engine.kind == "docker"
    if row.usage is not None and row.usage.ooms:
        return Told(
            "fail", row, f"had {row.usage.ooms} kills out of memory since it began, by its cgroup's count"
        )
    hits = log.of(one.id, one.started)
    if hits:
        where = "the whole machine was out of memory" if hits[-1].whole else "at its limit"
        denies = f"; {row.picture.engine.kind} says OOMKilled false" if one.oom_killed is False else ""
        return Told(
            "fail", row, f"lost {hits[-1].name} ({hits[-1].pid}) to the kernel, {where}, by its log{denies}"
        )
    if one.running or not _recent(row, now):
        return None
    if one.oom_killed and (docker or not log.covers(one.started)):
        return Told("fail", row, f"ended out of memory, says {row.picture.engine.kind} (OOMKilled)")
    if one.oom_killed:
        return Told("warn", row, "ended out of memory, says podman, but the kernel's log has no such kill")
    if one.exit_code == KILLED and not log.covers(one.started):
        return Told(
            "warn", row, f"ended by SIGKILL (137), for memory or by a stop that it ignored: {_unproven(log)}"
        )
    return None


def _unproven(log: kernellog.Log) -> str:
    return log.why or "the kernel's log does not reach back that far"


def _asks(row: Row) -> bool:
    """Is there a question that only the kernel's log can answer?"""
    one = row.container
    return one.running or one.exit_code == KILLED or bool(one.oom_killed)


def _recent(row: Row, now: float) -> bool:
    return row.container.finished is None or now - row.container.finished < figures.DEATH_AGE


def _hint(told: Told) -> str:
    kind, name = told.row.picture.engine.kind, told.row.container.name
    if told.row.limit is None:
        return f"{kind} logs --tail 50 {name}"
    if "SIGKILL" in told.words:
        return "sudo dmesg | grep oom-kill"
    size = f"{-(-told.row.limit * 3 // 2) >> 20}m"
    look = f"top {name}" if told.row.container.running else f"logs --tail 50 {name}"
    return f"{common.update(told.row, size)}, or find what grows: {kind} {look}"


CHECK = Check(
    id="DOC-4",
    category="containers",
    title="containers near their limit",
    about=(
        "Use without droppable file pages: from 80 % of the limit on it warns, from 95 % it fails. A kill out of "
        "memory that the cgroup counts, the kernel's log shows or docker reports fails; one that is only possible "
        "(exit 137 and no log) warns. Podman's OOMKilled is not believed: it stays false."
    ),
    run=_run,
)
