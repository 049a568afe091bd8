"""The undo list: enough to start again, private, bounded."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from tests.inspect.played import proc

from midwatch.inspect.sources.live import Live
from midwatch.inspect.sweep.undo import document, entries, write
from midwatch.model.look import Leftover
from midwatch.policy.defaults_inspect import SWEEP_UNDO, SWEEP_UNDO_BYTES


def test_a_list_has_what_is_needed() -> None:
    """Command, folder, program and the names of variables of a living process; never a value."""
    me = proc(os.getpid(), "python -m x --token=sk-live-1234567890abcdef1234")
    os.environ["A_SECRET_OF_MINE"] = "hunter2"
    (row,) = entries(Live(), [Leftover(me, "r", ("p",))])
    assert row["cwd"] == os.getcwd()
    assert "PATH" in row["variables"]
    assert "hunter2" not in json.dumps(row)
    assert "sk-live" not in row["command"]
    assert row["complete"] is False


def test_old_lists_are_removed(tmp_path: Path) -> None:
    """And each is 0600."""
    for at in range(SWEEP_UNDO + 3):
        path = write(tmp_path, "sweep", [], 1_800_000_000 + at)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(list((tmp_path / "undo").iterdir())) == SWEEP_UNDO


def test_two_in_one_second(tmp_path: Path) -> None:
    """Neither overwrites the other."""
    assert write(tmp_path, "sweep", [], 1.0) != write(tmp_path, "sweep", [], 1.0)


def test_a_list_is_bounded() -> None:
    """What does not fit is counted."""
    rows = [{"command": "x" * 10_000, "n": n} for n in range(1000)]
    told = json.loads(document("sweep", rows, 1.0))
    assert len(document("sweep", rows, 1.0)) < 1.2 * SWEEP_UNDO_BYTES
    assert told["left_out"] == 1000 - len(told["processes"])
    assert told["left_out"] > 0
