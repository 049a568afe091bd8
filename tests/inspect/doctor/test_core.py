"""The core of doctor: one result form, side by side, always in time, nothing ends it (GEN-1..7, scenario 79)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path

from tests.inspect.doctor.machines import Machine, ctx

from midwatch.inspect.doctor import registry
from midwatch.inspect.doctor.check import CATEGORIES, Check, Context, Missing, watching, worst_first
from midwatch.inspect.doctor.run import run
from midwatch.model.look import Checked


def _check(number: int, body: object, category: str = "limits", **changes: object) -> Check:
    facts: dict[str, object] = {
        "category": category,
        "title": f"check {number}",
        "about": "words",
        "run": body,
    }
    return Check(f"TST-{number}", **facts | changes)  # type: ignore[arg-type]


def _passing(number: int) -> Check:
    def body(context: Context) -> Iterable[Checked]:
        yield check.say("pass", "fine")

    check = _check(number, body)
    return check


def test_a_hanging_check_is_a_skip_and_the_end_comes_in_time(machine: Machine) -> None:
    """Scenario 79, scaled: one probe hangs for ever; the others answer, it is skip(timeout), the end comes in time."""
    gate = threading.Event()

    def hangs(context: Context) -> Iterable[Checked]:
        yield hanging.say("warn", "said before it hung")
        gate.wait(60)
        yield hanging.say("fail", "never heard")

    hanging = _check(1, hangs)
    began = time.monotonic()
    results = run(ctx(machine), [hanging, *map(_passing, range(2, 12))], cap=2, each=0.5, total=20.0)
    gate.set()
    assert time.monotonic() - began < 15
    mine = [one for one in results if one.id == "TST-1"]
    assert [(one.status, one.message) for one in mine] == [
        ("warn", "said before it hung"),
        ("skip", "timeout: the rest gave no answer within 0.5 s"),
    ]
    assert mine[1].hint == "midwatch doctor --category limits"
    assert sum(one.status == "pass" for one in results) == 10


def test_all_hanging_still_ends_within_the_total(machine: Machine) -> None:
    """GEN-3: when every check hangs, the total ends it and says of each that it was not begun or gave no answer."""
    gate = threading.Event()

    def hangs(context: Context) -> Iterable[Checked]:
        gate.wait(60)
        return ()

    results = run(ctx(machine), [_check(n, hangs) for n in range(8)], cap=2, each=0.4, total=0.7)
    gate.set()
    assert len(results) == 8
    assert all(one.status == "skip" and one.message.startswith("timeout: ") for one in results)
    assert sum("not begun" in one.message for one in results) >= 2


def test_a_longer_look_may_be_asked_for(machine: Machine) -> None:
    """--watch gives a check more time than the usual ten seconds, and not for ever."""
    from midwatch.policy import defaults_inspect as figures

    assert watching(130.0) == 130.0
    assert watching(1e9) == figures.WATCH_MOST
    assert watching(-1.0) == ctx(machine).window == figures.WATCH_USUAL

    def takes(context: Context) -> Iterable[Checked]:
        time.sleep(0.6)
        yield slow.say("pass", "done")

    slow = _check(1, takes)
    assert [one.status for one in run(ctx(machine), [slow], each=0.1, total=0.2)] == ["skip"]
    assert [one.status for one in run(ctx(machine), [slow], each=0.1, total=0.2, more=20.0)] == ["pass"]


def test_no_more_than_eight_run_at_once(machine: Machine) -> None:
    """GEN-3: the cap holds however many checks there are."""
    now, most, lock = [0], [0], threading.Lock()

    def counts(context: Context) -> Iterable[Checked]:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        return ()

    run(ctx(machine), [_check(n, counts) for n in range(30)])
    assert 1 <= most[0] <= 8


def test_an_exception_is_a_skip_that_says_so(machine: Machine) -> None:
    """One broken check is a skip with the error's words; the others are heard."""

    def breaks(context: Context) -> Iterable[Checked]:
        raise KeyError("x")

    def lacks(context: Context) -> Iterable[Checked]:
        raise Missing("docker is not here", "install docker")

    found = run(ctx(machine), [_check(1, breaks), _check(2, lacks), _passing(3)])
    assert [one.status for one in found] == ["skip", "skip", "pass"]
    assert found[0].message == "the check itself failed: KeyError: 'x'"
    assert (found[1].message, found[1].hint) == ("docker is not here", "install docker")


def test_results_of_a_recording_are_marked(machine: Machine) -> None:
    """GEN-1: `source` tells a file from the live machine."""
    machine.recorded = True
    assert [one.source for one in run(ctx(machine), [_passing(1)])] == ["file"]


def test_worst_first_inside_each_category() -> None:
    """By category in their fixed order, fail before warn before skip before pass."""
    rows = [("DOC-2", "memory", "pass"), ("DOC-19", "limits", "fail"), ("DOC-1", "memory", "fail")]
    made = [Checked(check, category, status, "") for check, category, status in rows]  # type: ignore[arg-type]
    assert [one.id for one in worst_first(made)] == ["DOC-1", "DOC-2", "DOC-19"]


def test_every_check_is_declared_well() -> None:
    """Found by listing the package; each has a category, a title, a description that says when it warns."""
    found = registry.checks()
    assert len({check.id for check in found}) == len(found)
    for check in found:
        assert check.category in CATEGORIES
        assert 0 < len(check.title) <= 40, check.id
        assert len(check.about) > 40, check.id


def test_every_check_is_in_the_reference() -> None:
    """docs/reference/checks.md has each check's id, title and words, and no other id."""
    text = (Path(__file__).parents[3] / "docs/reference/checks.md").read_text()
    for check in registry.checks():
        assert f"| {check.id} | {check.title}" in text
        assert check.about.replace("|", "\\|") in text
    assert text.count("| DOC-") == len(registry.checks())


def test_slow_checks_run_when_asked_for(machine: Machine) -> None:
    """GEN-3: default = all cheap ones; --all adds slow ones; a named category has all of its own."""
    cheap, slow = _check(1, None, "disk"), _check(2, None, "disk", slow=True)
    assert registry.chosen([cheap, slow]) == [cheap]
    assert registry.chosen([cheap, slow], everything=True) == [cheap, slow]
    assert registry.chosen([cheap, slow], ["disk"]) == [cheap, slow]
    assert registry.chosen([cheap, slow], ["limits"]) == []
