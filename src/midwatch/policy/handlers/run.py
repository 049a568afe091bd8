"""A run begins and ends by itself: permission, spawn, failed spawn, exit, next try.

The exit is judged at once (budgets are spent when it happens, not when its leftovers are gone); what follows waits
until nothing of the tree is left. Must not know stops that we asked for (stop.py). Tests: tests/policy/test_life.py.
"""

from __future__ import annotations

from midwatch.model.event import Exited, Permit, Spawned, SpawnFailed, Tick
from midwatch.model.exit import Cause
from midwatch.model.state import Plan
from midwatch.policy import moves
from midwatch.policy.budget import hold_unspawnable, judge
from midwatch.policy.classify import classify
from midwatch.policy.draft import Draft


def permit(d: Draft, e: Permit) -> None:
    """Everything it needs is there."""
    moves.spawn(d)


def try_again(d: Draft, e: Tick) -> None:
    """The delay is over."""
    moves.spawn(d)


def _exists(d: Draft, e: Spawned) -> None:
    d.set(pid=e.pid, spawned_at=d.now)
    d.note("run.spawned", run_id=e.run, pid=e.pid)


def spawned(d: Draft, e: Spawned) -> None:
    """It exists: up at once, or when its ready probe says so. Told again (after a restart of the engine): ignored."""
    if d.s.pid != e.pid:
        _exists(d, e)
        moves.await_ready(d)


def spawned_to_stop(d: Draft, e: Spawned) -> None:
    """A stop came before the pid was known: now the ladder can begin."""
    if d.s.pid != e.pid:
        _exists(d, e)
        moves.ladder(d)


def _note_failed(d: Draft, e: SpawnFailed, decision: str) -> None:
    d.set(last_cause="spawn-failed", decision=decision)
    d.note(
        "run.spawn_failed", run_id=e.run, errno=e.error, phase=e.phase, error=e.message, lasting=e.lasting,
        cause="spawn-failed", crash_count=d.s.crash_count, decision=decision,
    )  # fmt: skip


def _next(d: Draft, plan: Plan, cause: Cause, fingerprint: str) -> None:
    if plan.phase == "held":
        d.set(fingerprint=fingerprint)
    elif plan.phase in ("starting", "backoff", "degraded"):
        moves.count_restart(d, cause)


def spawn_failed(d: Draft, e: SpawnFailed) -> None:
    """It never started: held when time cannot cure it, else a crash that waits (EAGAIN, ENOMEM, EMFILE)."""
    plan, warnings = (hold_unspawnable(d, e.message), []) if e.lasting else judge(d, "spawn-failed", 0.0)
    _note_failed(d, e, plan.message)
    d.actions += warnings
    _next(d, plan, "spawn-failed", e.fingerprint)
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
    _next(d, plan, verdict.cause, e.fingerprint)
    if e.facts.strays == 0:
        moves.follow(d, plan)
        return
    if e.facts.strays > 0:
        d.note("run.leftovers", run_id=e.run, count=e.facts.strays)
    d.set(plan=plan)
    moves.kill(d, d.rules.stop.grace)
