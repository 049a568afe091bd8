"""Long bodies: out of row, shared, adopted, swept; what a crash leaves; the log stays small."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

import pytest

from midwatch import sessions
from midwatch.bounded.sessions import payload
from midwatch.bounded.sessions.wide import Widths
from midwatch.bounded.spool import Store as Spools

MIB = 1 << 20
CHUNK = 262_144


@pytest.mark.parametrize("size", [8192, 8193, CHUNK - 1, CHUNK, CHUNK + 1, 5 * MIB + 3, 8 * MIB])
def test_bodies_of_every_size_come_back(store: sessions.Store, talk: sessions.Session, size: int) -> None:
    """Around the borders of row, chunk and batch."""
    data = random.Random(size).randbytes(size)
    item = talk.append("tool_result", data, calls="c", mime="application/octet-stream")
    body, found = talk.open(item.pos), bytearray()
    while part := body.read(100_000):
        found += part
    assert bytes(found) == data
    assert (item.payload is None) == (size <= 8192)
    assert store.stats().orphans == 0


def test_equal_bodies_are_stored_once(store: sessions.Store, talk: sessions.Session) -> None:
    """B3: shared by their hash, between items and sessions; gone with the last of them."""
    text = os.urandom(MIB // 2).hex()
    talk.append("user", text)
    size = store.stats().file_bytes + store.stats().wal_bytes
    other = store.create(id="other")
    for _ in range(10):
        other.append("tool_result", text, calls="c")
    assert store.stats().file_bytes + store.stats().wal_bytes < size + 400_000
    store.delete("talk")
    store.clean()
    assert other.read(3, 0, 10).text == text[:10]
    store.delete("other")
    store.clean()
    assert store.stats().file_bytes < 200_000


def test_s23_a_large_payload_keeps_the_wal_small(path: Path) -> None:
    """S23: 60 MiB appended: the log never passes 8 MiB."""
    most = [0]
    with sessions.open(path, upkeep=False) as store:
        talk = store.create()
        for number in range(20):
            talk.append("user", str(number) * 5000)

        def look() -> None:
            most[0] = max(most[0], Path(f"{path}-wal").stat().st_size)

        store.connections.committed = look
        talk.append("tool_result", b"0123456789abcdef" * (60 * MIB // 16), calls="c")
        look()
        assert talk.info().bytes > 60 * MIB
    assert MIB < most[0] <= 8 * MIB


class _Breaks:
    """A source that fails in the middle."""

    def __init__(self, good: int) -> None:
        self.left = good

    def read(self, size: int, /) -> bytes:
        if not self.left:
            raise RuntimeError("the pipe broke")
        data = b"x" * min(size, self.left)
        self.left -= len(data)
        return data


def test_a_source_that_breaks_leaves_nothing(store: sessions.Store, talk: sessions.Session) -> None:
    """B2: an error in the middle: no item, and the orphan goes with the next sweep."""
    with pytest.raises(RuntimeError):
        talk.append("tool_result", _Breaks(3 * MIB), calls="c")
    assert talk.items() == []
    assert store.stats().orphans == 1
    store.clean()
    assert store.stats().orphans == 0
    assert store.stats().file_bytes < 200_000


def test_somebody_elses_half_payload_is_left_alone(store: sessions.Store, talk: sessions.Session) -> None:
    """A payload that a living process still writes is no orphan; one of a dead process is."""
    written = payload.write(store.connections, b"y" * 600_000, Widths())
    store.clean()
    assert store.stats().orphans == 1
    with store.connections.transaction("test") as connection:
        connection.execute("UPDATE payload SET writer = '999999999:1' WHERE id = ?", (written.id,))
    store.clean()
    assert store.stats().orphans == 0


def test_a_spool_is_adopted_not_copied(tmp_path: Path, store: sessions.Store, talk: sessions.Session) -> None:
    """B3: an item refers to the spool's own bytes; they stay when the spool is released, and go with the item."""
    spools = Spools(tmp_path / "spool")
    writer = spools.begin()
    data = b"".join(b"line %d\n" % number for number in range(100_000))
    writer.write(data)
    info = writer.close()
    before = store.stats().file_bytes + store.stats().wal_bytes
    item = talk.adopt("tool_result", spools, info.ref, calls="c", name="exec")
    assert item.size == len(data)
    assert store.stats().file_bytes + store.stats().wal_bytes < before + 50_000
    spools.release(info.ref)
    assert store.read(item.ref, 0, 14).text == "line 0\nline 1\n"
    body, digest = talk.open(1), hashlib.sha256()
    while part := body.read(65536):
        digest.update(part)
    assert digest.digest() == hashlib.sha256(data).digest()
    assert len(list(Path(f"{store.path}-files").iterdir())) == 1
    store.delete("talk")
    store.clean()
    assert list(Path(f"{store.path}-files").iterdir()) == []


def test_an_adopted_file_that_is_gone_costs_itself_only(
    tmp_path: Path, store: sessions.Store, talk: sessions.Session
) -> None:
    """Reading it is a typed error; the context and the export still go."""
    spools = Spools(tmp_path / "spool")
    writer = spools.begin()
    writer.write(b"z" * 100_000)
    talk.append("user", "run it")
    talk.append("tool_use", "{}", calls="c")
    talk.adopt("tool_result", spools, writer.close().ref, calls="c")
    for file in Path(f"{store.path}-files").iterdir():
        file.unlink()
    with pytest.raises(sessions.Missing):
        store.read("talk/3")
    assert b"cannot be read" in b"".join(talk.assemble())
    found: list[bytes] = []
    talk.export(found.append)
    assert b'"missing"' in b"".join(found)


def test_a_payload_leaves_room_for_deleting(
    store: sessions.Store, talk: sessions.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long body is refused while there is still room for the small writes that deleting needs."""
    fields = list(os.statvfs("/"))
    fields[1], fields[4] = 4096, 1000  # 4 MB free
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(fields))
    with pytest.raises(sessions.DiskFull, match="prune"):
        talk.append("user", "x" * 100_000)
    talk.append("user", "short")
    store.delete("talk")
    store.clean()


def test_a_stream_that_does_not_end_is_refused(
    store: sessions.Store, talk: sessions.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the bound, and nothing of it stays."""
    monkeypatch.setattr("midwatch.bounded.sessions.payload.d.PAYLOAD_MOST", 2 * MIB)
    with open("/dev/zero", "rb") as endless, pytest.raises(sessions.TooLarge, match="file"):
        talk.append("tool_result", endless, calls="c")
    assert talk.items() == []
    store.clean()
    assert store.stats().file_bytes < 200_000
