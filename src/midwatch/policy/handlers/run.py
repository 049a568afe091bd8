"""One run from permission to the verified end of its tree: spawn, exit, stop ladder, next try.

An exit is judged at once (budgets are spent when it happens); what follows waits until nothing of the tree is left.
Exit and tree end may come in either order, `go_on` is called when both are known. Processes that cannot be ended are
said and tried again, never forgotten. Must not start a stop. Tests: tests/policy/test_life.py, test_stop.py.
"""

from __future__ import annotations

from midwatch.model.action import Follow, Kill
from midwatch.model.event import Exited, Permit, PortBusy, Spawned, SpawnFailed, Tick, TreeGone
from midwatch.model.exit import Cause, ExitFacts
from midwatch.model.state import Plan
from midwatch.model.units import format_seconds
from midwatch.policy import moves
from midwatch.policy.budget import conflict, episode, held, judge
from midwatch.policy.classify import classify, planned, port_words
from midwatch.policy.draft import Draft


def go(d: Draft, _: Permit | Tick) -> None:
    """Everything it needs is there, or the delay is over."""
    moves.retry(d)


def spawned(d: Draft, e: Spawned) -> None:
    """It exists: up at once, or when its ready probe says so; a stop that came before begins now."""
    if d.s.pid == e.pid:
        return  # told twice
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
    elif plan.phase in ("starting", "backoff", "degraded", "waiting"):
        moves.count_restart(d, cause)


def spawn_failed(d: Draft, e: SpawnFailed) -> None:
    """It never started: held when time cannot cure it, else a crash that waits (EAGAIN, ENOMEM, EMFILE)."""
    if d.s.pid is not None:
        return  # contradicts what we know: it did start, and its exit will be told
    if d.s.phase == "stopping":
        _note_failed(d, e, "")
        moves.go_on(d, "nothing started")
        return
    plan, warnings = (held(d, e.message), []) if e.lasting else judge(d, "spawn-failed", 0.0)
    _note_failed(d, e, plan.message)
    d.actions += warnings
    _remember(d, plan, "spawn-failed", e.fingerprint)
    moves.follow(d, plan)


def port_busy(d: Draft, e: PortBusy) -> None:
    """Nothing was started, so the run's number is given back: its port is somebody else's."""
    if d.s.pid is not None:
        return  # contradicts what we know
    d.set(run_no=d.s.run_no - 1)
    if d.s.phase == "stopping":
        moves.go_on(d, "nothing started")
        return
    plan, told = conflict(d, e.owner, e.port, e.do, pid=e.pid, **{"class": e.klass})
    d.actions += told
    d.set(last_cause="port-conflict", decision=plan.message)
    moves.follow(d, plan)


def _daemonised(d: Draft, e: Exited, heir: int) -> None:
    """It was a launcher: it left with 0, and a process of its tree serves the port."""
    facts = e.facts
    what = f"it left with 0 after {format_seconds(facts.duration)}, its child {heir} has {port_words(facts.port)}"
    fields = {"run_id": d.run, "pid": heir, "launcher_pid": d.s.pid, "port": facts.port}
    if d.rules.launcher == "follow":
        words = f"{what}: followed as the run"
        d.note("run.daemonised", **fields, action="followed", decision=words)
        d.do(Follow(d.run, heir))
        d.set(pid=heir, followed=True, decision=words)
        return
    words = what + ': refused; start it in the foreground (--foreground, --no-daemon, -F), or launcher = "follow"'
    moves.unwatch(d)
    plan = Plan("held", d.rules.backoff.recheck, "daemonised", words)
    moves.exited(d, classify(facts, d.rules), facts, words, [])
    d.note("run.daemonised", **fields, action="refused", decision=words)
    d.set(plan=plan, fingerprint=e.fingerprint)
    moves.kill(d, d.rules.stop.grace)


def exited(d: Draft, e: Exited) -> None:
    """It ended by itself: verdict, budget, plan; then the leftovers, then the plan."""
    if e.facts.heir is not None and e.facts.code == 0 and d.s.pid is not None:
        _daemonised(d, e, e.facts.heir)
        return
    moves.unwatch(d)
    verdict = classify(e.facts, d.rules, None if d.s.drain_by is None else "drain", detail=d.s.drain_why)
    if verdict.cause == "port-conflict":
        plan, warnings = conflict(d, e.facts.port_owner, e.facts.port)
    else:
        lived = max(0.0, e.facts.duration - d.s.forgiven)
        plan, warnings = judge(d, verdict.cause, lived, planned(e.facts))
    moves.exited(d, verdict, e.facts, plan.message, warnings)
    _remember(d, plan, verdict.cause, e.fingerprint)
    if e.facts.strays == 0 and e.facts.heir is None:
        moves.follow(d, plan)
        return
    d.set(plan=plan)
    moves.kill(d, d.rules.stop.grace)


def _record(d: Draft, facts: ExitFacts) -> None:
    verdict = classify(facts, d.rules, d.s.why_stopping, d.s.asked_by, d.s.probe_detail)
    again = d.s.want == "up" and not (d.s.plan and d.s.plan.phase == "scheduled")
    follows = "it is started again" if again else "stays stopped" if d.s.want == "down" else "waits for its next time"
    moves.exited(d, verdict, facts, f"{verdict.cause}: {follows} when nothing of its tree is left", [])
    if again:
        moves.count_restart(d, verdict.cause)


def exited_in_stop(d: Draft, e: Exited) -> None:
    """The main process left within its grace; the rest gets what is left of it, and the end is verified."""
    grace_ends = d.now + d.rules.stop.grace if d.s.wake_at is None else d.s.wake_at
    _record(d, e.facts)
    moves.kill(d, 0.0 if d.s.hurry else max(0.0, grace_ends - d.now))


def exited_in_kill(d: Draft, e: Exited) -> None:
    """The main process left while the tree was being killed. Told twice: ignored."""
    if d.s.pid is not None:
        _record(d, e.facts)
        if d.s.gone is not None:
            moves.go_on(d, d.s.gone)


def tree_gone(d: Draft, e: TreeGone) -> None:
    """The kill has ended."""
    if e.left > 0:
        words = f"{e.left} process(es) of {e.run} could not be ended; tried again every minute"
        if "leftovers" not in d.s.episodes or d.s.job:  # an episode, not a budget: said once, and to who asks again
            episode(d, "leftovers", 1)
            d.note("run.leftovers", run_id=e.run, left=e.left, ended=e.ended, verified_by=e.verified_by)
            d.set(decision=words)
        d.settle(False, words)
        d.set(wake_at=d.now + d.rules.backoff.recheck)
        return
    episode(d, "leftovers", 0)
    if d.s.pid is None:
        moves.go_on(d, e.verified_by, e.ended)
    else:  # the keeper's report of the exit is on its way; without it by then, the exit counts as unseen
        d.note("run.tree_gone", run_id=e.run, verified_by=e.verified_by, ended=e.ended)
        d.set(gone=e.verified_by, wake_at=d.now + d.rules.stop.verify)


def grace_over(d: Draft, _: Tick) -> None:
    """Nobody left in time."""
    patience = d.now - (d.now if d.s.stopping_since is None else d.s.stopping_since)
    moves.kill(d, 0.0, f"it did not leave within {format_seconds(patience)}")


def again(d: Draft, _: Tick) -> None:
    """Waited long enough: for an exit that nobody reports, or to try the kill once more."""
    if d.s.gone is None:
        d.do(Kill(d.run, 0.0, d.rules.stop.verify))
        d.set(wake_at=None)
    else:
        _record(d, ExitFacts(None, d.age))
        moves.go_on(d, d.s.gone)
