"""DOC-5: what if all took what they may take."""

from __future__ import annotations

from tests.inspect.doctor.containers.seen import GIB, MACHINE, Box, run, seen
from tests.inspect.doctor.machines import Machine, proc

from midwatch.inspect.containers.values import Engine
from midwatch.inspect.doctor.containers.overcommit import CHECK, grade

LINUX = Engine("docker", "unix:///d", memory=MACHINE, system="Debian", here=True)


def test_s49_the_figures_of_the_source() -> None:
    """Scenario 49: 3+4+8 of 15.6 GiB is 96 % and fails; idle, 3+4+1.5, is 54 % and passes."""
    assert grade([3 * GIB, 4 * GIB, 8 * GIB], MACHINE)[0] == "fail"
    assert grade([3 * GIB, 4 * GIB, int(1.5 * GIB)], MACHINE)[0] == "pass"
    limited = [Box("db", GIB, 3 * GIB), Box("web", GIB, 4 * GIB)]
    (one,) = run(CHECK, seen(*limited, Box("chap", int(1.5 * GIB), spike=8 * GIB), engine=LINUX))
    assert one.status == "fail"
    assert "(96%)" in one.message
    (two,) = run(CHECK, seen(*limited, Box("chap", int(1.5 * GIB)), engine=LINUX))
    assert two.status == "pass"
    assert "(54%), and without bound chap" in two.message


def test_the_peak_of_an_unlimited_one_counts() -> None:
    """What it has been seen to take it may take again."""
    (one,) = run(CHECK, seen(Box("x", GIB, peak=15 * GIB), engine=LINUX))
    assert one.status == "fail"
    assert "most seen, unlimited" in one.offenders[0].detail


def test_the_vm_at_its_cap_and_everybody_else() -> None:
    """On a desktop: 15.6 GiB of VM and 18 GB of sessions on 32 GB."""
    mac = Machine("darwin")
    mac.sysctls["hw.memsize"] = str(32 * GIB)
    mac.add(proc(5, "claude", held=15 * GIB), proc(6, "com.docker.virtualization", held=9 * GIB))
    found = run(CHECK, seen(Box("x", GIB, GIB)), mac)
    assert found[1].status == "fail"
    assert "other processes hold 15 GiB" in found[1].message
