"""Connections: at most three, closed before a fork, opened again on both sides."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from midwatch import sessions


def _child(work: object) -> int:
    """Run it in a forked child; its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert callable(work)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_goes_on(path: Path) -> None:
    """B11: parent and child write one after another; both see all; neither's close hurts the other."""
    with sessions.open(path) as store:
        talk = store.create(id="talk")
        talk.append("user", "parent")
        for number in range(5):

            def work(number: int = number) -> None:
                talk.append("user", f"child {number}")
                store.close()

            assert _child(work) == 0
            talk.append("user", f"parent {number}")
        assert [item.text for item in talk.items()][-2:] == ["child 4", "parent 4"]
        assert talk.info().items == 11
    with sessions.open(path) as store:
        assert store.session("talk").info().items == 11


def test_nothing_is_open_while_forking(path: Path) -> None:
    """The child's first look shows no descriptor of the store."""

    def look() -> None:
        names = [
            os.readlink(f"/proc/self/fd/{one}")
            for one in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{one}")
        ]
        assert not [name for name in names if "agent.db" in name]

    with sessions.open(path, upkeep=False) as store:
        store.create().append("user", "x")
        store.list()
        assert _child(look) == 0


def test_a_child_forked_in_the_middle_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that does not let go before a fork: the child may not touch what it inherited, the parent goes on."""
    monkeypatch.setattr("midwatch.bounded.sessions.connect.d.BUSY_S", 0.2)
    inside, leave = threading.Event(), threading.Event()
    with sessions.open(path, upkeep=False) as store:
        talk = store.create()

        def hold() -> None:
            with store.connections.transaction("hold"):
                inside.set()
                leave.wait(20)

        def refused() -> None:
            with pytest.raises(sessions.Closed):
                talk.items()

        thread = threading.Thread(target=hold)
        thread.start()
        inside.wait(10)
        assert _child(refused) == 0
        leave.set()
        thread.join(10)
        assert talk.append("user", "x").pos == 1


def test_opening_it_twice_in_a_process_keeps_the_locks(path: Path) -> None:
    """A second open reads no bytes of the file by a descriptor of its own: closing that would drop SQLite's locks."""
    with sessions.open(path, upkeep=False) as one:
        one.create(id="a")
        with sessions.open(path, upkeep=False) as two:
            two.create(id="b")
        inode = path.stat().st_ino
        locks = [
            line
            for line in Path("/proc/locks").read_text().splitlines()
            if f":{inode} " in line and f" {os.getpid()} " in line
        ]
        one.session("a").append("user", "x")
        assert one.stats().sessions == 2
        assert locks
