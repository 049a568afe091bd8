"""Spools whose writer is killed at every stage, and disks that are really full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from midwatch.bounded.limits import Limits
from midwatch.bounded.spool import SpoolError, Store, refs

# Kills itself before or after the Nth call that changes anything on disk; then says how many there were.
WRITER = """
import os, signal, sys
from midwatch.bounded.limits import Limits
from midwatch.bounded.spool import Store
stop, after = int(sys.argv[2]), sys.argv[3] == "after"
calls = 0
def counted(name):
    real = getattr(os, name)
    def call(*args, **named):
        global calls
        if name == "open" and not (args[1] & os.O_CREAT):
            return real(*args, **named)
        calls += 1
        if calls == stop and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        here = calls == stop
        try:
            return real(*args, **named)
        finally:
            if here:
                os.kill(os.getpid(), signal.SIGKILL)
    setattr(os, name, call)
for name in ("open", "write", "pwrite", "ftruncate", "rename", "unlink"):
    counted(name)
store = Store(sys.argv[1], Limits(spool_free=1, spool_cap=200_000))
writer = store.begin(command=["x"])
print(writer.ref, flush=True)
for number in range(6):
    writer.write(b"%09d\\n" % number * 5_000)
writer.close({"exit_code": 0})
print(calls)
"""
WHOLE = b"".join(b"%09d\n" % number * 5_000 for number in range(6))


def _write(folder: Path, stop: int, when: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(folder), str(stop), when],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout.split()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_writer_killed_at_every_stage(tmp_path: Path, when: str) -> None:
    """What was written can be read, as lost or done, or nothing is there; one sweep brings the folder in order."""
    code, said = _write(tmp_path / "whole", 0, when)
    assert code == 0
    calls = int(said[1])
    assert calls > 20
    states = []
    for stop in range(1, calls + 1):
        store = Store(tmp_path / str(stop), Limits(spool_free=1, spool_cap=200_000))
        code, said = _write(store.folder, stop, when)
        assert code == -signal.SIGKILL
        before = store.list()
        store.sweep()
        states += [_readable(store, ref) for ref in said[:1]]
        assert {info.ref for info in before} == {info.ref for info in store.list()}
        stems = {refs.name_of(info.ref) for info in store.list()}
        left = {path.name for path in store.folder.iterdir()} - {"lock"} if store.folder.exists() else set()
        assert left == {f"{stem}{end}" for stem in stems for end in (".data", ".idx", ".json")}
    assert {"lost", "done"} >= set(states) >= {"lost"}


def _readable(store: Store, ref: str) -> str:
    """Every byte that is said to be kept is there; how the spool ended."""
    info = store.info(ref)
    assert info.state == ("done" if info.facts else "lost")
    for begin, end in info.kept:
        at = begin
        while at < end:
            page = store.read(ref, offset=at, raw=True)
            assert page.data == WHOLE[at : page.next_offset]
            assert page.next_offset > at
            at = page.next_offset
    return info.state


@pytest.mark.root("mounts a file system of 5 MiB")
def test_s8_a_full_disk(tmp_path: Path) -> None:
    """S8: at ENOSPC after 5 MiB the caller goes on, the spool says why, what is there is read, others can be begun."""
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=5m,mode=700", "none", str(mount)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("may not mount here")
    try:
        store = Store(mount / "s", Limits(spool_free=1, spool_quota=1 << 40))
        _fill(store, mount)
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def _fill(store: Store, mount: Path) -> None:
    import midwatch.policy.defaults_bounded as d

    share = d.SPOOL_SHARE
    d.SPOOL_SHARE = 1000.0  # the tenth of so small a disk would stop it before it is full
    try:
        ballast = mount / "ballast"
        writer = store.begin()
        line = b"x" * 99 + b"\n"
        writer.write(line * 10_000)
        ballast.write_bytes(bytes(2 << 20))  # somebody else takes what was free when we asked
        for _ in range(99):
            writer.write(line * 10_000)
        info = writer.close({"exit_code": 0})
        assert (info.bytes_total, info.lines_total) == (100_000_000, 1_000_000)
        assert not info.complete
        assert "No space left" in info.why or "free" in info.why
        assert 1_000_000 < info.bytes_stored < 5 << 20
        found = store.info(info.ref)
        assert (found.bytes_stored, found.why) == (info.bytes_stored, info.why)
        assert store.read(info.ref, line=10_000, count=1).text == line.decode()
        assert store.release(info.ref) == info.bytes_stored
        ballast.unlink()
        assert store.begin().ref is not None
    finally:
        d.SPOOL_SHARE = share


def test_a_file_size_limit_is_a_full_disk(tmp_path: Path) -> None:
    """RLIMIT_FSIZE (an agent in a sandbox): EFBIG, not the SIGXFSZ that ends the process."""
    code = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
from midwatch.bounded.limits import Limits
from midwatch.bounded.spool import Store
store = Store(sys.argv[1], Limits(spool_free=1))
writer = store.begin()
for _ in range(50): writer.write(b"x" * 100_000)
info = writer.close()
print(info.bytes_total, info.bytes_stored <= 3_000_000, info.complete, bool(info.why), store.info(writer.ref).state)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.split() == ["5000000", "True", "False", "True", "done"], done.stderr


def test_a_lock_that_somebody_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process holds the folder's lock: no spool after a while, nobody hangs, reading goes on."""
    import fcntl

    from midwatch.bounded.spool import folder

    store = Store(tmp_path / "s", Limits(spool_free=1))
    writer = store.begin()
    writer.write(b"before")
    old = writer.close()
    monkeypatch.setattr(folder.locked.__wrapped__, "__defaults__", (0.2,))  # type: ignore[attr-defined]
    fd = os.open(store.folder / "lock", os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        refused = store.begin()
        assert refused.ref is None
        assert "held the spool folder's lock" in refused.why
        assert store.read(old.ref).text == "before"
        with pytest.raises(SpoolError) as caught:
            store.release(old.ref)
        assert caught.value.code == "busy"
    finally:
        os.close(fd)
    assert store.release(old.ref) == 6
