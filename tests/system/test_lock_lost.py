"""E12 with real daemons: somebody deletes the lock file while its daemon runs. No service may be doubled or ended."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.conftest import Instance, alive, blind_up, kill, wait_for

ONE = "[service.a]\ncommand = ['sleep', '1000']\n"


@pytest.fixture
def first(instance: Instance) -> Iterator[subprocess.Popen[str]]:
    """A daemon whose end this test can see."""
    (instance.folder / "midwatch.toml").write_text(ONE)
    daemon = subprocess.Popen(
        [sys.executable, "-m", "midwatch", "up"], cwd=instance.folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        instance.until(lambda rows: "a" in rows and rows["a"]["state"] == "up", "it is up")
        yield daemon
    finally:
        instance.down()
        daemon.communicate(timeout=30)


def copies(instance: Instance) -> list[int]:
    """Living processes of the service, whoever they belong to."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words, cwd = (entry / "cmdline").read_bytes(), (entry / "cwd").readlink()
        except OSError:
            continue
        serves = words.endswith(b"sleep\x001000\x00") and words[:7] != b"/bin/sh"  # a gate that waits is no copy
        if serves and cwd == instance.folder and alive(int(entry.name)):
            found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_a_deleted_lock_is_made_again_and_keeps_others_out(
    instance: Instance, first: subprocess.Popen[str]
) -> None:
    """A cleaner of old files took it: said once, a second start is refused with 4 again, the service never noticed."""
    pid = instance.ps()["a"]["pid"]
    lock = instance.home / "lock"
    lock.unlink()
    wait_for(lock.exists, "the lock is made again")
    wait_for(lambda: instance.journal("state.damaged"), "it is said")
    second = instance.blind_up()
    assert second.returncode == 4
    assert f"pid {first.pid}" in second.stderr
    assert instance.ps()["a"]["pid"] == pid
    assert len([line for line in instance.journal("state.damaged") if "lock" in line["problem"]]) == 1


@contextlib.contextmanager
def second_daemon(instance: Instance) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The lock is deleted and another start gets in: the service's pid before that, and the second daemon."""
    pid = instance.ps()["a"]["pid"]
    (instance.home / "lock").unlink()
    second = subprocess.Popen(
        blind_up(), cwd=instance.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        yield pid, second
    finally:
        instance.down()
        second.communicate(timeout=30)


@pytest.mark.slow
def test_a_second_daemon_that_got_in_takes_the_services_and_the_first_leaves(
    instance: Instance, first: subprocess.Popen[str]
) -> None:
    """Lock lost: 75, without touching what is the other one's by now; one copy of the service, with its pid."""
    with second_daemon(instance) as (pid, second):
        _, err = first.communicate(timeout=30)
        assert first.returncode == 75
        assert "another daemon holds" in err
        instance.until(lambda rows: rows["a"]["state"] == "up", "the second one serves")
        assert instance.daemon()["keeper_pid"] == second.pid
        assert copies(instance) == [instance.ps()["a"]["pid"]] == [pid]
        instance.ok("stop", "a")
        assert copies(instance) == []


@pytest.mark.slow
def test_what_dies_while_two_daemons_are_there_comes_back_once(
    instance: Instance, first: subprocess.Popen[str]
) -> None:
    """E12: the loser looks before it starts anything: it must not bring back what the other one brings back."""
    with second_daemon(instance) as (pid, second):
        wait_for(lambda: instance.journal("run.adopted"), "the second one has adopted it")
        kill(pid)
        first.communicate(timeout=30)
        assert first.returncode == 75
        rows = instance.until(lambda rows: rows["a"]["state"] == "up" and rows["a"]["pid"] != pid, "it is back")
        assert instance.daemon()["keeper_pid"] == second.pid
        assert copies(instance) == [rows["a"]["pid"]]
    assert copies(instance) == []
