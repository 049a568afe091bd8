"""Real shortages: no descriptors, no processes, no threads, no memory. The others go on, the service recovers."""

from __future__ import annotations

import os
import resource
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.system.conftest import Instance, alive, kill, quiet, wait_for

SLEEP = '[service.{name}]\ncommand = ["sleep", "1000"]\n'
PATIENT = 'restart = { crash = 100000 }\nbackoff = { first = "100ms", most = "300ms" }\n'
PIDS = Path("/sys/fs/cgroup/pids")


def many(count: int) -> str:
    """Services without cgroup and gate: one process each."""
    return "".join(SLEEP.format(name=f"s{n}") + 'contain = "none"\n' + PATIENT for n in range(count))


def limited(instance: Instance, text: str, limit: Callable[[], None]) -> None:
    (instance.folder / "midwatch.toml").write_text(text)
    done = instance.cli("up", "-d", "--no-wait", preexec_fn=limit)
    assert done.returncode == 0, done.stderr


def some_wait(rows: dict[str, Any]) -> bool:
    """Every service is settled, and at least one could not be started."""
    return all(r["state"] in ("up", "backoff") for r in rows.values()) and any(
        r["last_cause"] == "spawn-failed" for r in rows.values()
    )


def check_shortage(instance: Instance, errno_name: str, relieve: Callable[[dict[str, Any]], int]) -> None:
    """Some run, some wait with the reason; those that run are left alone; `relieve` makes room and says how many
    have to be up then."""
    rows = instance.until(some_wait, "some run and some wait")
    up = {name: row["pid"] for name, row in rows.items() if row["state"] == "up"}
    assert up, "nobody could be started at all"
    failed = instance.journal("run.spawn_failed")
    assert {line["errno"] for line in failed} == {errno_name}
    assert {line["lasting"] for line in failed} == {False}
    time.sleep(1.0)  # several tries
    again = instance.ps()
    assert {name: again[name]["pid"] for name in up} == up
    wanted = relieve(again)
    instance.until(lambda r: sum(row["state"] == "up" for row in r.values()) >= wanted, f"{wanted} are up")
    quiet(instance)


def test_emfile_at_spawn_is_told_and_recovers(instance: Instance) -> None:
    """EMFILE in the keeper: others go on, who was refused backs off and starts as soon as there is room."""
    limited(instance, many(40), lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)))

    def stop_four(rows: dict[str, Any]) -> int:
        names = [name for name, row in rows.items() if row["state"] == "up"]
        instance.ok("stop", *names[:4])
        return len(names)  # as many as before: four of those that waited have taken the places

    check_shortage(instance, "EMFILE", stop_four)


@pytest.mark.root("to make a pids cgroup")
def test_eagain_at_fork_by_a_pids_cgroup_is_told_and_recovers(instance: Instance) -> None:
    """EAGAIN at fork, also for the engine's own threads: nobody who runs is harmed, all start when there is room."""
    if not (PIDS / "cgroup.procs").exists():
        pytest.skip("needs the v1 pids controller at /sys/fs/cgroup/pids")
    group = PIDS / f"midwatch-test-{secrets.token_hex(4)}"
    group.mkdir()
    try:
        (group / "pids.max").write_text("16")
        limited(instance, many(20), lambda: (group / "cgroup.procs").write_text("0"))  # type: ignore[arg-type]

        def lift(_: dict[str, Any]) -> int:
            (group / "pids.max").write_text("max")
            return 20

        check_shortage(instance, "EAGAIN", lift)
    finally:
        (group / "pids.max").write_text("max")
        instance.down()
        wait_for(lambda: not (group / "cgroup.procs").read_text(), "everybody has left the group")
        group.rmdir()


@pytest.mark.root("to make a pids cgroup")
def test_a_stop_is_true_also_when_no_thread_can_be_started(instance: Instance) -> None:
    """EAGAIN for the engine's worker threads: kill and verify do not depend on a new thread."""
    if not (PIDS / "cgroup.procs").exists():
        pytest.skip("needs the v1 pids controller at /sys/fs/cgroup/pids")
    group = PIDS / f"midwatch-test-{secrets.token_hex(4)}"
    group.mkdir()
    stubborn = 'trap "" TERM; while :; do sleep 0.2; done'
    try:
        limited(
            instance,
            f"[service.a]\ncommand = [\"sh\", \"-c\", '{stubborn}']\n"
            'contain = "none"\nstop = { grace = "0.2s" }\n',
            lambda: (group / "cgroup.procs").write_text("0"),  # type: ignore[arg-type]
        )
        instance.until(lambda r: r["a"]["state"] == "up", "it is up")
        pid = instance.ps()["a"]["pid"]
        (group / "pids.max").write_text("1")
        instance.ok("stop", "a", timeout=30)
        assert not alive(pid)
        (group / "pids.max").write_text("max")
        instance.ok("start", "a")
        instance.down()
    finally:
        (group / "pids.max").write_text("max")
        instance.down()
        wait_for(lambda: not (group / "cgroup.procs").read_text(), "everybody has left the group")
        group.rmdir()


@pytest.mark.unprivileged("RLIMIT_NPROC does not bind root")
def test_eagain_at_fork_by_rlimit_nproc_is_told_and_recovers(instance: Instance) -> None:
    """The same for a user without cgroups."""
    mine = sum(p.num_threads() for p in psutil.process_iter() if p.uids().real == os.getuid())
    limited(
        instance, many(20), lambda: resource.setrlimit(resource.RLIMIT_NPROC, (mine + 16, mine + 16))
    )

    def stop_most(rows: dict[str, Any]) -> int:
        # The engine's worker threads count too, and stops need them: up to 6 on 2 cores.
        names = [name for name, row in rows.items() if row["state"] == "up"]
        instance.ok("stop", *names[:9])
        return len(names) - 9 + min(2, len(rows) - len(names))

    check_shortage(instance, "EAGAIN", stop_most)


def test_enomem_in_the_engine_harms_no_service(instance: Instance) -> None:
    """RLIMIT_AS on the living engine: a request that needs more memory than there is fails or ends the engine, which
    comes back; the service and its daemon stay."""
    instance.up(SLEEP.format(name="a"))
    before, daemon = instance.ps()["a"]["pid"], instance.daemon()
    engine = psutil.Process(daemon["pid"])
    limit = engine.memory_info().vms + (1 << 20)
    engine.rlimit(psutil.RLIMIT_AS, (limit, limit))  # type: ignore[attr-defined,unused-ignore]
    env = "\n".join(f'V{n} = "{"x" * 2000}"' for n in range(1000))
    text = SLEEP.format(name="a") + SLEEP.format(name="b") + f"[service.b.env]\n{env}\n"
    (instance.folder / "midwatch.toml").write_text(text)
    instance.cli("up", "-d")
    after = instance.daemon()
    assert after["keeper_pid"] == daemon["keeper_pid"]
    assert instance.ps()["a"]["pid"] == before
    kill(before)
    instance.until(lambda r: r["a"]["pid"] not in (None, before), "it is restarted")
