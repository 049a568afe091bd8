"""The stop ladder after its first rung: exit, end of the grace, the verified end of the tree.

Exit and tree end may come in either order; `go_on` is called when both are known. Processes that cannot be ended
are said, and tried again, never forgotten. Must not start a stop. Tests: tests/policy/test_stop.py.
"""

from __future__ import annotations

from midwatch.model.action import Kill
from midwatch.model.event import Exited, Tick, TreeGone
from midwatch.model.exit import ExitFacts
from midwatch.policy import moves
from midwatch.policy.budget import episode
from midwatch.policy.classify import classify
from midwatch.policy.draft import Draft
from midwatch.model.units import format_seconds

LEFTOVERS = "leftovers"  # an episode, not a budget: processes that could not be ended are said once


def _record(d: Draft, facts: ExitFacts) -> None:
    verdict = classify(facts, d.rules, d.s.why_stopping, d.s.asked_by, d.s.probe_detail)
    follows = "it is started again" if d.s.want == "up" else "stays stopped"
    moves.exited(d, verdict, facts, f"{verdict.cause}: {follows} when nothing of its tree is left", [])
    if d.s.want == "up":
        moves.count_restart(d, verdict.cause)


def exited(d: Draft, e: Exited) -> None:
    """The main process left within its grace; the rest gets what is left of it, and the end is verified."""
    grace_ends = d.now + d.rules.stop.grace if d.s.wake_at is None else d.s.wake_at
    _record(d, e.facts)
    moves.kill(d, 0.0 if d.s.hurry else max(0.0, grace_ends - d.now))


def exited_late(d: Draft, e: Exited) -> None:
    """The main process left while the tree was being killed. Told twice: ignored."""
    if d.s.pid is not None:
        _record(d, e.facts)
        if d.s.gone is not None:
            moves.go_on(d, d.s.gone)


def tree_gone(d: Draft, e: TreeGone) -> None:
    """The kill has ended."""
    if e.left > 0:
        words = f"{e.left} process(es) of {e.run} could not be ended; tried again every minute"
        if LEFTOVERS not in d.s.episodes:
            episode(d, LEFTOVERS, 1)
            d.note("run.leftovers", run_id=e.run, left=e.left, ended=e.ended, verified_by=e.verified_by)
            d.set(decision=words)
        d.settle(False, words)
        d.set(wake_at=d.now + d.rules.backoff.recheck)
        return
    episode(d, LEFTOVERS, 0)
    if d.s.pid is None:
        moves.go_on(d, e.verified_by, e.ended)
    else:  # the keeper's report of the exit is on its way; without it by then, the exit counts as unseen
        d.note("run.tree_gone", run_id=e.run, verified_by=e.verified_by, ended=e.ended)
        d.set(gone=e.verified_by, wake_at=d.now + d.rules.stop.verify)


def grace_over(d: Draft, _: Tick) -> None:
    """Nobody left in time."""
    moves.kill(d, 0.0, f"it did not leave within {format_seconds(d.rules.stop.grace)}")


def again(d: Draft, _: Tick) -> None:
    """Waited long enough: for an exit that nobody reports, or to try the kill once more."""
    if d.s.gone is None:
        d.do(Kill(d.run, 0.0, d.rules.stop.verify))
        d.set(wake_at=None)
    else:
        _record(d, ExitFacts(None, d.age))
        moves.go_on(d, d.s.gone)
