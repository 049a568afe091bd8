"""DOC-4: near the limit, and killed for memory: who is believed about it, and what stays open."""

from __future__ import annotations

import pytest
from tests.inspect.doctor.containers.seen import GIB, Box, run, seen
from tests.inspect.doctor.machines import NOW, Machine

from midwatch.inspect.containers.values import Engine, Seen
from midwatch.inspect.doctor.containers.ceiling import CHECK

PODMAN = Engine("podman", "unix:///p", memory=16 * GIB, here=True)
DOCKER = Engine("docker", "unix:///d", memory=16 * GIB, here=True)
ID = "abcdef01" * 8


def _dead(**facts: object) -> Box:
    told = {
        "id": ID,
        "status": "exited",
        "exit_code": 137,
        "oom_killed": False,
        "finished": NOW - 60,
        **facts,
    }
    return Box("x", None, GIB, **told)


def _log(text: str = "", since: float = 0.0) -> Machine:
    machine = Machine()
    machine.put("/proc/uptime", "100000.0 1.0\n")
    machine.says("dmesg", f"[{since:12.6f}] boot\n{text}")
    return machine


POD = f"/libpod_parent/libpod-{ID}"
KILL = (
    f"[99900.000000] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,oom_memcg={POD},"
    f"task_memcg={POD},task=tail,pid=77,uid=0\n"
)


def test_s47_near_its_limit_fails() -> None:
    """Scenario 47: 4.8 of 5 GiB is 96 %: fail. 80 % warns, less passes."""
    (one,) = run(CHECK, seen(Box("x", int(4.8 * GIB), 5 * GIB)))
    assert one.status == "fail"
    assert "4.8 GiB of 5 GiB (96%)" in one.message
    assert run(CHECK, seen(Box("x", 80, 100)))[0].status == "warn"
    assert run(CHECK, seen(Box("x", 95, 100)))[0].status == "fail"
    assert run(CHECK, seen(Box("x", 79, 100)))[0].status == "pass"
    assert run(CHECK, seen(Box("x", 100)))[0].status == "pass"


def test_s48_droppable_pages_do_not_count() -> None:
    """Scenario 48: the reader took them off, so 39 % passes; an engine that cannot say how much warns at most."""
    assert run(CHECK, seen(Box("x", 400, 1024)))[0].status == "pass"
    (one,) = run(CHECK, seen(Box("x", 1000, 1024, exact=False), engine=PODMAN))
    assert one.status == "warn"
    assert "at most" in one.message


def test_a_killed_child_is_found_though_nothing_exited() -> None:
    """The main process lives on, OOMKilled is false: the cgroup has counted it."""
    (one,) = run(CHECK, seen(Box("x", 5, 100, ooms=2, oom_killed=False)))
    assert one.status == "fail"
    assert "2 kills out of memory" in one.message


def test_podmans_false_oomkilled_is_overruled_by_the_kernels_log() -> None:
    """Podman says false after a real kill: the kernel's log, with the container's id, proves it."""
    (one,) = run(CHECK, seen(_dead(), engine=PODMAN), _log(KILL))
    assert one.status == "fail"
    assert "lost tail (77) to the kernel, at its limit" in one.message
    assert "podman says OOMKilled false" in one.message


@pytest.mark.parametrize("engine", [PODMAN, DOCKER], ids=["podman", "docker"])
def test_137_alone_is_no_proof(engine: Engine) -> None:
    """With a log that reaches back and is silent it was a stop; without a log it stays open, and that is said."""
    assert run(CHECK, seen(_dead(), engine=engine), _log())[0].status == "pass"
    for machine in (Machine(), _log(since=99_000.0)):
        (one,) = run(CHECK, seen(_dead(), engine=engine), machine)
        assert one.status == "warn"
        assert "for memory or by a stop that it ignored" in one.message
        assert one.hint == "sudo dmesg | grep oom-kill"


def test_dockers_word_is_taken_podmans_yes_only_unless_disproved() -> None:
    """OOMKilled true: docker's is right; podman's against a silent log is only a warning."""
    told = _dead(oom_killed=True)
    assert run(CHECK, seen(told, engine=DOCKER), _log())[0].status == "fail"
    assert run(CHECK, seen(told, engine=PODMAN), _log())[0].status == "warn"
    assert run(CHECK, seen(told, engine=PODMAN), Machine())[0].status == "fail"


def test_an_old_end_is_history() -> None:
    """A week later nobody has to do anything about it."""
    old = _dead(oom_killed=True, finished=NOW - 8 * 86400, started=NOW - 9 * 86400)
    assert run(CHECK, seen(old, engine=DOCKER))[0].status == "pass"


def test_the_worst_is_named_first_and_all_are_listed() -> None:
    """Fail before warn."""
    told: Seen = seen(Box("warm", 85, 100), Box("hot", 99, 100))
    (one,) = run(CHECK, told)
    assert one.message.startswith("hot ")
    assert [who.name for who in one.offenders] == ["hot", "warm"]
