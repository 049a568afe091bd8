"""One instance a home: real processes, real locks, and everything an old lock file may hold."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midwatch.record.lock import Held, InstanceLock, Unwritable

SRC = Path(__file__).parents[2] / "src"
INFO = {"pid": 4242, "start": 99, "boot": "b", "host": "h", "version": "1", "since": 1.7e9, "what": "up shop"}

# For each "g" on stdin: takes the lock and says how it went; for each "r": gives it back.
HOLDER = """
import sys, os
from pathlib import Path
from midwatch.record.lock import Held, InstanceLock
lock = InstanceLock(Path(sys.argv[1]))
while order := sys.stdin.buffer.read(1):
    if order == b"r":
        lock.release()
        print("released", flush=True)
        continue
    try:
        lock.acquire({"pid": os.getpid()})
        print("won", flush=True)
    except Held as held:
        print("held", flush=True)
"""


def start(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SRC), *sys.path])},
    )


def go(process: subprocess.Popen[bytes], order: bytes = b"g") -> None:
    assert process.stdin is not None
    process.stdin.write(order)
    process.stdin.flush()


def answer(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.wait(30)
    process.stdout.close()


def test_the_second_start_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    """E1, E13: the loser is told who holds it; content, size and times of the file are as before."""
    path = tmp_path / "lock"
    winner, loser = InstanceLock(path), InstanceLock(path)
    winner.acquire(INFO)
    before = (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino)
    with pytest.raises(Held) as caught:
        loser.acquire({"pid": 1})
    assert caught.value.info == INFO
    assert "pid 4242" in str(caught.value)
    assert str(path) in str(caught.value)
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert not loser.held
    assert [entry.name for entry in tmp_path.iterdir()] == ["lock"]
    winner.release()
    loser.acquire({"pid": 1})
    loser.release()
    assert path.exists()


def test_a_dead_holders_lock_is_taken_over(tmp_path: Path) -> None:
    """E2: the holder was killed; its file is still there and names a dead pid."""
    path = tmp_path / "lock"
    holder = start(path)
    go(holder)
    assert answer(holder) == "won"
    with pytest.raises(Held) as caught:
        InstanceLock(path).acquire({})
    assert caught.value.info == {"pid": holder.pid}
    os.kill(holder.pid, signal.SIGKILL)
    end(holder)
    assert json.loads(path.read_text()) == {"pid": holder.pid}
    lock = InstanceLock(path)
    lock.acquire(INFO)
    assert json.loads(path.read_text()) == INFO
    lock.release()


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"\0" * 5000, b"4242\n", b"[1]", b'{"pid":', b"\xff\xfe", b"x" * 1_000_000],
    ids=lambda c: c[:8].decode(errors="replace") + str(len(c)),
)
def test_whatever_the_file_holds_it_is_taken_over(tmp_path: Path, content: bytes) -> None:
    """E3: an empty or garbage file, also one longer than ours, is replaced completely."""
    path = tmp_path / "lock"
    path.write_bytes(content)
    lock = InstanceLock(path)
    lock.acquire(INFO)
    assert msgspec.json.decode(path.read_bytes()) == INFO
    lock.release()


@pytest.mark.parametrize("pid", ["own", "foreign", "init"])
def test_a_pid_in_the_file_means_nothing(tmp_path: Path, pid: str) -> None:
    """E6: our own pid from an earlier container; E7: a pid that is somebody else's now; E8: one we may not signal."""
    number = {"own": os.getpid(), "foreign": os.getppid(), "init": 1}[pid]
    path = tmp_path / "lock"
    path.write_text(json.dumps({"pid": number}))
    lock = InstanceLock(path)
    assert lock.holder() is None
    lock.acquire(INFO)
    lock.release()


@pytest.mark.slow
def test_of_many_starters_one_wins(tmp_path: Path) -> None:
    """E5: 50 processes at once over a stale file, ten rounds: exactly one winner each, and the file names it."""
    path = tmp_path / "lock"
    path.write_text(json.dumps({"pid": 999999}))
    starters = [start(path) for _ in range(50)]
    try:
        for _ in range(10):
            for starter in starters:
                go(starter)
            answers = [answer(starter) for starter in starters]
            named = json.loads(path.read_text())["pid"]
            winners = [s.pid for s, said in zip(starters, answers, strict=True) if said == "won"]
            assert sorted(set(answers)) == ["held", "won"]
            assert winners == [named]
            for starter in starters:
                go(starter, b"r")
            assert {answer(starter) for starter in starters} == {"released"}
    finally:
        for starter in starters:
            end(starter)


def test_a_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    """A child that outlives the holder does not keep the lock: close-on-exec, and release unlocks for every copy."""
    path = tmp_path / "lock"
    lock = InstanceLock(path)
    lock.acquire(INFO)
    assert not os.get_inheritable(lock.fileno())
    copy = os.dup(lock.fileno())  # what a child between fork and exec has
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:
        lock.release()
        other = InstanceLock(path)
        other.acquire(INFO)
        other.release()
    finally:
        os.close(copy)
        child.communicate(b"\n", 30)


def test_a_lock_passed_on_by_exec_stays(tmp_path: Path) -> None:
    """The launcher may hand the lock to the program it becomes: the descriptor carries it."""
    path = tmp_path / "lock"
    lock = InstanceLock(path)
    lock.acquire(INFO)
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()]
    )
    os.close(lock.fileno())  # we are gone without a release, as by exec
    try:
        with pytest.raises(Held):
            InstanceLock(path).acquire({})
    finally:
        child.communicate(b"\n", 30)
    after = InstanceLock(path)
    after.acquire({})
    after.release()


def test_readers_see_the_holder_and_do_not_disturb(tmp_path: Path) -> None:
    """`holder` answers without taking anything away, and not from a file that nobody locks."""
    path = tmp_path / "lock"
    reader = InstanceLock(path)
    assert reader.holder() is None
    lock = InstanceLock(path)
    lock.acquire(INFO)
    assert reader.holder() == INFO
    path.write_bytes(b"garbage")
    assert reader.holder() == {}
    lock.release()
    assert reader.holder() is None


def test_a_readers_look_does_not_refuse_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ps` looks just while `up` starts: the start tries again instead of reporting a holder that is none."""
    import fcntl

    path = tmp_path / "lock"
    path.touch()
    fd = os.open(path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    monkeypatch.setattr("midwatch.record.lock.time.sleep", lambda _: fcntl.flock(fd, fcntl.LOCK_UN))
    lock = InstanceLock(path)
    lock.acquire(INFO)
    lock.release()
    os.close(fd)


def test_a_replaced_file_is_not_a_second_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody deletes the file between our open and our lock: we end up with the file that is there."""
    path = tmp_path / "lock"
    path.touch()
    real = InstanceLock._open
    opened: list[int] = []

    def replace_once(lock: InstanceLock) -> int:
        fd = real(lock)
        if not opened:
            path.unlink()
        opened.append(fd)
        return fd

    monkeypatch.setattr(InstanceLock, "_open", replace_once)
    lock = InstanceLock(path)
    lock.acquire(INFO)
    assert len(opened) == 2
    assert path.stat().st_ino == os.fstat(lock.fileno()).st_ino
    lock.release()


def test_a_read_only_folder_is_named(mount: Callable[[str], Path]) -> None:
    """E4: not writable => refused with the path, the reason and the way out."""
    disk = mount("size=64k,ro")
    with pytest.raises(Unwritable) as caught:
        InstanceLock(disk / "home" / "lock").acquire(INFO)
    assert str(disk / "home" / "lock") in str(caught.value)
    assert "Read-only" in caught.value.why
    assert "MIDWATCH_HOME" in str(caught.value)


@pytest.mark.unprivileged("root may write everywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    """E4: the same for a folder that is not ours."""
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(Unwritable, match="Permission denied"):
            InstanceLock(tmp_path / "lock").acquire(INFO)
    finally:
        tmp_path.chmod(0o700)


def test_a_link_or_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    """A symbolic link is not followed; a file where a folder should be is named."""
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(Unwritable, match="symbolic link"):
        InstanceLock(tmp_path / "lock").acquire(INFO)
    assert (tmp_path / "victim").read_text() == "precious"
    with pytest.raises(Unwritable):
        InstanceLock(tmp_path / "victim" / "lock").acquire(INFO)


def test_a_full_disk_does_not_refuse_a_start(mount: Callable[[str], Path]) -> None:
    """The lock is the kernel's; without room for words the file is empty rather than naming the last holder."""
    disk = mount("size=16k")
    path = disk / "lock"
    path.touch()
    with contextlib.suppress(OSError), (disk / "ballast").open("ab", buffering=0) as file:
        for _ in range(1000):
            file.write(b"x" * 512)
    lock = InstanceLock(path)
    lock.acquire(INFO)
    assert lock.held
    assert path.read_bytes() == b""
    lock.release()


def test_acquiring_twice_is_once(tmp_path: Path) -> None:
    """A lock that is held stays held; releasing what is not held is nothing."""
    lock = InstanceLock(tmp_path / "lock")
    lock.release()
    lock.acquire(INFO)
    lock.acquire(INFO)
    lock.release()
    lock.release()
    assert not lock.held


@pytest.mark.parametrize("info", [{}, {"since": "today"}, {"pid": "x", "since": -5}, {"what": "run"}])
def test_any_content_makes_a_message(tmp_path: Path, info: dict[str, Any]) -> None:
    """The refusal is readable whatever the holder wrote."""
    assert "already running" in str(Held(tmp_path, info))
