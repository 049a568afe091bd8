"""Wide pipes: a quarter of the user's share for all of ours, and all of it comes back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from midwatch.bounded import pipes, run
from midwatch.policy import defaults_bounded as d

pytestmark = pytest.mark.usefixtures("home")


def test_no_more_than_a_quarter_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Design 5: beyond the kernel's line every new pipe of that user shrinks to 8 KiB."""
    (tmp_path / "soft").write_text("2048\n")  # 8 MiB: room for two of ours
    monkeypatch.setattr(pipes, "_SOFT", str(tmp_path / "soft"))
    made = [os.pipe() for _ in range(4)]
    got = [pipes.widen(pair[0]) for pair in made]
    try:
        assert got == [d.PIPE_BYTES, d.PIPE_BYTES, 0, 0]
        assert run("seq 1 20000").lines_total == 20_000  # it goes on with an ordinary one
        pipes.give_back(got[0])
        assert pipes.widen(made[2][0]) == d.PIPE_BYTES
    finally:
        pipes.give_back(got[1] + d.PIPE_BYTES)
        for fd in (fd for pair in made for fd in pair):
            os.close(fd)


def test_each_run_gives_its_pipes_back() -> None:
    before = pipes._wide
    run("seq 1 30000")
    run("seq 1 30000", streams="split")
    run("seq 1 30000; sleep 0.5", timeout=0.2)
    run(["no-such-command"])
    assert pipes._wide == before == 0
