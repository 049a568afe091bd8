"""Writing the journal: lines, files, snapshots, repair, and never raising."""

from __future__ import annotations

import json
import os
import stat
from calendar import timegm
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.record.journal import HEADER, read, recover
from midwatch.record.lines import LINE_BYTES, Clock, encode

NOON = float(timegm((2026, 11, 21, 12, 0, 0)))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_has_its_fields_in_order(tmp_path: Path, desk: Any) -> None:
    """1.8: ts (ISO-8601 UTC, ms), event, service, run_id, then the event's own fields, the input and its time."""
    journal = desk.journal(tmp_path / "j")
    fields = {"pid": 7, "code": 1}
    journal.write(
        "run.exited", NOON + 0.25, service="a/b", run="a.b.1", fields=fields, input={"e": "x"}, awake=1.5
    )
    opened, line = lines_of(tmp_path / "j" / "2026-W47.jsonl")
    assert list(line) == ["ts", "event", "service", "run_id", "pid", "code", "input", "awake"]
    assert line["ts"] == "2026-11-21T12:00:00.250Z"
    assert opened["event"] == HEADER
    assert opened["version"] == 1
    assert opened["snapshot"] == {}


def test_files_are_private(tmp_path: Path, desk: Any) -> None:
    """Files are 0600 and folders 0700, whatever the umask."""
    before = os.umask(0)
    try:
        desk.journal(tmp_path / "new" / "j").write("a.b", NOON)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "new" / "j").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "new" / "j" / "2026-W47.jsonl").stat().st_mode) == 0o600


def test_the_event_decides_the_file(tmp_path: Path, desk: Any) -> None:
    """H1: an event of 2027-01-01 goes to 2026-W53, the one of 2027-01-04 to 2027-W01; each file has a snapshot."""
    journal = desk.journal(tmp_path)
    journal.write("one.first", timegm((2027, 1, 1, 0, 0, 0)))
    journal.write("one.last", timegm((2027, 1, 3, 23, 59, 59)) + 0.999)
    journal.write("two.first", timegm((2027, 1, 4, 0, 0, 0)))
    assert [line["event"] for line in lines_of(tmp_path / "2026-W53.jsonl")] == [
        HEADER,
        "one.first",
        "one.last",
    ]
    assert [line["event"] for line in lines_of(tmp_path / "2027-W01.jsonl")] == [HEADER, "two.first"]


def test_a_clock_that_goes_back_loses_nothing(tmp_path: Path, desk: Any) -> None:
    """A clock set back over a week border: every line is kept, and the newest snapshot is still the last written."""
    journal = desk.journal(tmp_path)
    for number, wall in enumerate([NOON, NOON + 8 * 86400, NOON + 1, NOON + 8 * 86400 + 1]):
        desk.state = {"number": number}
        journal.write("tick.tock", wall, fields={"number": number}, input={"n": number}, awake=float(number))
    assert sorted(line["number"] for line in read(tmp_path)) == [0, 1, 2, 3]
    snapshot, inputs = recover(tmp_path)
    assert snapshot == {"number": 3}
    assert list(inputs) == []


def test_a_full_file_is_continued(tmp_path: Path, desk: Any) -> None:
    """Files are continued by size as .2, .3 ... and read in order."""
    journal = desk.journal(tmp_path, file_bytes=2000)
    for number in range(100):
        journal.write("tick.tock", NOON, fields={"number": number})
    files = sorted(p.name for p in tmp_path.iterdir())
    assert "2026-W47.2.jsonl" in files
    assert all(path.stat().st_size <= 2000 + 200 for path in tmp_path.iterdir())
    assert [line["number"] for line in read(tmp_path)] == list(range(100))


def test_a_snapshot_larger_than_a_file_does_not_make_a_file_a_line(tmp_path: Path, desk: Any) -> None:
    """The size limit grows with the snapshot, so that most of a file is lines."""
    desk.state = {"big": "x " * 5000}
    journal = desk.journal(tmp_path, file_bytes=1000)
    for number in range(200):
        journal.write("tick.tock", NOON, fields={"number": number})
    assert len(list(tmp_path.iterdir())) <= 2


def test_the_snapshot_is_not_cut(tmp_path: Path, desk: Any) -> None:
    """A snapshot of many services is longer than a line may be and stays whole."""
    desk.state = {f"s{n}": {"text": "y" * 100} for n in range(3000)}
    desk.journal(tmp_path).write("a.b", NOON)
    assert recover(tmp_path)[0] == desk.state


@pytest.mark.parametrize("cut", [1, 5, 60, 10_000])
def test_a_torn_last_line_is_repaired_on_open(tmp_path: Path, desk: Any, cut: int) -> None:
    """H3: after a torn line the next one starts on a fresh line; both neighbours are read."""
    journal = desk.journal(tmp_path)
    journal.write("one.kept", NOON)
    journal.write("two.torn", NOON, fields={"text": "z" * 50})
    journal.close()
    path = tmp_path / "2026-W47.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[: max(len(data) - cut, data.rindex(b"\n", 0, -1) + 3)])
    desk.journal(tmp_path).write("three.kept", NOON)
    events = [line["event"] for line in read(tmp_path)]
    assert events[0] == "one.kept"
    assert events[-1] == "three.kept"
    assert events[1:-1] == (["two.torn"] if cut == 1 else [])


def test_a_restart_goes_on_in_the_same_file(tmp_path: Path, desk: Any) -> None:
    """100 restarts make neither 100 files nor 100 snapshots."""
    for number in range(100):
        journal = desk.journal(tmp_path)
        journal.write("engine.restarted", NOON, fields={"number": number})
        journal.close()
    assert len(list(tmp_path.iterdir())) == 1
    assert desk.snapshots == 1
    assert len(list(read(tmp_path))) == 100


def test_a_restart_after_a_long_tail_takes_a_new_snapshot(tmp_path: Path, desk: Any) -> None:
    """A successor never has to read much more than 256 KiB of inputs again."""
    journal = desk.journal(tmp_path)
    for number in range(400):
        journal.write(
            "tick.tock", NOON, fields={"text": "x" * 1000, "number": number}, input={"n": number}, awake=1.0
        )
    journal.close()
    desk.state = {"all": 400}
    journal = desk.journal(tmp_path)
    journal.write("tick.tock", NOON, input={"n": 401}, awake=2.0)
    journal.write("tick.tock", NOON, input={"n": 402}, awake=3.0)
    snapshot, inputs = recover(tmp_path)
    assert snapshot == {"all": 400}
    assert [entry["n"] for entry, _, _ in inputs] == [402]


def test_a_removed_file_is_made_again(tmp_path: Path, desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody deletes the journal under us: within a second lines go to a new file."""
    clock = [100.0]
    monkeypatch.setattr("midwatch.record.journalfile.time.monotonic", lambda: clock[0])
    journal = desk.journal(tmp_path / "j")
    journal.write("a.b", NOON)
    for path in (tmp_path / "j").iterdir():
        path.unlink()
    (tmp_path / "j").rmdir()
    clock[0] += 1.0
    journal.write("c.d", NOON)
    assert [line["event"] for line in read(tmp_path / "j")] == ["c.d"]


@pytest.mark.parametrize("kind", ["link", "folder", "fifo"])
def test_what_is_not_ours_is_not_written_to(tmp_path: Path, desk: Any, kind: str) -> None:
    """A symbolic link, folder or FIFO planted at our path is passed over, not followed and not waited for."""
    (tmp_path / "j").mkdir()
    planted = tmp_path / "j" / "2026-W47.jsonl"
    victim = tmp_path / "victim"
    victim.write_text("precious")
    if kind == "link":
        planted.symlink_to(victim)
    elif kind == "folder":
        planted.mkdir()
    else:
        os.mkfifo(planted)
    desk.journal(tmp_path / "j").write("a.b", NOON)
    assert victim.read_text() == "precious"
    assert [line["event"] for line in lines_of(tmp_path / "j" / "2026-W47.2.jsonl")] == [HEADER, "a.b"]
    assert desk.troubles == []


AWKWARD: list[Any] = [
    "\ud800 lone surrogate",
    {1, 2, 3},
    {"a": {"b": object}},
    10**400,
    float("nan"),
    float("inf"),
    b"\xff\xfe",
    {("tuple", "key"): 1},
    [[[[[[["deep"]]]]]]],
    Path("/x"),
]


@pytest.mark.parametrize("value", AWKWARD, ids=[str(n) for n in range(len(AWKWARD))])
def test_what_cannot_be_encoded_costs_a_field_not_the_event(tmp_path: Path, desk: Any, value: Any) -> None:
    """`write` never raises; the line stays one valid JSON object with its event."""
    journal = desk.journal(tmp_path)
    journal.write("odd.value", NOON, service="a/b", fields={"value": value, "good": 1})
    (line,) = read(tmp_path)
    assert line["event"] == "odd.value"
    assert line["service"] == "a/b"
    assert line["good"] == 1


def test_a_cycle_costs_a_field_not_the_event(tmp_path: Path, desk: Any) -> None:
    """A structure that contains itself does not stop the record."""
    cycle: dict[str, Any] = {}
    cycle["me"] = cycle
    desk.journal(tmp_path).write("odd.value", NOON, fields={"value": cycle, "good": 1})
    (line,) = read(tmp_path)
    assert line["good"] == 1


@pytest.mark.parametrize("wall", [float("nan"), float("inf"), -1e30, 1e18, 1e12])
def test_an_impossible_time_becomes_the_present(tmp_path: Path, desk: Any, wall: float) -> None:
    """An event whose time is none is written with the present one."""
    desk.journal(tmp_path).write("odd.time", wall)
    (line,) = read(tmp_path)
    assert line["ts"].startswith("20")


def test_a_field_does_not_replace_the_event(tmp_path: Path, desk: Any) -> None:
    """`event` and `ts` are the journal's."""
    desk.journal(tmp_path).write("true.name", NOON, fields={"event": "false.name"})
    (line,) = read(tmp_path)
    assert line["event"] == "true.name"


def test_long_values_are_cut_and_the_line_stays_bounded(tmp_path: Path, desk: Any) -> None:
    """A line has at most 64 KiB; what was cut says so."""
    journal = desk.journal(tmp_path)
    journal.write("run.tail", NOON, service="a/b", fields={"text": "x" * 1_000_000, "pid": 5})
    journal.write("run.list", NOON, fields={"items": list(range(100_000)), "more": {"a": ["y" * 5000] * 500}})
    for raw in (tmp_path / "2026-W47.jsonl").read_bytes().splitlines(keepends=True):
        assert len(raw) <= LINE_BYTES + 40
    tail, items = read(tmp_path)
    assert tail["text"].endswith("characters cut]")
    assert tail["pid"] == 5
    assert "cut" in str(items["items"][-1])


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), values, max_size=5))
def test_any_value_makes_one_line(line: dict[str, Any]) -> None:
    """Whatever comes: exactly one line feed, at its end, and a JSON object before it."""
    data = encode({"event": "a.b", **line})
    assert data.count(b"\n") == 1
    assert data.endswith(b"\n")
    assert isinstance(json.loads(data), dict)


@given(st.floats(min_value=0, max_value=4e9))
def test_stamps_are_monotonic_text(wall: float) -> None:
    """The text of a later time sorts later, and reads back within a millisecond."""
    from midwatch.record.journal import wall_of

    clock = Clock()
    first, second = clock.stamp(wall), clock.stamp(wall + 0.002)
    assert first < second
    assert abs(wall_of({"ts": first}) - wall) < 0.0011


def test_a_failing_snapshot_and_a_failing_listener_stop_nothing(tmp_path: Path) -> None:
    """Neither `snapshot` nor `on_trouble` can break the record by raising."""
    from midwatch.record.journal import Journal

    def broken(*_: Any) -> Any:
        raise RuntimeError("no")

    journal = Journal(
        tmp_path, weeks=1, max_bytes=10**6, file_bytes=10**5, snapshot=broken, on_trouble=broken
    )
    journal.write("a.b", NOON)
    journal.close()
    assert [line["event"] for line in read(tmp_path)] == ["a.b"]
    assert journal.unheard == 1


def test_secrets_never_reach_the_disk(tmp_path: Path, desk: Any) -> None:
    """H8: secrets in argv, env, messages, inputs and snapshots appear in no journal file."""
    planted = ["hunter2secret", "sk-live-abcdef123456", "ghp_0123456789abcdefghij"]
    desk.state = {"probe": {"http": "http://user:hunter2secret@127.0.0.1/health"}}
    journal = desk.journal(tmp_path)
    journal.write(
        "run.spawning",
        NOON,
        fields={
            "argv": ["psql", "postgres://user:hunter2secret@db/x", "--token", "hunter2secret"],
            "env": {"HARMLESS": "hunter2secret"},
            "message": "export API_KEY=hunter2secret and sk-live-abcdef123456",
        },
        input={"e": "spawn_failed", "message": "token=ghp_0123456789abcdefghij"},
    )
    data = (tmp_path / "2026-W47.jsonl").read_text()
    assert not [secret for secret in planted if secret in data]
    assert "HARMLESS" in data
