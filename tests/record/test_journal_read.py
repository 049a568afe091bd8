"""Reading the journal: across borders, torn and corrupt lines, newest first, following, recovering."""

from __future__ import annotations

import json
from calendar import timegm
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.record import reading
from midwatch.record.journal import HEADER, JournalStats, follow, newest_snapshot, read, recover, wall_of

SUNDAY = float(timegm((2026, 11, 22, 23, 50, 0)))
MONDAY = float(timegm((2026, 11, 23, 0, 10, 0)))


def names(lines: Iterator[dict[str, Any]]) -> list[str]:
    return [line["event"] for line in lines]


def test_a_day_is_read_across_the_week_border(tmp_path: Path, desk: Any) -> None:
    """H2: an event of Sunday 23:50, asked for on Monday 00:10, is in the last 24 hours."""
    journal = desk.journal(tmp_path)
    journal.write("too.old", SUNDAY - 86400)
    journal.write("on.sunday", SUNDAY)
    journal.write("on.monday", MONDAY)
    assert names(read(tmp_path, since=MONDAY - 86400)) == ["on.sunday", "on.monday"]
    assert names(read(tmp_path, newest=2)) == ["on.sunday", "on.monday"]


def test_services_and_newest_select(tmp_path: Path, desk: Any) -> None:
    """`newest` counts the lines that match, over as many files as it takes."""
    journal = desk.journal(tmp_path, file_bytes=1500)
    for number in range(60):
        journal.write(
            "tick.tock", MONDAY, service="a/b" if number % 10 == 0 else "a/c", fields={"number": number}
        )
    assert [line["number"] for line in read(tmp_path, services={"a/b"}, newest=3)] == [30, 40, 50]
    assert [line["number"] for line in read(tmp_path, services={"a/b"})] == [0, 10, 20, 30, 40, 50]
    assert list(read(tmp_path, services=set())) == []
    assert len(list(read(tmp_path, newest=1000))) == 60
    assert list(read(tmp_path, newest=0)) == []
    assert list(read(tmp_path / "absent")) == []


def test_headers_are_shown_only_when_asked_for(tmp_path: Path, desk: Any) -> None:
    """Opening lines with their snapshots are no events."""
    desk.journal(tmp_path).write("a.b", MONDAY)
    assert names(read(tmp_path)) == ["a.b"]
    assert names(read(tmp_path, headers=True)) == [HEADER, "a.b"]


def test_a_line_torn_at_any_byte_is_skipped_and_counted(tmp_path: Path, desk: Any) -> None:
    """H3: for every length of the torn last line, all lines before it are read, nothing is raised."""
    desk.journal(tmp_path).write("one.kept", MONDAY)
    path = tmp_path / "2026-W48.jsonl"
    kept = path.read_bytes()
    last = b'{"ts":"2026-11-23T00:10:00.000Z","event":"two.torn","text":"\xc3\xa9 \\u00e9 \\"x\\""}\n'
    for length in range(len(last) + 1):
        path.write_bytes(kept + last[:length])
        stats = JournalStats()
        found = names(read(tmp_path, stats=stats))
        whole = length >= len(last) - 1
        assert found == (["one.kept", "two.torn"] if whole else ["one.kept"]), length
        assert stats.torn == (0 if whole or length == 0 else 1), length


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\0" * 4096,
        b"not json",
        b"[1,2]",
        b'"text"',
        b"{}x",
        b"\xff\xfe",
        b"{" * 100_000,
        b'{"a":1}{"b":2}',
        b"12",
    ],
)
def test_corrupt_lines_are_skipped(tmp_path: Path, desk: Any, bad: bytes) -> None:
    """H3: whatever stands in a line, the ones around it are read."""
    desk.journal(tmp_path).write("one.kept", MONDAY)
    path = tmp_path / "2026-W48.jsonl"
    path.write_bytes(path.read_bytes() + bad + b"\n" + b'{"event":"two.kept"}\n')
    stats = JournalStats()
    assert names(read(tmp_path, stats=stats)) == ["one.kept", "two.kept"]
    assert stats.corrupt == (1 if bad else 0)


@given(st.binary(max_size=300))
def test_any_bytes_can_be_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """No content of a journal file raises, in any reader."""
    folder = tmp_path_factory.mktemp("j")
    (folder / "2026-W48.jsonl").write_bytes(data)
    for line in read(folder, since=5.0):
        assert isinstance(line, dict)
    _, inputs = recover(folder)
    list(inputs)
    assert next(follow(folder, 0.0, newest=3)) is None or data


def test_an_endless_line_is_bounded(tmp_path: Path, desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without line breaks is passed over in pieces, and what follows is read."""
    monkeypatch.setattr(reading, "LONGEST_LINE", 1000)
    desk.journal(tmp_path).write("one.kept", MONDAY)
    path = tmp_path / "2026-W48.jsonl"
    path.write_bytes(path.read_bytes() + b"x" * 10_000 + b"\n" + b'{"event":"two.kept"}\n')
    assert names(read(tmp_path)) == ["one.kept", "two.kept"]


def test_unreadable_files_are_counted(tmp_path: Path, desk: Any) -> None:
    """A folder or a link with a journal's name does not stop the reader."""
    desk.journal(tmp_path).write("one.kept", MONDAY)
    (tmp_path / "2026-W47.jsonl").mkdir()
    (tmp_path / "2026-W46.jsonl").symlink_to("/etc/passwd")
    stats = JournalStats()
    assert names(read(tmp_path, stats=stats)) == ["one.kept"]
    assert stats.files == 3


@pytest.mark.parametrize("line", [{}, {"ts": None}, {"ts": 5}, {"ts": "x"}, {"ts": "2026-13-01T00:00:00Z"}])
def test_a_line_without_a_time_has_time_zero(line: dict[str, Any]) -> None:
    """A reader never fails on the time of a line."""
    assert wall_of(line) == 0.0


def take(source: Iterator[dict[str, Any] | None]) -> list[str]:
    """Events up to the next pause."""
    out: list[str] = []
    for line in source:
        if line is None:
            return out
        out.append(line["event"])
    return out


def test_following_sees_each_line_once(tmp_path: Path, desk: Any) -> None:
    """Lines come once, across continuation files, week borders, retention and a torn line that is completed later."""
    journal = desk.journal(tmp_path, file_bytes=1000)
    journal.write("be.fore", SUNDAY)
    source = follow(tmp_path, 0.0)
    assert take(source) == []
    expected = []
    for number in range(40):
        journal.write(f"n.{number}", SUNDAY)
        expected.append(f"n.{number}")
    journal.write("next.week", MONDAY)
    assert take(source) == [*expected, "next.week"]
    (tmp_path / "2026-W47.jsonl").unlink()
    path = tmp_path / "2026-W48.jsonl"
    with path.open("ab") as file:
        file.write(b'{"event":"half')
        file.flush()
        assert take(source) == []
        file.write(b'.done"}\n')
    assert take(source) == ["half.done"]


def test_following_begins_with_the_newest_lines_without_a_gap(tmp_path: Path, desk: Any) -> None:
    """`newest` lines first, then what comes, with a half-written line shown once and whole."""
    journal = desk.journal(tmp_path)
    for number in range(5):
        journal.write(f"n.{number}", MONDAY)
    path = tmp_path / "2026-W48.jsonl"
    with path.open("ab") as file:
        file.write(b'{"event":"half')
        file.flush()
        source = follow(tmp_path, 0.0, newest=2)
        assert take(source) == ["n.3", "n.4"]
        file.write(b'.done"}\n')
    assert take(source) == ["half.done"]


def test_following_a_journal_that_does_not_exist_yet(tmp_path: Path, desk: Any) -> None:
    """`events -f` may be started before the daemon."""
    source = follow(tmp_path / "j", 0.0)
    assert take(source) == []
    desk.journal(tmp_path / "j").write("a.b", MONDAY)
    assert take(source) == ["a.b"]


def state_of(folder: Path) -> dict[str, int]:
    """What a restarted engine would know: each input sets its service's number."""
    snapshot, inputs = recover(folder)
    state = dict(snapshot or {})
    for entry, _, _ in inputs:
        state[entry["service"]] = entry["n"]
    return state


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(300, 3000))
def test_a_successor_knows_what_its_predecessor_knew(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], file_bytes: int
) -> None:
    """Snapshot plus inputs give exactly the state after the last line: no input lost, none applied twice to a sum.

    3 in the list: the engine is restarted. The state counts inputs, so that a doubled one would show."""
    from midwatch.record.journal import Journal

    folder = tmp_path_factory.mktemp("j")
    counts: dict[str, int] = {}

    def start() -> Journal:
        return Journal(
            folder,
            weeks=8,
            max_bytes=1 << 30,
            file_bytes=file_bytes,
            snapshot=lambda: dict(counts),
            on_trouble=pytest.fail,
        )

    journal = start()
    for number, step in enumerate(steps):
        if step == 3:
            journal.close()
            journal = start()
            continue
        service = f"s/{step}"
        counts[service] = counts.get(service, 0) + 1
        journal.write("n.n", MONDAY + number, service=service, input={"add": 1}, awake=float(number))
    journal.close()
    snapshot, inputs = recover(folder)
    found = dict(snapshot or {})
    for entry, _, _ in inputs:
        found[entry["service"]] = found.get(entry["service"], 0) + entry["add"]
    assert found == counts


def test_recovering_gives_inputs_with_their_times(tmp_path: Path, desk: Any) -> None:
    """(input with its service, awake, wall); lines without an input do not count."""
    journal = desk.journal(tmp_path)
    journal.write("a.a", MONDAY)
    journal.write("b.b", MONDAY + 1, service="x/y", input={"e": "tick"}, awake=12.5)
    journal.write("c.c", MONDAY + 2, service="x/y", fields={"input": "no dict"})
    snapshot, inputs = recover(tmp_path)
    assert snapshot == {}
    assert list(inputs) == [({"e": "tick", "service": "x/y"}, 12.5, MONDAY + 1)]


def test_recovering_without_anything(tmp_path: Path) -> None:
    """No journal: no snapshot, no inputs."""
    snapshot, inputs = recover(tmp_path / "absent")
    assert snapshot is None
    assert list(inputs) == []


def test_the_newest_file_having_a_snapshot_counts(tmp_path: Path, desk: Any) -> None:
    """When the newest file's opening line is damaged, the one before serves, and the inputs of both follow."""
    desk.state = {"s": 1}
    journal = desk.journal(tmp_path)
    journal.write("a.a", SUNDAY, input={"n": 1}, awake=1.0)
    journal.write("b.b", SUNDAY, input={"n": 2}, awake=2.0)
    journal.write("c.c", MONDAY, input={"n": 3}, awake=3.0)
    journal.write("d.d", MONDAY, input={"n": 4}, awake=4.0)
    path = tmp_path / "2026-W48.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0][:40] + b"\n", *lines[1:]]))
    snapshot, inputs = recover(tmp_path)
    assert snapshot == {"s": 1}
    assert [entry["n"] for entry, _, _ in inputs] == [2, 3, 4]


def test_a_torn_opening_line_is_as_if_it_were_not_there(tmp_path: Path, desk: Any) -> None:
    """Killed while opening a file: the snapshot before it is used; the next engine goes on."""
    desk.state = {"s": 1}
    desk.journal(tmp_path).write("a.a", SUNDAY, input={"n": 1}, awake=1.0)
    (tmp_path / "2026-W48.jsonl").write_bytes(
        b'{"ts":"2026-11-23T00:10:00.000Z","event":"journal.opened","numb'
    )
    assert recover(tmp_path)[0] == {"s": 1}
    desk.state = {"s": 2}
    desk.journal(tmp_path).write("b.b", MONDAY, input={"n": 2}, awake=2.0)
    snapshot, inputs = recover(tmp_path)
    assert snapshot == {"s": 2}
    assert list(inputs) == []


def test_a_service_cannot_forge_a_snapshot(tmp_path: Path, desk: Any) -> None:
    """Text that looks like an opening line is data: quotes in it are escaped."""
    forged = json.dumps({"event": HEADER, "snapshot": {"evil": 1}}, separators=(",", ":"))
    desk.state = {"s": 1}
    journal = desk.journal(tmp_path)
    journal.write("run.tail", MONDAY, fields={"text": "\n" + forged + "\n"})
    found = newest_snapshot(tmp_path)
    assert found is not None
    assert found.value == {"s": 1}
    assert len(list(read(tmp_path))) == 1


def test_a_checkpoint_spares_the_successor_the_way(tmp_path: Path, desk: Any) -> None:
    """After `checkpoint` nothing before it has to be read again."""
    journal = desk.journal(tmp_path)
    journal.checkpoint()
    journal.write("a.a", MONDAY, input={"n": 1}, awake=1.0)
    journal.write("a.a", MONDAY, input={"n": 2}, awake=1.0)
    desk.state = {"n": 2}
    journal.checkpoint()
    journal.write("a.a", MONDAY, input={"n": 3}, awake=1.0)
    snapshot, inputs = recover(tmp_path)
    assert snapshot == {"n": 2}
    assert [entry["n"] for entry, _, _ in inputs] == [3]
