"""A memory line that moves while the run lives: the kernel's limit follows, nothing restarts."""

from __future__ import annotations

from tests.engine.conftest import Stagehand, a_spec

from midwatch.machine.ports import Containment

MIB = 1 << 20


def _limit(stage: Stagehand) -> object:
    run = stage.service().run
    assert run is not None
    assert run.containment.memory is not None
    return stage.machine.groups[run.containment.memory]


def test_the_kernels_limit_follows_a_reload(stage: Stagehand) -> None:
    """No new process: 512 MiB, 256 MiB, none."""
    stage.apply(a_spec(launch={"memory_hard": 512 * MIB}))
    pid = stage.pid()
    assert _limit(stage) == 512 * MIB
    done = stage.apply(a_spec(launch={"memory_hard": 256 * MIB}))
    assert (done.changed, done.restarted) == (["p/a"], [])
    assert (_limit(stage), stage.pid()) == (256 * MIB, pid)
    stage.apply(a_spec())
    assert (_limit(stage), stage.pid()) == (1 << 60, pid)
    assert stage.service().run.launch.memory_hard is None  # type: ignore[union-attr]
    assert stage.events("limit.warning") == []


def test_a_limit_that_cannot_be_moved_is_said(stage: Stagehand) -> None:
    """It stays what it was, and the guard polls the new one."""
    stage.apply(a_spec(launch={"memory_hard": 512 * MIB}))
    run = stage.service().run
    assert run is not None
    run.containment = Containment(run.containment.kill, "/gone", "its group is gone")
    stage.apply(a_spec(launch={"memory_hard": 256 * MIB}))
    assert run.launch.memory_hard == 512 * MIB
    assert [line["message"] for line in stage.events("limit.warning")] == ["its group is gone"]


def test_without_a_group_of_its_own_nothing_is_tried(stage: Stagehand) -> None:
    stage.apply(a_spec())
    stage.apply(a_spec(launch={"memory_hard": 256 * MIB}))
    run = stage.service().run
    assert run is not None
    assert run.launch.memory_hard is None
    assert stage.events("limit.warning") == []
