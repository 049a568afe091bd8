"""DOC-20: an unhealthy container is restarted by nobody."""

from __future__ import annotations

from tests.inspect.doctor.containers.seen import Box, run, seen

from midwatch.inspect.doctor.containers.unhealthy import CHECK


def test_unhealthy_warns_whatever_the_policy() -> None:
    """A restart policy acts on exits only."""
    told = seen(
        Box("web", 1, health="unhealthy", failing=7, restart="always"), Box("db", 1, health="healthy")
    )
    (one,) = run(CHECK, told)
    assert one.status == "warn"
    assert "docker does not restart for that" in one.message
    assert "7 health checks failed in a row, restart policy always" in one.offenders[0].detail
    assert one.fix == ("docker", "restart", "web")


def test_several_are_not_fixed_in_one_go() -> None:
    """One command for one container."""
    assert run(CHECK, seen(Box("a", 1, health="unhealthy"), Box("b", 1, health="unhealthy")))[0].fix is None


def test_a_check_beside_a_policy_is_noted() -> None:
    """Passes, and says that the two do not know each other."""
    (one,) = run(CHECK, seen(Box("db", 1, health="healthy", restart="always")))
    assert (one.status, "would not act" in one.message) == ("pass", True)
    assert "0 of 1" in run(CHECK, seen(Box("db", 1)))[0].message
