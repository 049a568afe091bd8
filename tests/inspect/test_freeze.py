"""The freeze of a Mac with agents and containers, replayed from its files: several signals read together, one verdict.

Scenarios 47, 50, 52, 53. The recordings are synthetic twins: no panic, a jetsam event six minutes before a reset, nine
native crashes, three containers of which one has no limit, memory pressure.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from midwatch.inspect import freeze
from midwatch.inspect.doctor import registry
from midwatch.inspect.doctor.check import Context
from midwatch.inspect.doctor.run import run
from midwatch.inspect.sources.recorded import Recorded
from midwatch.model.look import Checked

RECORDINGS = Path(__file__).parent / "recordings"


def _results(name: str) -> dict[str, list[Checked]]:
    wanted = [check for check in registry.checks() if check.id in freeze.READS]
    found: dict[str, list[Checked]] = {}
    for one in run(Context(Recorded(RECORDINGS / name)), wanted):
        found.setdefault(one.id, []).append(one)
    return found


def _judge(name: str) -> freeze.Freeze | None:
    return freeze.judge(Recorded(RECORDINGS / name))


def test_each_signal_alone_says_something_else() -> None:
    """S47, S52, S53: a reset without panic, nine crashes in four days, one container without a limit, pressure."""
    found = _results("mac-freeze")
    assert found["DOC-9"][0].message.startswith("hang, memory pressure likely")
    assert found["DOC-9"][0].evidence["before_s"] == 365
    assert [one.status for one in found["DOC-10"]] == ["fail"]
    assert "9 crashes of python3.13 in pydantic-core" in found["DOC-10"][0].message
    assert (found["DOC-3"][0].status, "chap-core-worker-1" in found["DOC-3"][0].message) == ("fail", True)
    assert found["DOC-1"][0].status == "warn"
    assert all(one.source == "file" for results in found.values() for one in results)


def test_together_they_give_one_verdict() -> None:
    """The unlimited container took the memory; the crashes are another matter; each thing to do is a command."""
    found = _judge("mac-freeze")
    assert found is not None
    assert found.cause.startswith("memory ran out and the machine stood still: chap-core-worker-1")
    assert 0.75 <= found.confidence <= 0.95
    assert any("jetsam event" in words for words in found.because)
    assert any("chap-core-worker-1" in words for words in found.because)
    assert any("pressure" in words for words in found.because)
    assert any("pydantic-core" in words and "never the machine" in words for words in found.against)
    assert any(words.startswith("docker update --memory") for words in found.do)
    assert any("upgrade pydantic-core" in words for words in found.do)
    assert not any("restart this machine" in words or "QEMU" in words for words in found.do)
    assert found.at is not None
    assert freeze.lines(found)[0].startswith("VERDICT  memory ran out")


def test_s53_a_watchdogs_panic_blames_no_driver() -> None:
    """Scenario 53: "no checkins from watchdogd" is class watchdog, without advice about drivers."""
    found = _judge("mac-watchdog")
    assert found is not None
    assert "watchdog" in found.cause
    assert not any("driver" in words for words in (found.cause, *found.do))
    assert found.confidence < 0.75


def test_s50_a_vm_that_keeps_memory_is_no_freeze_but_a_finding() -> None:
    """Scenario 50 from files: 21 GB of VM and no container; nothing froze, so there is no verdict about a freeze."""
    assert _judge("mac-vm") is None
    (found,) = _results("mac-vm")["DOC-7"]
    assert found.status == "fail"
    assert "need not be restarted" in found.hint


def _said(name: str, status: str, message: str = "x", **evidence: object) -> Checked:
    return Checked(name, "crashes", status, message, evidence=dict(evidence), hint=f"do {name}")  # type: ignore[arg-type]


HANG = _said("DOC-9", "fail", "a hang", **{"class": "hang", "at": 5.0})


def test_a_hang_that_nothing_explains_stays_unexplained() -> None:
    """No jetsam, nothing wrong now: cause not known, and what could not be read is said."""
    found = freeze.verdict([HANG, _said("DOC-3", "pass"), _said("DOC-1", "skip", "unreadable")])
    assert found is not None
    assert "not known" in found.cause
    assert found.confidence == pytest.approx(0.3)
    assert "not known: unreadable" in found.against


def test_signs_of_now_alone_make_it_no_more_than_likely() -> None:
    """Without a jetsam event what is wrong today is a hint about yesterday, and that speaks against it."""
    found = freeze.verdict([HANG, _said("DOC-3", "fail"), _said("DOC-1", "fail")])
    assert found is not None
    assert found.cause.startswith("memory ran out")
    assert found.confidence < 0.7
    assert "no jetsam event is on record near the reset" in found.against


def test_a_drivers_panic_is_the_drivers_whatever_else_is_wrong() -> None:
    """The container without a limit is true and beside the point."""
    panic = _said("DOC-9", "fail", "panic, class driver", **{"class": "driver"})
    found = freeze.verdict([panic, _said("DOC-3", "fail", "no limit")])
    assert found is not None
    assert found.cause == "a driver failed"
    assert found.because == ("panic, class driver",)
    assert "true, but no reason for this panic: no limit" in found.against


def test_without_a_freeze_there_is_no_verdict() -> None:
    """However much is wrong."""
    assert freeze.verdict([]) is None
    assert freeze.verdict([_said("DOC-9", "pass"), _said("DOC-3", "fail")]) is None
    assert freeze.verdict([_said("DOC-9", "skip")]) is None
