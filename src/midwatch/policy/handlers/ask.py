"""A person, or the outer manager, wants something: start, stop, restart, reset in every phase.

The newest intent wins: it takes the job, the former one ends as superseded. Only here does `want` change. Must
not end a run itself: that is the ladder in moves.py. Tests: tests/policy/test_asks.py, test_stop.py.
"""

from __future__ import annotations

from midwatch.model.event import Ask
from midwatch.model.state import Plan
from midwatch.policy import moves
from midwatch.policy.budget import episode, heal_at
from midwatch.policy.draft import Draft


def _asked(d: Draft, e: Ask) -> None:
    d.note("service.asked", verb=e.verb, by=e.by, job=e.job, now=e.now or None)


def join(d: Draft, e: Ask) -> None:
    """It is on its way up: the job waits for that. Every other intent begins with this, too."""
    _asked(d, e)
    d.take(e.job)


def fresh_chance(d: Draft) -> None:
    """A service that gave up starts with an empty crash count, or its first crash would end it again."""
    if d.s.phase == "gave_up":
        episode(d, "crash", 0)
        d.set(crash_count=0)


def start_again(d: Draft, e: Ask) -> None:
    """Start or restart of something that does not run, also during a wait: the fleet says when. Counters stay."""
    join(d, e)
    fresh_chance(d)
    d.enter("pending", want="up", asked_by="", decision=f"start asked by {e.by}; waits for what it needs")


def run_now(d: Draft, e: Ask) -> None:
    """It waits for its next time and somebody wants it now. Its needs were there when it was armed."""
    join(d, e)
    moves.spawn(d)


def nothing_to_do(d: Draft, e: Ask) -> None:
    """It is as it was asked to be."""
    _asked(d, e)
    d.answer(e.job, True, "already stopped" if d.s.phase == "stopped" else f"already up, pid {d.s.pid}")


def start_after(d: Draft, e: Ask) -> None:
    """Start while it is being stopped: no second copy, so it starts when the tree is gone."""
    join(d, e)
    d.set(want="up")
    if not d.s.respawn and (d.s.plan is None or d.s.plan.phase != "starting"):
        d.set(plan=Plan("pending"))


def stop_idle(d: Draft, e: Ask) -> None:
    """Nothing runs: waiting for a next try, or for ever. Ends at once (B5, D10)."""
    join(d, e)
    d.note("stop.begin", run_id=d.run, reason="requested", by=e.by, grace_ms=0)
    d.note("stop.done", run_id=d.run, verified_by="nothing running", ended=0, duration_ms=0, reason="requested")
    d.set(want="down", asked_by=e.by)
    moves.stopped(d, "stopped, nothing was running")


def stop(d: Draft, e: Ask) -> None:
    """The first rung of the ladder; for a restart, a new run follows the last one."""
    join(d, e)
    again = e.verb == "restart"
    d.set(want="up" if again else "down", why_stopping="requested", hurry=e.now, respawn=again, plan=None)
    moves.begin_stop(d, "restart" if again else "requested", e.by)
    moves.ladder(d, e.signalled)


def stop_again(d: Draft, e: Ask) -> None:
    """A stop during a stop: the second one, or one with `now`, ends the grace (D7). One stop.begin is written."""
    first = d.s.want == "up"
    join(d, e)
    d.set(want="down", respawn=False, plan=None, asked_by=e.by)
    if d.s.stopping_since is None:  # the leftovers of an exit were being ended
        d.set(why_stopping="requested")
        moves.begin_stop(d, "requested", e.by)
    if (e.now or not first) and not d.s.hurry:
        d.set(hurry=True)
        if d.s.phase == "killing" or d.s.pid is not None:
            moves.kill(d, 0.0, f"asked again by {e.by}")


def restart_after(d: Draft, e: Ask) -> None:
    """Restart while it is being stopped: the stop goes on, then it starts."""
    join(d, e)
    d.set(want="up", respawn=True, plan=None)


def reset(d: Draft, e: Ask) -> None:
    """All counters, windows and episodes start afresh; a wait ends, a start is held against its deadline again."""
    _asked(d, e)
    waited = d.s.phase in ("backoff", "degraded", "waiting", "held", "gave_up")
    d.set(crash_count=0, windows={}, episodes={}, decision=f"budgets cleared by {e.by}")
    d.answer(e.job, True, "budgets cleared" + (", starting" if waited else ""))
    if waited:
        moves.retry(d)
    elif d.s.phase == "up":
        moves.alarm(d, heal_at(d))
    elif d.s.phase == "starting" and d.s.pid is not None:
        moves.alarm(d, moves.ready_by(d))
