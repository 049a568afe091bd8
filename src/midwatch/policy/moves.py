"""The moves that handlers are made of: spawn, come up, stop, kill, record an exit, go on afterwards.

Each move leaves a state that the table knows. There is one way to do each: `spawn` is the only place that emits
`Spawn`, `go_on` the only one that follows a plan. Must not look at an event. Tests: tests/policy.
"""

from __future__ import annotations

from math import inf
from typing import Any

from midwatch.model.action import Capture, Kill, Note, Signal, Spawn, Watch
from midwatch.model.exit import Cause, ExitFacts, Verdict
from midwatch.model.state import Plan
from midwatch.policy.budget import episode, heal_at
from midwatch.policy.classify import signal_name
from midwatch.policy.draft import Draft


def spawn(d: Draft) -> None:
    """Start the next run. Everything about the last one is forgotten except its verdict and the budgets."""
    number = d.s.run_no + 1
    run = f"{d.s.id.replace('/', '.')}.{number}"
    d.note("run.spawning", run_id=run)
    d.do(Spawn(run))
    d.enter(
        "starting", run=run, run_no=number, pid=None, spawned_at=None, ready=False, health="unknown",
        probe_failures=0, probe_detail="", deep_failures=0, failing="", why_stopping=None, respawn=False, plan=None,
        hurry=False, gone=None, stopping_since=None, asked_by="", fingerprint="", followed=False, forgiven=0.0,
        drain_by=None, episodes={k: v for k, v in d.s.episodes.items() if k != "backlog" and k[:6] != "guard."},
    )  # fmt: skip


def retry(d: Draft) -> None:
    """Try again, or for the first time. One with a schedule waits for its time; only a busy port made it late."""
    schedule = d.rules.schedule
    if schedule is None or d.s.phase == "waiting":
        spawn(d)
        return
    words = f"scheduled: {schedule.cron}"
    d.note("schedule.armed", cron=schedule.cron, zone=schedule.zone)
    d.enter("scheduled", plan=None, decision=words)
    d.settle(True, words)


def deadline(d: Draft) -> float:
    """When the living run of a schedule has used up its time."""
    limit = d.rules.schedule.deadline if d.rules.schedule else None
    return inf if limit is None else d.now - d.age + limit


def alarm(d: Draft, at: float | None) -> None:
    """Look at the living run at `at`, or at its deadline or the end of its drain if that comes first."""
    first = min(*(inf if t is None else t for t in (at, d.s.drain_by)), deadline(d))
    d.set(wake_at=None if first == inf else first)


def ready_by(d: Draft) -> float | None:
    """When the start has to be done; None without a ready probe."""
    return d.now - d.age + d.rules.ready.within if d.rules.ready else None


def came_up(d: Draft) -> None:
    """The run is ready, or has no ready probe and exists."""
    d.enter("up", ready=True, health="unknown", failing="", probe_failures=0, deep_failures=0, probe_detail="")
    alarm(d, heal_at(d))
    if d.rules.watching:
        d.do(Watch(d.run, "health"))
    d.settle(True, f"up, pid {d.s.pid}")


def await_ready(d: Draft) -> None:
    """Probe until ready; the deadline counts from the spawn."""
    if d.rules.ready is None:
        came_up(d)
    else:
        d.do(Watch(d.run, "ready"))
        alarm(d, ready_by(d))


def unwatch(d: Draft) -> None:
    """Stop probing a run that is going to end."""
    if (d.s.phase == "up" and d.rules.watching) or (d.s.phase == "starting" and d.rules.ready and d.s.pid):
        d.do(Watch(d.run, None))


def begin_stop(d: Draft, reason: str, by: str, grace: float | None = None) -> None:
    """Write down that a stop has begun. The caller has set `why_stopping` and what is to follow."""
    stop = d.rules.stop
    grace_ms = 0 if d.s.hurry else round((stop.grace if grace is None else grace) * 1000)
    d.note("stop.begin", run_id=d.run, reason=reason, by=by, signal=signal_name(stop.signal), grace_ms=grace_ms)
    unwatch(d)
    words = f"stopping: {reason}" + (f" by {by}" if by else "")
    d.set(stopping_since=d.now, drain_by=None, asked_by=by, decision=words)


def stop_unhealthy(d: Draft, reason: str, words: str, plan: Plan) -> None:
    """Evidence first, then the ladder (HLT-7); then `plan`."""
    d.do(Capture(d.run, reason))
    d.set(why_stopping="unhealthy", plan=plan, respawn=False, hurry=False)
    begin_stop(d, "unhealthy", "")
    d.set(decision=words)
    ladder(d)


def ladder(d: Draft, signalled: bool = False, grace: float | None = None) -> None:
    """The first rung for a living run: the stop signal and its grace, or the kill when there is no patience left."""
    if d.s.pid is None:  # waits without a timer: `Spawned`, `SpawnFailed` or `Exited` has to come
        d.enter("stopping")
    elif d.s.hurry:
        kill(d, 0.0, "asked to be quick" if d.s.why_stopping == "requested" else "it gets no time to leave")
    else:
        if not signalled:
            d.note("stop.signal", run_id=d.run, signal=signal_name(d.rules.stop.signal))
            d.do(Signal(d.run, d.rules.stop.signal))
        d.enter("stopping", d.now + (d.rules.stop.grace if grace is None else grace))


def kill(d: Draft, polite: float, because: str = "") -> None:
    """End what is left of the tree and have it verified; with `because` the journal says that we killed."""
    if because:
        d.note("stop.kill", run_id=d.run, reason=because)
    d.do(Kill(d.run, polite, d.rules.stop.verify))
    d.enter("killing")


def exited(d: Draft, verdict: Verdict, facts: ExitFacts, decision: str, warnings: list[Note]) -> None:
    """Write the exit down. The budgets are already spent; what follows is decided by the caller."""
    signal = None if facts.signal is None else signal_name(facts.signal)
    known: dict[str, Any] = {  # these are always there: null says "none", not "not told"
        "run_id": d.run, "pid": d.s.pid, "code": facts.code, "signal": signal, "status": facts.status,
        "cause": verdict.cause, "confidence": verdict.confidence, "because": verdict.because,
        "duration_ms": round(facts.duration * 1000), "crash_count": d.s.crash_count, "decision": decision,
    }  # fmt: skip
    for name in ("against", "do", "reported_signal", "max_rss_bytes", "cpu_seconds"):
        value = getattr(verdict, name, None) or getattr(facts, name, None)
        if value is not None:
            known[name] = value
    d.do(Note("run.exited", known))
    d.actions += warnings
    d.set(last_cause=verdict.cause, decision=decision, pid=None, ready=False, health="unknown", failing="",
          drain_by=None)  # fmt: skip


def count_restart(d: Draft, cause: Cause) -> None:
    """One more restart because of `cause`, for `ps`."""
    d.set(restarts={**d.s.restarts, cause: d.s.restarts.get(cause, 0) + 1})


def follow(d: Draft, plan: Plan) -> None:
    """Enter what was planned for the time after the tree is gone."""
    if plan.phase in ("starting", "backoff", "degraded", "waiting"):
        fields = {"reason": plan.reason, "crash_count": d.s.crash_count, "decision": plan.message}
        d.note("backoff", ms=round(plan.delay * 1000), **fields)
    if plan.phase == "starting":
        retry(d)
        return
    if plan.phase == "scheduled" and d.rules.schedule is None:  # removed meanwhile
        plan = Plan("pending")
    if plan.phase == "held":
        d.note("service.held", reason=plan.reason, recheck_ms=round(plan.delay * 1000), decision=plan.message)
    elif plan.phase == "gave_up":
        count, limit, cause = d.s.crash_count, d.rules.budgets.crash_hard, d.s.last_cause
        d.note("supervision.gave_up", crash_count=count, limit=limit, cause=cause, decision=plan.message)
    elif plan.phase == "done":
        d.note("service.done", cause=d.s.last_cause, decision=plan.message)
    timed = plan.phase in ("backoff", "degraded", "waiting", "held")
    d.enter(plan.phase, d.now + plan.delay if timed else None, plan=None)
    if plan.phase not in ("pending", "backoff"):
        d.settle(plan.phase == "done" or plan.reason == "clean", plan.message)


def go_on(d: Draft, verified_by: str, ended: int = 0) -> None:
    """The tree is gone and the exit is recorded: stopped, a new run, or what was planned."""
    s = d.s
    if s.stopping_since is not None:
        fields = {"ended": ended, "duration_ms": round((d.now - s.stopping_since) * 1000), "reason": s.why_stopping}
        d.note("stop.done", run_id=d.run, verified_by=verified_by, **fields)
    else:
        d.note("run.tree_gone", run_id=d.run, verified_by=verified_by, ended=ended)
    d.set(why_stopping=None, stopping_since=None, hurry=False, gone=None, pid=None)
    if s.want == "down":
        proof = f", verified by {verified_by}"
        stopped(d, "stopped" + (proof if verified_by != "not provable" else "; that nothing is left cannot be proven"))
    elif s.respawn:
        spawn(d)
    else:
        follow(d, s.plan or Plan("pending"))


def stopped(d: Draft, message: str) -> None:
    """Nothing runs and nobody wants it to."""
    by = f" (asked by {d.s.asked_by})" if d.s.asked_by else ""
    episode(d, "port", 0)
    d.enter("stopped", plan=None, respawn=False, decision=message + by)
    d.settle(True, message)
