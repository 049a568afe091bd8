"""Counting recorded exits: H5-H7, and that the policy and every reader use one rule (A10)."""

from __future__ import annotations

from typing import Any

from midwatch.policy.summary import count, is_calm


def row(cause: str | None, code: int | None = None) -> dict[str, Any]:
    fields: dict[str, Any] = {"event": "run.exited", "code": code}
    return fields if cause is None else {**fields, "cause": cause}


def test_a_mix_is_counted_by_cause() -> None:
    """H5: 2 crashes, 1 oom, 1 segfault, 1 without a cause, 3 clean, 1 killed: 5 problems, 4 calm."""
    rows = [row("crash", 1), row("crash", 2), row("oom"), row("segfault"), row(None, 1)]
    rows += [row("clean", 0)] * 3 + [row("killed")]
    found = count(rows)
    assert (found.exits, found.problems, found.calm, found.crashes) == (9, 5, 4, 4)
    assert found.by_cause == {"crash": 2, "oom": 1, "segfault": 1, "legacy": 1, "clean": 3, "killed": 1}


def test_a_cause_of_the_future_is_a_crash() -> None:
    """H6: "panic" counts as a crash in the bucket other; a damaged cause as a row without one."""
    found = count([row("panic"), {"event": "run.exited", "cause": 7, "code": 0}, {"event": "run.exited"}])
    assert (found.problems, found.crashes) == (2, 2)
    assert found.by_cause == {"other": 1, "legacy": 2}
    assert not is_calm("panic")


def test_other_events_are_no_exits() -> None:
    """H7: a daemon that only started and stopped has no exits."""
    assert count([{"event": "daemon.started"}, {"event": "daemon.stopped"}, {}]).exits == 0


def test_the_log_summary_agrees_with_the_policy(world: Any) -> None:
    """A10: an outside SIGTERM among crashes: the in-process count and the summary of the record are the same."""
    w = world().lives((1, 1.0), (2, 1.0))
    w.come_up().exit(signal=15)
    w.lives((0, 1.0), (1, 1.0))
    found = count({"event": n, **f} for n in ("run.exited",) for f in w.named(n))
    assert found.crashes == w.state.crash_count == 3
    assert found.calm == 2
