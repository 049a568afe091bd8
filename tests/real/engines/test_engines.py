"""A real dockerd and a real podman: limits, use, kills, stops and hangs as we tell them, against what really happened.

DOC-3, DOC-4, DOC-8, DOC-20, REC-2, scenarios 47, 48, 56, 76, 79. Podman's OOMKilled stays false after a real kill; the
test that needs it says so if a newer podman should have learned it.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.real.engines.conftest import PATIENCE, Real

from midwatch.inspect import containers
from midwatch.inspect.containers import NoEngine, Picture, Target, kernellog, stop
from midwatch.inspect.doctor.check import Check, Context
from midwatch.inspect.doctor.containers import ceiling, limits, stacks, unhealthy
from midwatch.inspect.sources.live import Live
from midwatch.model.look import Checked
from midwatch.policy import defaults_inspect as figures

MIB = 1 << 20
EATER = ("sh", "-c", "tail /dev/zero")


def _picture() -> Picture:
    return containers.see(Live()).pictures[0]


def _check(check: Check) -> list[Checked]:
    return list(check.run(Context(Live())))


def _named(picture: Picture, name: str) -> Any:
    return next(one for one in picture.containers if one.name == name)


def _until(met: Any, what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := met()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
    return found


def test_who_it_is_and_what_is_limited(real: Real) -> None:
    """DOC-3 by a real engine: kind, memory, limits; what they hold is read from the cgroups themselves."""
    real.run("tame", "sleep", "600", mem_limit=64 * MIB)
    real.run("free", "sleep", "600")
    picture = _picture()
    assert (picture.engine.kind, picture.engine.here, picture.missing) == (real.kind, True, ())
    assert picture.limit(_named(picture, "tame")) == 64 * MIB
    assert picture.limit(_named(picture, "free")) is None
    for one in picture.containers:
        usage = picture.usage[one.id]
        assert (usage.place, usage.exact) == ("cgroup", True)
        assert 0 < usage.used < 32 * MIB
    (found,) = _check(limits.CHECK)
    assert found.status in ("warn", "fail")  # fail when this machine is short of memory right now
    assert [who.name for who in found.offenders] == ["free"]
    quick = containers.quick(Live(), PATIENCE)
    assert (quick.containers, [one.name for one in quick.unlimited], quick.words) == (2, ["free"], "")


def test_s48_file_pages_are_taken_off(real: Real) -> None:
    """Scenario 48 for real: 40 MiB written to a file by a container are in its cgroup's use and not in what we say."""
    real.run(
        "writer", "sh", "-c", "dd if=/dev/zero of=/tmp1 bs=1048576 count=40; sleep 600", mem_limit=96 * MIB
    )

    def written() -> Any:
        picture = _picture()
        usage = picture.usage.get(_named(picture, "writer").id)
        return usage if usage is not None and usage.raw is not None and usage.raw > 40 * MIB else None

    usage = _until(written, "40 MiB of file pages")
    assert usage.used < 20 * MIB


def test_a_limit_set_later_is_the_cgroups(real: Real) -> None:
    """`update` while it runs: docker's inspect follows, podman's keeps the old figure; we say what is in force."""
    real.run("grown", "sleep", "600", mem_limit=64 * MIB)
    if real.kind == "podman":
        identity = real.sdk.containers.get("grown").id
        path = f"/sys/fs/cgroup/memory/libpod_parent/libpod-{identity}/memory.limit_in_bytes"
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write(str(96 * MIB))  # what `podman update` does
        except FileNotFoundError:
            pytest.skip("not cgroup v1")
        assert real.sdk.api.inspect_container("grown")["HostConfig"]["Memory"] == 64 * MIB
    else:
        real.sdk.containers.get("grown").update(mem_limit=96 * MIB, memswap_limit=192 * MIB)
    picture = _picture()
    assert picture.limit(_named(picture, "grown")) == 96 * MIB


def test_a_real_oom_kill_is_told_whatever_the_engine_says(real: Real) -> None:
    """DOC-4: docker says OOMKilled; podman says false after the same kill, and the kernel's log proves it."""
    real.run("eater", *EATER, mem_limit=24 * MIB, memswap_limit=24 * MIB)
    state = real.ended("eater")["State"]
    assert state["ExitCode"] == 137
    identity = real.sdk.containers.get("eater").id
    assert _until(lambda: kernellog.read(Live()).of(identity, None), "the kernel's line")
    (found,) = _check(ceiling.CHECK)
    assert found.status == "fail"
    assert found.message.startswith("eater lost tail (")
    if real.kind == "podman":
        assert state["OOMKilled"] is False, "podman has learned to tell: the check may believe it"
        assert "podman says OOMKilled false" in found.message


def test_a_killed_child_is_counted_by_the_cgroup(real: Real) -> None:
    """The main process lives on and the engine has seen nothing: OOMKilled alone misses it."""
    script = "sh -c 'tail /dev/zero'; sleep 600"
    real.run("parent", "sh", "-c", script, mem_limit=24 * MIB, memswap_limit=24 * MIB)

    def counted() -> Any:
        picture = _picture()
        usage = picture.usage.get(_named(picture, "parent").id)
        return usage is not None and usage.ooms

    assert _until(counted, "the cgroup's count") == 1
    assert real.sdk.api.inspect_container("parent")["State"]["OOMKilled"] is False
    assert "1 kills out of memory since it began" in _check(ceiling.CHECK)[0].message


def test_137_after_a_stop_is_no_oom(real: Real) -> None:
    """A program that ignores TERM ends with 137 at every stop: the kernel's silent log clears it."""
    one = real.run("deaf", "sleep", "600", mem_limit=64 * MIB)
    one.stop(timeout=1)
    assert real.ended("deaf")["State"]["ExitCode"] == 137
    if not kernellog.read(Live()).covers(time.time()):
        pytest.skip("the kernel's log may not be read")
    (found,) = _check(ceiling.CHECK)
    assert found.status == "pass", found.message


def test_stop_touches_only_what_was_planned(real: Real) -> None:
    """S76 for containers: started anew since the plan is refused; the planned life is ended."""
    one = real.run("one", "sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.1; done")
    picture = _picture()
    named = _named(picture, "one")
    target = Target(named.id, named.name, named.started, picture.engine.endpoint)
    one.restart(timeout=1)
    assert "started anew" in stop(target, 10.0)
    assert real.sdk.api.inspect_container("one")["State"]["Running"]
    again = Target(named.id, named.name, _named(_picture(), "one").started, picture.engine.endpoint)
    assert stop(again, 10.0) == ""
    assert not real.sdk.api.inspect_container("one")["State"]["Running"]
    one.remove(force=True)
    assert stop(again, 10.0) == "it is gone since the plan"


def test_idle_stacks_by_what_they_really_use(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    """REC-2.3: a stack that sleeps is offered, one that computes is not; DOC-8 names both."""
    monkeypatch.setattr(figures, "STACK_IDLE_AGE", 0.0)

    def labels(project: str) -> dict[str, str]:
        return {"com.docker.compose.project": project, "com.docker.compose.service": "app"}

    real.run("calm-1", "sleep", "600", labels=labels("calm"))
    real.run("busy-1", "sh", "-c", "while true; do true; done", labels=labels("busy"))
    time.sleep(5.0)  # what its start has used is spread over its life
    found = containers.idle_stacks(Live(), 1.0)
    assert [one.project for one in found] == ["calm"]
    assert found[0].targets[0].name == "calm-1"
    (told,) = [one for one in _check(stacks.CHECK) if one.status == "warn"]
    assert "busy, calm" in told.message


def test_s79_a_frozen_engine_costs_its_deadline(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario 79's kin: the engine's process stands still; every question comes back in its time and says so."""
    monkeypatch.setattr(figures, "CONTAINERS_SECONDS", 1.0)
    real.run("one", "sleep", "600")
    real.freeze(True)
    try:
        begin = time.monotonic()
        with pytest.raises(NoEngine, match="no answer in time"):
            containers.see(Live())
        assert "no answer in time" in containers.quick(Live(), 0.5).words
        assert time.monotonic() - begin < 10
    finally:
        real.freeze(False)
    monkeypatch.undo()
    monkeypatch.setenv("DOCKER_HOST", real.address)
    assert containers.quick(Live(), PATIENCE).containers == 1


def test_ten_containers_fit_the_first_screen(real: Real) -> None:
    """`look` gives it 0.7 s: each is inspected and its cgroup read, nothing is asked that takes the engine a second."""
    for number in range(10):
        real.run(f"c{number}", "sleep", "600", mem_limit=(number % 2) * 32 * MIB or None)
    quick = containers.quick(Live(), PATIENCE)
    assert (quick.containers, len(quick.unlimited)) == (10, 5)
    assert all(one.used for one in quick.unlimited)


def test_an_unhealthy_container_is_told(docker: Real) -> None:
    """DOC-20: a failing health check beside restart=always: docker shows it and does nothing."""
    second = 1_000_000_000
    health = {"test": ["CMD", "false"], "interval": second // 4, "timeout": second, "retries": 1}
    docker.run("ill", "sleep", "600", healthcheck=health, restart_policy={"Name": "always"})
    docker.until("ill", lambda one: one["State"]["Health"]["Status"] == "unhealthy", "is unhealthy")
    (found,) = _check(unhealthy.CHECK)
    assert found.status == "warn"
    assert found.fix == ("docker", "restart", "ill")


def test_volumes_that_nobody_uses(docker: Real) -> None:
    """DOC-8: counted with their bytes, by name."""
    docker.sdk.volumes.create("left-over")
    docker.run("user", "sleep", "600", volumes=["used:/data"])
    found = [one for one in _check(stacks.CHECK) if one.evidence.get("count")]
    assert [who.name for who in found[0].offenders] == ["left-over"]
    assert found[0].evidence["held_bytes"] == 0
