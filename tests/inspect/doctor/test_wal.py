"""DOC-23: write-ahead logs, with real SQLite connections and recorded sizes."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

import pytest
from tests.inspect.doctor.machines import Machine, ctx, proc

from midwatch.inspect.doctor import wal
from midwatch.inspect.doctor.run import run
from midwatch.inspect.sources.live import Live
from midwatch.model.look import Checked

MIB = 1 << 20


def bad(results: list[Checked]) -> list[Checked]:
    return [one for one in results if one.status in ("warn", "fail")]


@pytest.mark.parametrize(
    ("db", "log", "status"), [(1024, 70, "warn"), (1024, 600, "fail"), (1024, 10, ""), (4096, 1100, "fail")]
)
def test_sizes_of_the_scenario(machine: Machine, db: int, log: int, status: str) -> None:
    """Scenario 39: 70 MiB warns "not truncated", 600 MiB of a 1 GiB database fails; the advice keeps WAL mode."""
    machine.add(proc(5, "python app.py"))
    machine.links = {
        "/proc/5/fd/7": "/d/state.db",
        "/proc/5/fd/8": "/d/state.db-wal",
        "/proc/5/fd/9": "/d/state.db-wal",
    }
    machine.sizes = {"/d/state.db": db * MIB, "/d/state.db-wal": log * MIB}
    found = bad(run(ctx(machine), [wal.CHECK]))
    assert [one.status for one in found] == ([status] if status else [])
    if status:
        assert found[0].evidence["connections"] == 2  # FDW-7: -wal descriptors
        assert "journal_mode" not in found[0].hint


def test_a_network_disk_is_no_place_for_a_wal(machine: Machine) -> None:
    """WAL-5: nfs, virtiofs and their like fail; a folder beside the mount does not."""
    machine.put("/proc/mounts", "a:/b /mnt/share nfs4 rw 0 0\nproc /proc proc rw 0 0\n")
    machine.add(proc(5, "python app.py"))
    machine.links = {"/proc/5/fd/8": "/mnt/share/x.db-wal", "/proc/5/fd/9": "/mnt/shared/y.db-wal"}
    machine.sizes = dict.fromkeys(
        ("/mnt/share/x.db", "/mnt/share/x.db-wal", "/mnt/shared/y.db", "/mnt/shared/y.db-wal"), 5
    )
    (found,) = bad(run(ctx(machine), [wal.CHECK]))
    assert found.message.startswith("/mnt/share/x.db is in WAL mode on nfs4")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/PID/fd")
def test_a_real_deleted_log_fails(tmp_path: Path) -> None:
    """Scenario 41: a real connection whose log was deleted under it; before that it is calm."""
    path = tmp_path / "state.db"
    db = sqlite3.connect(path)
    try:
        db.execute("pragma journal_mode=wal")
        db.execute("create table t(x)")
        db.commit()
        mine = [one for one in run(ctx(Live()), [wal.CHECK]) if str(path) in one.message]
        assert not mine
        os.unlink(f"{path}-wal")
        (found,) = [one for one in bad(run(ctx(Live()), [wal.CHECK])) if str(path) in one.message]
        assert found.status == "fail"
        assert found.offenders[0].pid == os.getpid()
    finally:
        db.close()
