"""DOC-6 and DOC-7: the container VM's cap, and the memory that it keeps."""

from __future__ import annotations

from typing import Any

import pytest
from tests.inspect.doctor.containers.seen import GIB, Box, run, seen
from tests.inspect.doctor.machines import Machine, proc

from midwatch.inspect.containers import NoEngine, vm
from midwatch.inspect.containers.values import Engine
from midwatch.inspect.doctor.check import Context, Missing
from midwatch.inspect.doctor.containers import vmcap, vmhigh

GB = 10**9


def _mac(ram: int = 64 * GIB, **held: int) -> Machine:
    mac = Machine("darwin")
    mac.sysctls["hw.memsize"] = str(ram)
    for number, (name, size) in enumerate(held.items()):
        mac.add(proc(50 + number, f"/Applications/Docker.app/{name.replace('_', '.')}", rss=size))
    return mac


@pytest.mark.parametrize(
    ("cap", "ram", "heavy", "status"),
    [(8, 64, 0, "pass"), (16, 64, 0, "warn"), (20, 32, 0, "fail"), (8, 16, 0, "pass"), (9, 16, 0, "fail"),
     (12, 64, 12, "pass"), (16, 64, 12, "warn"), (20, 32, 20, "pass")],
)  # fmt: skip
def test_doc6_caps(cap: int, ram: int, heavy: int, status: str) -> None:
    """Over 8 GB on 32 and more warns, over half fails; what a heavy job needs raises both lines."""
    engine = Engine("docker", "unix:///d", memory=cap * GIB, system="Docker Desktop")
    (one,) = run(vmcap.CHECK, seen(engine=engine), _mac(ram * GIB), expect_heavy=heavy * GIB)
    assert one.status == status, one.message


def test_doc6_without_a_vm() -> None:
    """On Linux containers run on the machine itself."""
    engine = Engine("docker", "unix:///d", memory=64 * GIB, system="Debian GNU/Linux 12", here=True)
    assert run(vmcap.CHECK, seen(engine=engine), _mac())[0].status == "pass"


@pytest.mark.parametrize(
    ("held", "used", "running", "status"),
    [(21, 0, 0, "fail"), (5, 4, 2, "pass"), (5, 0, 0, "fail"), (3, 0, 0, "pass"), (14, 4, 2, "warn"),
     (11, 4, 2, "pass"), (21, 18, 3, "pass"), (21, None, 0, "fail"), (12, None, 0, "skip")],
)  # fmt: skip
def test_s50_a_vm_that_keeps_memory(held: int, used: int | None, running: int, status: str) -> None:
    """Scenario 50: 21 GB and no containers fail, 5 GB with containers that use 4 pass; a VM that is full of work is not
    blamed, and one whose containers are unknown is judged by 20 GB alone."""
    assert vmhigh.grade(held * GB, None if used is None else used * GB, running)[0] == status


def test_s50_the_hint_restarts_the_app_never_the_host() -> None:
    """With pid, start and a confidence that says how it was measured."""
    (one,) = run(vmhigh.CHECK, seen(), _mac(com_docker_virtualization=21 * GB))
    assert one.status == "fail"
    assert one.hint.startswith("quit Docker Desktop, wait")
    assert "need not be restarted" in one.hint
    assert one.offenders[0].pid == 50
    assert one.evidence["confidence"] == 0.72
    assert (
        run(vmhigh.CHECK, seen(Box("x", 4 * GB)), _mac(com_docker_virtualization=5 * GB))[0].status == "pass"
    )


def test_a_vm_whose_engine_hangs_is_still_seen() -> None:
    """No engine: 21 GB fail all the same, 12 GB are a skip that says what is missing."""

    def none() -> Any:
        raise NoEngine("no answer in time", "docker ps")

    def check(held: int) -> Any:
        return list(vmhigh.CHECK.run(Context(_mac(com_docker_virtualization=held), docker=none)))

    assert check(21 * GB)[0].status == "fail"
    with pytest.raises(Missing, match="no answer in time"):
        check(12 * GB)


def test_whose_vm_it_is() -> None:
    """By the app's own process names; Apple's shared name by who else runs, and then not for sure."""
    mac = _mac()
    mac.add(
        proc(7, "/x/com.apple.Virtualization.VirtualMachine", rss=9 * GB),
        proc(8, "/opt/OrbStack.app/OrbStack", rss=1),
    )
    (one,) = vm.find(mac)
    assert (one.app, one.sure, vm.vm_app(mac)) == ("OrbStack", True, "OrbStack")
    mac.add(proc(9, "com.docker.backend run", rss=1))
    assert not vm.find(mac)[0].sure
    linux = Machine()
    linux.add(
        proc(5, "/usr/bin/qemu-system-x86_64 -name colima", held=5),
        proc(6, "/usr/bin/qemu-system-x86_64 -name win", held=9),
    )
    assert [found.app for found in vm.find(linux)] == ["Colima"]
    assert vm.find(linux)[0].restart == ("colima", "restart")
