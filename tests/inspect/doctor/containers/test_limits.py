"""DOC-3: containers without a limit, by name; how bad it is."""

from __future__ import annotations

import pytest
from tests.inspect.doctor.containers.seen import GIB, MACHINE, Box, run, seen
from tests.inspect.doctor.machines import Machine

from midwatch.inspect.containers import NoEngine
from midwatch.inspect.doctor.check import Context, Missing
from midwatch.inspect.doctor.containers.limits import CHECK


def test_s47_one_without_a_limit_that_uses_a_third_fails() -> None:
    """Scenario 47: 6 GiB of 15.6 without a limit: fail with that name; the command that limits it fits its use."""
    told = seen(Box("db", 2 * GIB, 4 * GIB), Box("web", GIB, 2 * GIB), Box("chap", 6 * GIB))
    (one,) = run(CHECK, told)
    assert one.status == "fail"
    assert "chap" in one.message
    assert "38%" in one.message
    assert [who.name for who in one.offenders] == ["chap"]
    assert "limit shown is the machine's 15.6 GiB" in one.offenders[0].detail
    assert one.hint.startswith("docker update --memory 9280m ")


def test_s47_all_limited_at_half_pass() -> None:
    """Scenario 47: nothing to say."""
    (one,) = run(CHECK, seen(Box("db", 2 * GIB, 4 * GIB), Box("web", GIB, 2 * GIB)))
    assert one.status == "pass"


def test_a_small_one_warns() -> None:
    """A quarter of the machine exactly is no failure; a byte more is."""
    assert run(CHECK, seen(Box("x", MACHINE // 4)))[0].status == "warn"
    assert run(CHECK, seen(Box("x", MACHINE // 4 + 1)))[0].status == "fail"
    assert run(CHECK, seen(Box("x", None)))[0].status == "warn"


def test_computation_and_pressure_make_it_worse() -> None:
    """By name: a worker has no bound of its own. And any of them while memory is short."""
    assert "computes by its name (worker)" in run(CHECK, seen(Box("shop-worker-1", 5)))[0].message
    tight = Machine()
    tight.put(
        "/proc/pressure/memory",
        "some avg10=12.00 avg60=0 avg300=0 total=0\nfull avg10=0 avg60=0 avg300=0 total=0\n",
    )
    assert run(CHECK, seen(Box("x", 5)), tight)[0].status == "fail"


def test_what_could_not_be_told_is_said_beside() -> None:
    """A partial answer is no silent one."""
    found = run(CHECK, seen(Box("x", 5, GIB), missing=("1 of 2 containers could not be measured",)))
    assert [one.status for one in found] == ["skip", "pass"]


def test_s78_no_engine_is_a_skip_with_a_hint() -> None:
    """Scenario 78: absent: skipped, with what would make it run."""

    def none() -> None:
        raise NoEngine("no container engine was found", "start the engine")

    with pytest.raises(Missing) as told:
        list(CHECK.run(Context(Machine(), docker=none)))
    assert told.value.how == "start the engine"
