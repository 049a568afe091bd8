"""DOC-12: leftovers with real orphans, idle sessions under a living parent (scenario 55)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.inspect.doctor.machines import NOW, Machine, ctx, proc

from midwatch.inspect.doctor import tasks
from midwatch.inspect.doctor.run import run
from midwatch.inspect.sources import Table
from midwatch.inspect.sources.live import Live
from midwatch.inspect.sources.recorded import Recorded
from midwatch.model.look import Checked, Leftover

GIB = 1 << 30


@pytest.mark.parametrize(
    ("age", "held", "status"),
    [(300, 5, "pass"), (500, 5, "warn"), (4000, 5, "fail"), (500, 2 * GIB, "fail")],
)
def test_leftover_tasks_by_age_and_memory(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, age: float, held: int, status: str
) -> None:
    """Older than 7 minutes warns, than an hour or over 1 GiB fails; younger ones are only counted."""
    left = Leftover(
        proc(7, "npx some-mcp", started=NOW - age, held=held), "its session ended", ("stdin is at its end",)
    )
    monkeypatch.setattr(tasks, "find", lambda *_: [left])
    (found,) = run(ctx(machine), [tasks.CHECK])
    assert found.status == status
    if status != "pass":
        assert found.hint == "midwatch sweep"
        assert found.evidence["proofs"] == [["stdin is at its end"]]


def test_a_pile_under_a_living_parent_only_warns(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody can prove is a warning with a dry run, however large."""
    left = Leftover(
        proc(7, "npx x", started=NOW - 9000, held=3 * GIB), "copy", ("one of 9",), "x below codex", False, "again"
    )
    monkeypatch.setattr(tasks, "find", lambda *_: [left] * 60)
    (found,) = run(ctx(machine), [tasks.CHECK])
    assert (found.status, found.hint) == ("warn", "midwatch sweep --dry-run")
    assert len(found.offenders) == 50


def test_an_orphan_that_listens_is_no_pile(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is offered apart because somebody may come has no living parent, and is not said to have one."""
    left = Leftover(proc(7, "npx x", started=NOW - 9000), "MCP server without a client", (), "x", False)
    monkeypatch.setattr(tasks, "find", lambda *_: [left])
    (found,) = run(ctx(machine), [tasks.CHECK])
    assert found.status == "warn"
    assert "may still need them" in found.message
    assert "living parent" not in found.message


def _recording(folder: Path, sessions: int) -> Recorded:
    """F-23: an agent's server with so many sessions, a terminal with a shell, a service."""
    rows = ["pid ppid pgid sid uid etimes rss state tty args", "1 0 1 1 0 900000 9000 S ?? /sbin/launchd",
            "50 1 50 50 501 90000 50000 S ?? /Applications/Claude.app/Contents/MacOS/Claude",
            "60 1 60 60 501 90000 5000 S ?? /Applications/iTerm.app/Contents/MacOS/iTerm2",
            "61 60 61 61 501 90000 5000 S ttys001 -zsh",
            "70 1 70 70 501 900000 90000 S ?? /opt/venv/bin/python /srv/web/server.py"]  # fmt: skip
    for number in range(sessions):
        pid = 1000 + 10 * number
        rows.append(
            f"{pid} 50 {pid} {pid} 501 20000 700000 {'R' if number == 0 else 'S'} ?? claude --resume {number}"
        )
        rows.append(f"{pid + 1} {pid} {pid} {pid} 501 19990 95000 S ?? npm exec some-mcp@latest")
    (folder / "platform").write_text("darwin")
    (folder / "now").write_text("2026-03-02T10:20:00+01:00")
    (folder / "ps.txt").write_text("\n".join(rows) + "\n")
    return Recorded(folder)


def _idle(found: list[Checked]) -> list[Checked]:
    return [one for one in found if "sessions" in one.evidence]


def test_idle_sessions_under_a_living_parent_are_found(tmp_path: Path) -> None:
    """Scenario 55: 39 idle session trees of a living app are found; the active one, terminal and service are not."""
    (found,) = _idle(run(ctx(_recording(tmp_path, 40)), [tasks.CHECK]))
    assert found.evidence["sessions"] == 39
    assert found.status == "fail"  # 31 GB
    named = {one.pid for one in found.offenders}
    assert named == {1000 + 10 * number for number in range(1, 40)}
    assert not named & {50, 60, 61, 70, 1000}
    assert found.source == "file"


def test_a_few_idle_sessions_are_usual(tmp_path: Path) -> None:
    """Four open sessions are how people work."""
    assert not _idle(run(ctx(_recording(tmp_path, 4)), [tasks.CHECK]))


@pytest.mark.skipif(sys.platform != "linux", reason="real orphans as Linux has them")
def test_a_real_orphan_is_found_with_its_proof(tmp_path: Path) -> None:
    """A real MCP server whose client has ended: after a quarter of an hour it warns, with pid and proof."""
    server = tmp_path / "node_modules/.bin/chrome-devtools-mcp"
    server.parent.mkdir(parents=True)
    server.write_text("import time; time.sleep(300)")
    pipes = "stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True"
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, {str(server)!r}], {pipes}).pid)"
    client = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    pid = int(client.stdout)
    try:

        class Later(Live):
            def now(self) -> float:
                return time.time() + 900

            def table(self) -> Table:
                return Table(super().table().procs, self.now())

        found = [one for one in run(ctx(Later()), [tasks.CHECK]) if pid in {who.pid for who in one.offenders}]
        assert [one.status for one in found] in (["warn"], ["fail"])  # others' leftovers may be older
        assert "nobody owns any more" in found[0].message
    finally:
        os.kill(pid, 9)
