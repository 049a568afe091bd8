"""Following output: every byte once, across rotation, compression, pruning and new runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.record import logs, tailing


def add(folder: Path, run_no: int, n: int, data: bytes) -> None:
    with (folder / f"p.s.{run_no}.out.{n}.log").open("ab") as file:
        file.write(data)


def take(source: Iterator[bytes | None]) -> bytes:
    """Everything up to the next pause."""
    out = b""
    for piece in source:
        if piece is None:
            return out
        out += piece
    return out


def test_it_starts_at_the_end_or_with_the_last_lines(tmp_path: Path) -> None:
    """Nothing of the past by default, the last lines when asked for, no gap to what comes."""
    add(tmp_path, 1, 0, b"one\ntwo\n")
    add(tmp_path, 1, 1, b"three\nfou")
    plain, two = logs.follow(tmp_path, poll=0.0), logs.follow(tmp_path, poll=0.0, lines=2)
    assert take(plain) == b""
    assert take(two) == b"three\nfou"
    add(tmp_path, 1, 1, b"r\n")
    assert take(plain) == b"r\n"
    assert take(two) == b"r\n"


def test_before_anything_is_printed(tmp_path: Path) -> None:
    """`logs -f` may come before the first output, and before the folder."""
    source = logs.follow(tmp_path / "later", poll=0.0, lines=5)
    assert take(source) == b""
    (tmp_path / "later").mkdir()
    add(tmp_path / "later", 1, 0, b"hello\n")
    assert take(source) == b"hello\n"


def test_rotation_compression_and_pruning(tmp_path: Path) -> None:
    """Files that are rotated, packed or removed while they are followed lose and double nothing."""
    add(tmp_path, 1, 0, b"a")
    source = logs.follow(tmp_path, poll=0.0)
    assert take(source) == b""
    add(tmp_path, 1, 0, b"b")
    add(tmp_path, 1, 1, b"c")
    add(tmp_path, 1, 2, b"d")
    logs.compress(tmp_path / "p.s.1.out.0.log")
    logs.compress(tmp_path / "p.s.1.out.1.log")
    assert take(source) == b"bcd"
    (tmp_path / "p.s.1.out.0.log.gz").unlink()
    (tmp_path / "p.s.1.out.2.log").unlink()
    add(tmp_path, 1, 3, b"e")
    assert take(source) == b"e"


def test_the_last_words_of_a_run_come_after_the_next_has_begun(tmp_path: Path) -> None:
    """The old run's last bytes are still in its pipe when the new run prints: they are shown."""
    add(tmp_path, 1, 0, b"a")
    source = logs.follow(tmp_path, poll=0.0)
    assert take(source) == b""
    add(tmp_path, 2, 0, b"new ")
    assert take(source) == b"new "
    add(tmp_path, 1, 0, b"late ")
    add(tmp_path, 2, 0, b"more")
    assert take(source) == b"late more"
    for _ in range(tailing.LINGER + 2):
        assert take(source) == b""
    add(tmp_path, 1, 0, b"never")
    assert take(source) == b""


def test_one_run_only(tmp_path: Path) -> None:
    """Following a named run does not go on with the next one."""
    add(tmp_path, 1, 0, b"a")
    source = logs.follow(tmp_path, run="p.s.1", poll=0.0)
    take(source)
    add(tmp_path, 1, 0, b"b")
    add(tmp_path, 2, 0, b"x")
    assert take(source) == b"b"


def test_many_runs_keep_few_files_open(tmp_path: Path) -> None:
    """A crash loop does not make the follower run out of descriptors."""
    source = logs.follow(tmp_path, poll=0.0)
    assert take(source) == b""
    for run_no in range(100):
        add(tmp_path, run_no, 0, b"%d\n" % run_no)
    assert take(source) == b"".join(b"%d\n" % n for n in range(100))


steps = st.lists(st.sampled_from(["write", "rotate", "run", "pack", "look"]), max_size=40)


@given(steps)
def test_every_byte_once_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, actions: list[str]
) -> None:
    """Any order of writing, rotating, packing, new runs and looks: exactly what was written, in order."""
    folder = tmp_path_factory.mktemp("logs")
    run_no, n, written, seen, count = 1, 0, b"", b"", 0
    add(folder, run_no, n, b"")
    source = logs.follow(folder, poll=0.0)
    assert take(source) == b""
    for action in actions:
        if action == "write":
            count += 1
            data = b"%d\n" % count
            add(folder, run_no, n, data)
            written += data
        elif action == "rotate":
            n += 1
            add(folder, run_no, n, b"")
        elif action == "run":
            run_no, n = run_no + 1, 0
            add(folder, run_no, n, b"")
        elif action == "pack":
            current = folder / f"p.s.{run_no}.out.{n}.log"
            for path in folder.glob("*.log"):
                if path != current:
                    logs.compress(path)
        else:
            seen += take(source)
    assert seen + take(source) == written
