"""Run records: made atomically, updated without a torn moment, read back whatever is in the folder."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midwatch.record import runs as runs_module
from midwatch.record.flush import Flusher
from midwatch.record.runs import RunProblem, RunRecord, RunRecords, RunStream


def record(run: str = "shop.web.1", **more: Any) -> RunRecord:
    return RunRecord(
        run=run,
        service="shop/web",
        boot="0f7e",
        spawned_wall=1e9,
        spawned_awake=5.5,
        marker="outer/inner",
        kill_dir="/sys/fs/cgroup/x",
        streams={"out": RunStream("/run/midwatch/fifo/x", "/state/logs/x.0.log")},
        gate=True,
        **more,
    )


def fill(path: Path) -> None:
    """Take all room that is left."""
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        for _ in range(100_000):
            file.write(b"x" * 512)


def test_records_read_back(tmp_path: Path) -> None:
    """What was saved is loaded, oldest spawn first, also after updates; removed ones are gone."""
    records = RunRecords(tmp_path / "runs")
    first, second = record("a.b.2", pid=5, start=77, state="running"), record("a.b.1")
    for item in (record("a.b.2"), first, second, record("a.b.3")):
        assert records.save(item)
    assert records.remove("a.b.3")
    assert records.remove("never.was.1")
    assert RunRecords(tmp_path / "runs").load() == ([second, first], [])
    assert stat.S_IMODE((tmp_path / "runs").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "runs" / "a.b.1.json").stat().st_mode) == 0o600


def test_a_shorter_record_covers_a_longer_one(tmp_path: Path) -> None:
    """In-place updates never leave the end of an older record behind."""
    records = RunRecords(tmp_path)
    for length in (10, 3000, 100, 6000, 10, 700, 500):
        item = msgspec.structs.replace(record(), marker="m" * length)
        records.save(item)
        assert records.load() == ([item], [])


def test_a_record_torn_at_any_byte_is_a_problem_with_its_run(tmp_path: Path) -> None:
    """For every length of the file: the other record is loaded, the torn one names its run, nothing is raised."""
    records = RunRecords(tmp_path)
    records.save(record("a.b.1"))
    records.save(record("a.b.2"))
    path = tmp_path / "a.b.2.json"
    data = path.read_bytes()
    whole = len(data.rstrip())
    for length in range(len(data)):
        path.write_bytes(data[:length])
        found, problems = records.load()
        assert len(found) == (1 if length < whole else 2), length
        assert [problem.run for problem in problems] == (["a.b.2"] if length < whole else []), length


@pytest.mark.parametrize(
    "garbage",
    [b"\0" * 512, b"[]", b"null", b'{"run":"a.b.2"}', b"\xff", b"x" * 100_000, b"[" * 50_000],
    ids=lambda g: g[:16].decode(errors="replace") + str(len(g)),
)
def test_garbage_is_a_problem(tmp_path: Path, garbage: bytes) -> None:
    """A file that is no record never raises."""
    (tmp_path / "a.b.2.json").write_bytes(garbage)
    found, (problem,) = RunRecords(tmp_path).load()
    assert found == []
    assert problem.run == "a.b.2"


def test_a_record_under_another_name_is_a_problem(tmp_path: Path) -> None:
    """A copied file must not make one run look like two."""
    records = RunRecords(tmp_path)
    records.save(record("a.b.1"))
    (tmp_path / "a.b.2.json").write_bytes((tmp_path / "a.b.1.json").read_bytes())
    found, problems = records.load()
    assert [item.run for item in found] == ["a.b.1"]
    assert problems == [RunProblem(str(tmp_path / "a.b.2.json"), "a.b.2", "names another run: a.b.1")]


def test_odd_things_in_the_folder(tmp_path: Path) -> None:
    """Links, folders and FIFOs are problems; leftovers of an interrupted write are removed; strangers are left."""
    records = RunRecords(tmp_path)
    records.save(record("a.b.1"))
    (tmp_path / "a.b.2.json").symlink_to(tmp_path / "a.b.1.json")
    (tmp_path / "a.b.3.json").mkdir()
    os.mkfifo(tmp_path / "a.b.4.json")
    (tmp_path / "a.b.5.json.tmp").write_text("half")
    (tmp_path / "notes.txt").write_text("mine")
    found, problems = records.load()
    assert [item.run for item in found] == ["a.b.1"]
    assert [problem.run for problem in problems] == ["a.b.2", "a.b.3", "a.b.4"]
    assert not (tmp_path / "a.b.5.json.tmp").exists()
    assert (tmp_path / "notes.txt").exists()


def test_a_symbolic_link_is_replaced_not_followed(tmp_path: Path) -> None:
    """A link planted at a record's path or at its temporary path: its target stays as it was."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "a.b.1.json").symlink_to(victim)
    (folder / "a.b.1.json.tmp").symlink_to(victim)
    records = RunRecords(folder)
    assert records.save(record("a.b.1"))
    assert victim.read_text() == "precious"
    assert records.load() == ([record("a.b.1")], [])


def test_a_hard_link_is_not_written_through(tmp_path: Path) -> None:
    """A second name for a record's file: the update makes a file of its own."""
    records = RunRecords(tmp_path)
    records.save(record("a.b.1"))
    os.link(tmp_path / "a.b.1.json", tmp_path / "other")
    before = (tmp_path / "other").read_bytes()
    records.save(record("a.b.1", pid=3))
    assert (tmp_path / "other").read_bytes() == before


def test_run_ids_cannot_leave_the_folder(tmp_path: Path) -> None:
    """A slash in a run id is a mistake of the caller and is refused."""
    for run in ("../x", "a/b", "", ".x", "a\0b"):
        with pytest.raises(ValueError, match="run id"):
            RunRecords(tmp_path).save(record(run))


def test_a_full_disk_still_takes_updates(mount: Callable[[str], Path]) -> None:
    """Full disk: a record that exists can be updated; a new one is kept in memory, said once, and written later."""
    disk = mount("size=64k")
    said: list[str] = []
    records = RunRecords(disk / "runs", on_trouble=said.append)
    assert records.save(record("a.b.1"))
    fill(disk / "more")
    assert records.save(record("a.b.1", pid=9, state="running"))
    assert not records.save(record("a.b.2"))
    assert not records.save(record("a.b.3"))
    assert records.refused == ("a.b.2", "a.b.3")
    assert len(said) == 1
    assert [item.pid for item in records.load()[0]] == [9]
    (disk / "more").unlink()
    assert records.save(record("a.b.4"))
    assert not records.refused
    assert [item.run for item in records.load()[0]] == ["a.b.1", "a.b.2", "a.b.3", "a.b.4"]


def test_a_read_only_disk_is_remembered(
    mount: Callable[[str], Path], remount: Callable[[Path, str], None]
) -> None:
    """Read-only state folder: saves and removals are kept and done when it is writable again."""
    disk = mount("size=1m")
    records = RunRecords(disk)
    records.save(record("a.b.1"))
    remount(disk, "ro")
    assert not records.save(record("a.b.2"))
    assert not records.remove("a.b.1")
    assert not records.retry()
    remount(disk, "rw")
    assert records.retry()
    assert [item.run for item in records.load()[0]] == ["a.b.2"]


def test_a_run_removed_while_refused_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that waits for the disk is forgotten when its run has ended."""

    def refuse(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    records = RunRecords(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr("midwatch.record.runs.open_fresh", refuse)
        assert not records.save(record("a.b.1"))
    records.remove("a.b.1")
    assert records.retry()
    assert records.load() == ([], [])


def test_a_flushed_record_reaches_the_helper(tmp_path: Path) -> None:
    """flush=True asks the fsync thread for the file and its folder, and does not wait."""
    asked: list[tuple[str, bool]] = []

    class Ear(Flusher):
        def ask(self, path: str | Path, *, folder: bool = False) -> None:
            asked.append((str(path), folder))

    records = RunRecords(tmp_path, flusher=Ear())
    records.save(record("a.b.1"), flush=True)
    records.save(record("a.b.2"))
    assert asked == [(str(tmp_path / "a.b.1.json"), True)]


def test_an_unreadable_folder_is_a_problem(tmp_path: Path) -> None:
    """A file where the folder should be: one problem, nothing raised; no folder at all: nothing to load."""
    (tmp_path / "runs").write_text("x")
    found, (problem,) = RunRecords(tmp_path / "runs").load()
    assert found == []
    assert "cannot read" in problem.message
    assert RunRecords(tmp_path / "absent").load() == ([], [])


def test_the_number_of_records_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with far too many files is read up to the bound, and that is said."""
    monkeypatch.setattr(runs_module, "MOST_RUNS", 3)
    records = RunRecords(tmp_path)
    for number in range(5):
        records.save(record(f"a.b.{number}"))
    found, (problem,) = records.load()
    assert len(found) == 3
    assert "more than 3 files" in problem.message
