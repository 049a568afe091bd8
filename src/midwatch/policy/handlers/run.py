"""A run begins and ends by itself: permission, spawn, failed spawn, exit, next try.

The exit is judged at once (budgets are spent when it happens, not when its leftovers are gone); what follows waits
until nothing of the tree is left. Must not know stops that we asked for (stop.py). Tests: tests/policy/test_life.py.
"""

from __future__ import annotations

from midwatch.model.event import Exited, Permit, Spawned, SpawnFailed, Tick
from midwatch.model.exit import Cause
from midwatch.model.state import Plan
from midwatch.policy import moves
from midwatch.policy.budget import held, judge
from midwatch.policy.classify import classify
from midwatch.policy.draft import Draft


def go(d: Draft, _: Permit | Tick) -> None:
    """Everything it needs is there, or the delay is over."""
    moves.spawn(d)


def spawned(d: Draft, e: Spawned) -> None:
    """It exists: up at once, or when its ready probe says so; a stop that came before begins now. Told twice: ignored."""
    if d.s.pid == e.pid:
        return
    d.set(pid=e.pid, spawned_at=d.now)
    d.note("run.spawned", run_id=e.run, pid=e.pid)
    if d.s.phase == "stopping":
        moves.ladder(d)
    else:
        moves.await_ready(d)


def _note_failed(d: Draft, e: SpawnFailed, decision: str) -> None:
    d.set(last_cause="spawn-failed", decision=decision)
    d.note(
        "run.spawn_failed", run_id=e.run, errno=e.error, phase=e.phase, error=e.message, lasting=e.lasting,
        cause="spawn-failed", crash_count=d.s.crash_count, decision=decision,
    )  # fmt: skip


def _remember(d: Draft, plan: Plan, cause: Cause, fingerprint: str) -> None:
    if plan.phase == "held":
        d.set(fingerprint=fingerprint)
    elif plan.phase in ("starting", "backoff", "degraded"):
        moves.count_restart(d, cause)


def spawn_failed(d: Draft, e: SpawnFailed) -> None:
    """It never started: held when time cannot cure it, else a crash that waits (EAGAIN, ENOMEM, EMFILE)."""
    plan, warnings = (held(d, e.message), []) if e.lasting else judge(d, "spawn-failed", 0.0)
    _note_failed(d, e, plan.message)
    d.actions += warnings
    _remember(d, plan, "spawn-failed", e.fingerprint)
    moves.follow(d, plan)


def spawn_failed_to_stop(d: Draft, e: SpawnFailed) -> None:
    """There is nothing to stop."""
    _note_failed(d, e, "")
    moves.go_on(d, "nothing started")


def exited(d: Draft, e: Exited) -> None:
    """It ended by itself: verdict, budget, plan; then the leftovers, then the plan."""
    moves.unwatch(d)
    verdict = classify(e.facts, d.rules)
    plan, warnings = judge(d, verdict.cause, e.facts.duration)
    moves.exited(d, verdict, e.facts, plan.message, warnings)
    _remember(d, plan, verdict.cause, e.fingerprint)
    if e.facts.strays == 0:
        moves.follow(d, plan)
        return
    d.set(plan=plan)
    moves.kill(d, d.rules.stop.grace)
