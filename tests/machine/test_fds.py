"""Descriptors by kind (FDW-1, FDW-3): one real process that holds one of each, and names that lie."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.machine.linux import fds


def far() -> float:
    return time.monotonic() + 60


@pytest.fixture
def zoo(tmp_path: Path) -> Iterator[dict[int, str]]:
    """fd -> kind."""
    libc = ctypes.CDLL(None)
    data = sqlite3.connect(tmp_path / "state.db")
    data.execute("PRAGMA journal_mode=WAL")
    data.execute("CREATE TABLE t (x)")
    data.commit()
    gone = os.open(tmp_path / "gone", os.O_CREAT | os.O_RDWR)
    os.unlink(tmp_path / "gone")
    os.mkfifo(tmp_path / "fifo")
    listening = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listening.getsockname())
    accepted, _ = listening.accept()
    half = socket.create_connection(listening.getsockname())
    listening.accept()[0].close()
    deadline = time.monotonic() + 30
    while half.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) if readable(half) else time.monotonic() < deadline:
        pass
    udp = socket.socket(type=socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    near, away = socket.socketpair()
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    read, write = os.pipe()
    leader, follower = os.openpty()
    notify = libc.inotify_init1(0)
    libc.inotify_add_watch(notify, str(tmp_path).encode(), 2)
    epoll = select.epoll()
    kinds = {
        gone: "deleted file", os.open(tmp_path / "fifo", os.O_RDWR): "pipe", os.open(tmp_path, os.O_RDONLY): "dir",
        os.open(tmp_path / "plain", os.O_CREAT | os.O_RDWR): "regular", os.open("/dev/null", os.O_RDONLY): "device",
        listening.fileno(): "tcp listen", client.fileno(): "tcp established", accepted.fileno(): "tcp established",
        half.fileno(): "tcp close-wait", udp.fileno(): "udp", near.fileno(): "unix socket", read: "pipe", write: "pipe",
        leader: "pty", follower: "pty", notify: "inotify", epoll.fileno(): "eventpoll", netlink.fileno(): "socket",
        os.eventfd(0): "eventfd", libc.timerfd_create(1, 0): "timerfd",
        libc.signalfd(-1, (ctypes.c_ulong * 16)(), 8): "signalfd", os.memfd_create("x"): "memfd",
        os.pidfd_open(os.getpid()): "pidfd",
    }  # fmt: skip
    kinds.pop(-1, None)
    yield kinds
    data.close()
    epoll.close()
    sockets = [listening, client, accepted, half, udp, near, away, netlink]
    for sock in sockets:
        kinds.pop(sock.fileno(), None)
        sock.close()
    for fd in kinds:
        try:
            os.close(fd)
        except OSError:
            continue


def readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0.1)[0])


def test_each_kind_is_told(zoo: dict[int, str], tmp_path: Path) -> None:
    """FDW-3: every kind of the list, on a real process."""
    table = fds.table(os.getpid(), fds.Sockets(), far())
    assert table
    found = {fd.fd: fd.kind for fd in table.fds}
    assert {fd: found[fd] for fd in zoo} == zoo
    database = str(tmp_path / "state.db")
    parts = {fd.kind: fd for fd in table.fds if fd.db == database}
    assert set(parts) == {"sqlite-main", "sqlite-wal", "sqlite-shm"}
    assert table.why == ""
    assert sum(table.kinds().values()) == len(table.fds)
    assert set(table.kinds()) <= set(fds.KINDS)


def test_sockets_tell_their_queues_and_peers(zoo: dict[int, str]) -> None:
    """FDW-8: bytes that nobody reads are seen from outside."""
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    client.sendall(b"x" * 1234)
    select.select([accepted], [], [], 30)
    table = fds.table(os.getpid(), fds.Sockets(), far())
    assert table
    (found,) = [fd.socket for fd in table.fds if fd.fd == accepted.fileno()]
    assert found
    assert (found.kind, found.receive) == ("tcp established", 1234)
    assert found.peer == f"127.0.0.1:{client.getsockname()[1]}"
    assert next(iter(table.targets()))[2] >= 1
    for sock in (server, client, accepted):
        sock.close()


def test_repeated_targets_are_counted(tmp_path: Path) -> None:
    """FDW-9: the top targets with counts."""
    path = tmp_path / "often"
    path.touch()
    opened = [os.open(path, os.O_RDONLY) for _ in range(40)]
    table = fds.table(os.getpid(), fds.Sockets(), far())
    for fd in opened:
        os.close(fd)
    assert table
    assert (str(path), "regular", 40) in table.targets()


def test_inotify_watches_are_counted(tmp_path: Path) -> None:
    """FDW-3: with the watch count from fdinfo."""
    libc = ctypes.CDLL(None)
    notify = libc.inotify_init1(0)
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        libc.inotify_add_watch(notify, str(tmp_path / name).encode(), 2)
    assert fds.watches(os.getpid(), notify) == 3
    os.close(notify)


@pytest.mark.parametrize(
    ("target", "bases", "told"),
    [
        ("/d/state.db", (), ("sqlite-main", "/d/state.db")),
        ("/d/Cookies", ("/d/Cookies",), ("sqlite-main", "/d/Cookies")),
        ("/d/Cookies-wal", ("/d/Cookies",), ("sqlite-wal", "/d/Cookies")),
        ("/d/Cookies-wal", (), ("regular", "")),
        ("/d/state.db-wal", (), ("sqlite-wal", "/d/state.db")),
        ("/d/state.db-journal", (), ("sqlite-journal", "/d/state.db")),
        ("/d/state.db-wal (deleted)", (), ("deleted file", "/d/state.db")),
        ("/d/state.db (deleted)", (), ("deleted file", "/d/state.db")),
        ("/var/log/systemd-journal", (), ("regular", "")),
        ("/memfd:x (deleted)", (), ("memfd", "")),
        ("/dev/shm/pool", (), ("regular", "")),
        ("/dev/ptmx", (), ("pty", "")),
        ("anon_inode:inotify", (), ("inotify", "")),
        ("anon_inode:[io_uring]", (), ("other", "")),
        ("pidfd:[4026]", (), ("pidfd", "")),
        ("net:[4026531840]", (), ("other", "")),
        ("socket:[1]", (), ("socket", "")),
        ("", (), ("other", "")),
    ],
)
def test_names(target: str, bases: tuple[str, ...], told: tuple[str, str]) -> None:
    """The kernel's names, newer and older; deleted SQLite files keep their database (FDW-8)."""
    assert fds.classify(target, set(bases)) == told


def test_databases_are_known_by_what_is_open_beside_them() -> None:
    """FDW-3: a database may have any name; one side file alone is no evidence."""
    assert fds.databases({"/d/a", "/d/a-wal", "/d/a-shm"}) == {"/d/a"}
    assert fds.databases({"/d/a-wal"}) == set()
    assert fds.databases({"/d/a", "/d/a-journal"}) == {"/d/a"}
    assert fds.databases({"/d/systemd-journal"}) == set()


@given(st.text(max_size=60))
def test_any_name_has_a_kind(target: str) -> None:
    """File names are hostile: they get a kind of the list, never an error."""
    assert fds.classify(target, {target})[0] in fds.KINDS


def test_out_of_time_says_so() -> None:
    """A partial answer names what is missing; a process that is gone has none."""
    table = fds.table(os.getpid(), fds.Sockets(), time.monotonic() - 1)
    assert table
    assert "out of time" in table.why
    assert fds.table(2**22 + 5, fds.Sockets(), far()) is None
