"""Somebody deletes the lock file of a living daemon, or another daemon has taken it (E12)."""

from __future__ import annotations

import fcntl
import os

from tests.system.conftest import Instance, alive, wait_for

CONFIG = '[service.a]\ncommand = ["sleep", "1000"]\n'


def test_a_deleted_lock_is_made_again_before_a_second_daemon_can_start(instance: Instance) -> None:
    """A cleaner of old files: within a beat the home is locked again, and that was said once."""
    instance.up(CONFIG)
    (instance.home / "lock").unlink()
    wait_for((instance.home / "lock").exists, "the lock is there again")
    [line] = wait_for(lambda: instance.journal("state.damaged"), "it is said")
    assert "locked again" in line["problem"]
    with (instance.home / "lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass
        else:
            raise AssertionError("nobody holds it")


def test_a_daemon_that_lost_its_home_leaves_and_touches_nothing(instance: Instance) -> None:
    """Somebody else holds the lock that is there now: keeper and engine go with 75, the service lives on."""
    instance.up(CONFIG)
    pid = instance.ps()["a"]["pid"]
    daemon = instance.daemon()
    other = instance.home / "lock.new"
    fd = os.open(other, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        other.rename(instance.home / "lock")
        wait_for(lambda: not alive(daemon["pid"]) and not alive(daemon["keeper_pid"]), "the daemon has left")
        assert alive(pid)
    finally:
        os.close(fd)
    assert "leaves, the services stay" in (instance.home / "daemon.log").read_text()
    instance.ok("up", "-d")
    assert instance.ps()["a"]["pid"] == pid
