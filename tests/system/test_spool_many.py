"""Many processes and one folder of spools: no reference lost, no byte of another, one quota."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from midwatch.bounded.limits import Limits
from midwatch.bounded.spool import SpoolError, Store
from midwatch.bounded.spool.reader import Overtaken
from midwatch.bounded.spool.searching import Match

WRITER = """
import sys
from midwatch.bounded.limits import Limits
from midwatch.bounded.spool import Store
folder, number, quota = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
store = Store(folder, Limits(spool_free=1, spool_quota=quota))
writers = [store.begin(command=["w", str(number), str(each)]) for each in range(8)]
for turn in range(40):
    for each, writer in enumerate(writers):
        writer.write(b"%04d %04d %04d\\n" % (number, each, turn) * 1000)
for writer in writers:
    print(writer.close({"turns": 40}).ref)
store.sweep()
"""


def _run(folder: Path, quota: int) -> list[str]:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(number), str(quota)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    try:
        said = [run.communicate(timeout=120)[0].split() for run in runs]
    finally:
        for run in runs:
            run.kill()
            run.wait()
    assert [run.returncode for run in runs] == [0] * 8
    return [ref for refs in said for ref in refs]


def test_sixty_four_writers_share_a_folder(tmp_path: Path) -> None:
    """Bad input of issue 6: eight processes with eight spools each, sweeping meanwhile: all 64 whole."""
    store = Store(tmp_path / "s", Limits(spool_free=1))
    found = _run(store.folder, 1 << 31)
    assert len(set(found)) == 64
    assert {info.ref for info in store.list()} == set(found)
    for at, ref in enumerate(found):
        info = store.info(ref)
        assert (info.state, info.complete, info.bytes_total, info.lines_total) == (
            "done",
            True,
            600_000,
            40_000,
        )
        number, each = divmod(at, 8)
        assert info.command == ("w", str(number), str(each))
        for turn in (0, 20, 39):
            page = store.read(ref, line=turn * 1000 + 1, count=1)
            assert page.text == f"{number:04} {each:04} {turn:04}\n"


def test_one_quota_for_all(tmp_path: Path) -> None:
    """Together they stay inside it at every moment; each that had to stop says so, nobody failed."""
    store = Store(tmp_path / "s", Limits(spool_free=1, spool_quota=10_000_000))
    found = _run(store.folder, 10_000_000)
    infos = [store.info(ref) for ref in found]
    stored = sum(info.bytes_stored for info in infos)
    assert 8_000_000 <= stored <= 10_000_000
    assert all(info.bytes_total == 600_000 for info in infos)
    assert all(info.complete or "quota" in info.why for info in infos)
    assert sum(path.stat().st_size for path in store.folder.glob("*.data")) == stored


RING = """
import sys
from midwatch.bounded.limits import Limits
from midwatch.bounded.spool import Store
store = Store(sys.argv[1], Limits(spool_free=1, spool_cap=1 << 20))
writer = store.begin()
print(writer.ref, flush=True)
number = 0
while number < 6_000_000:
    writer.write(b"".join(b"%09d\\n" % each for each in range(number, number + 3000)))
    number += 3000
writer.close()
"""


def _found(store: Store, ref: str) -> tuple[Match, ...]:
    try:
        return store.search(ref, "12345", most=100).matches
    except SpoolError:  # the ring turned faster than its lines could be counted
        return ()


def test_a_ring_that_turns_while_it_is_read(tmp_path: Path) -> None:
    """A18: a reader in another process never takes new bytes for old ones: each page is a run of whole numbers, and its
    place and line number fit them."""
    store = Store(tmp_path / "s", Limits(spool_free=1, spool_cap=1 << 20))
    writing = subprocess.Popen([sys.executable, "-c", RING, str(store.folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert writing.stdout is not None
        ref = writing.stdout.readline().strip()
        pages = turned = known = 0
        while writing.poll() is None and pages < 3000:
            info = store.info(ref)
            if len(info.kept) < 2:
                continue
            pages += 1
            try:
                page = store.read(ref, offset=info.kept[1][0], raw=True)
                newest = store.tail(ref, 3).text.split()
            except Overtaken:
                continue  # a typed answer; the loop is bounded
            assert [int(words) for words in newest] == list(range(int(newest[0]), int(newest[0]) + 3))
            if pages % 40 == 0:
                for match in _found(store, ref):
                    assert match.line == int(match.excerpt) + 1
                    assert match.offset == (match.line - 1) * 10 + match.excerpt.index("12345")
            if len(page.data) < 30:
                continue  # overwritten between the two looks: nothing, or what is left
            turned += 1
            first = -page.offset % 10
            numbers = [int(words) for words in page.data[first:].split(b"\n")[:-1] if len(words) == 9]
            begin = (page.offset + first) // 10
            assert numbers == list(range(begin, begin + len(numbers)))
            assert page.line in (None, page.offset // 10 + 1)
            known += page.line is not None
    finally:
        writing.kill()
        writing.wait()
        assert writing.stdout is not None
        writing.stdout.close()
    assert turned
    assert known
