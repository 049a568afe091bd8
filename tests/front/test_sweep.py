"""`midwatch sweep` as a person types it, over a played machine: what is shown, asked, refused and ended."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from midwatch.front.cli import main, sweep
from midwatch.front.cli.sweep import Seen
from midwatch.inspect.ours import Ours
from midwatch.inspect.sources import Table
from midwatch.inspect.sources.live import Live
from midwatch.model.look import Leftover, Proc

NOW = 1_800_000_000.0


def proc(pid: int, *words: str, ppid: int = 1, held: int = 50 << 20) -> Proc:
    return Proc(
        pid,
        7,
        ppid,
        pid,
        pid,
        os.geteuid(),
        words[0],
        words,
        started=NOW - 90_000,
        held=held,
        quality="exact",
    )


PROOF = ("whoever started it has ended: its parent is now pid 1", "no client is left, and none can ever come")
ONE = Leftover(
    proc(11, "npx", "x-mcp", "--api-key=sk-live-1234567890abcdef"),
    "MCP server without a client",
    PROOF,
    "x-mcp",
)
CHILD = Leftover(
    proc(12, "node", "x-mcp", ppid=11), "MCP server without a client", ("child of pid 11",), "x-mcp"
)
PILE = Leftover(
    proc(20, "y-mcp", ppid=9), "one of 84 copies of y-mcp", ("below codex",), "y-mcp below codex (pid 9)", False,
    "codex (pid 9) starts it again",
)  # fmt: skip
LISTENS = Leftover(proc(30, "vite"), "task of claude", ("it listens (port 3000)",), "vite", False)
ALL = [ONE, CHILD, LISTENS, PILE]


class Hands:
    def __init__(self) -> None:
        self.sent: list[tuple[int, int]] = []

    def send(self, one: Proc, signum: int) -> bool:
        self.sent.append((one.pid, signum))
        return True

    def alive(self, one: Proc) -> bool:
        return one.pid not in {pid for pid, _ in self.sent}


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch, home: Path) -> Hands:
    made = Hands()
    table = Table({one.proc.pid: one.proc for one in ALL} | {9: proc(9, "codex")}, NOW)
    monkeypatch.setattr(sweep, "ours", Ours)
    monkeypatch.setattr(sweep, "look", lambda known: Seen(Live(), table, ALL))
    monkeypatch.setattr(sweep, "hands", lambda: made)
    return made


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main.main(["sweep", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_dry_run_shows_everything_and_touches_nothing(
    hands: Hands, capsys: pytest.CaptureFixture[str]
) -> None:
    """What, proof, held bytes, the command; exit code 1 because there is something; secrets are taken out."""
    code, out, _ = run(capsys)
    assert code == 1
    assert hands.sent == []
    assert "LEFTOVERS   2 processes, 100M, nobody owns them" in out
    assert "whoever started it has ended: its parent is now pid 1" in " ".join(out.split())
    assert "OFFERED APART   2 processes" in out
    assert "starts it again" in out
    assert "'midwatch sweep --yes' frees 100M" in out
    assert "sk-live" not in out
    assert [line for line in out.splitlines() if len(line) > 80] == []


def test_json_has_the_agreed_fields(hands: Hands, capsys: pytest.CaptureFixture[str]) -> None:
    """Design 6: pid, started, reason, proof, held_bytes, action."""
    code, out, _ = run(capsys, "--json")
    told = json.loads(out)
    assert code == 1
    assert (told["schema_version"], told["acted"]) == (1, False)
    assert {"pid", "started", "reason", "proof", "held_bytes", "action"} <= set(told["leftovers"][0])
    assert [row["action"] for row in told["leftovers"]] == [
        "would end",
        "would end",
        "offered apart",
        "offered apart",
    ]


def test_yes_ends_the_certain_ones_only(hands: Hands, capsys: pytest.CaptureFixture[str], home: Path) -> None:
    """Pile-ups and what listens stay; an undo list 0600 is there, without secrets or values."""
    code, out, _ = run(capsys, "--yes")
    assert code == 0
    assert {pid for pid, _ in hands.sent} == {11, 12}
    assert "2 ended by TERM; 100M freed" in out
    (undo,) = (home / "undo").iterdir()
    assert str(undo) in out
    assert stat.S_IMODE(undo.stat().st_mode) == 0o600
    text = undo.read_text()
    assert "sk-live" not in text
    assert [row["complete"] for row in json.loads(text)["processes"]] == [False, True]


def test_pile_ups_only_on_request(hands: Hands, capsys: pytest.CaptureFixture[str]) -> None:
    """Story 2: the living parent's copies go with --pile-ups; what listens still stays."""
    assert run(capsys, "--yes", "--pile-ups")[0] == 0
    assert {pid for pid, _ in hands.sent} == {11, 12, 20}


def test_a_named_wrapper_goes_with_what_hangs_below(hands: Hands, capsys: pytest.CaptureFixture[str]) -> None:
    """Only these, of those that are shown."""
    run(capsys, "11", "--yes")
    assert {pid for pid, _ in hands.sent} == {11, 12}


def test_one_that_is_offered_apart_can_be_named(hands: Hands, capsys: pytest.CaptureFixture[str]) -> None:
    """A person decides about what listens."""
    run(capsys, "30", "--yes")
    assert {pid for pid, _ in hands.sent} == {30}


@pytest.mark.parametrize(
    ("words", "told"), [(("9", "--yes"), "pid 9 is not swept"), (("999999", "--yes"), "no such")]
)
def test_a_pid_that_is_no_leftover_is_refused(
    hands: Hands, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    """With the first step of the proof that fails."""
    code, _, err = run(capsys, *words)
    assert code == 1
    assert told in err
    assert "nothing was done" in err
    assert hands.sent == []


@pytest.mark.parametrize("words", [("chrome",), ("--yes", "--dry-run"), ("--grace", "soon")])
def test_nothing_goes_by_name_and_wrong_lines_are_usage(
    hands: Hands, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """Exit code 2, nothing was done."""
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "nothing was done" in err


def test_an_unwritable_undo_list_stops_everything(
    hands: Hands, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No list, no signal."""

    def full(*_: Any) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sweep, "write", full)
    code, _, err = run(capsys, "--yes")
    assert code == 1
    assert "nothing was ended" in err
    assert hands.sent == []


def test_a_calm_machine(
    hands: Hands, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 0 and one line."""
    monkeypatch.setattr(sweep, "look", lambda known: Seen(Live(), Table({1: proc(1, "init")}, NOW), []))
    code, out, _ = run(capsys)
    assert code == 0
    assert "no leftovers" in out


@pytest.mark.parametrize(("answer", "ended"), [("n", set()), ("", set()), ("y", {11, 12})])
def test_a_terminal_is_asked(
    hands: Hands,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    ended: set[int],
) -> None:
    """Shown first, then one question; everything but yes means no."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    asked: list[str] = []

    def say(words: str) -> str:
        asked.append(words)
        return answer

    monkeypatch.setattr("builtins.input", say)
    code, out, _ = run(capsys)
    assert len(asked) == 1
    assert "End these 2 processes (100M)?" in asked[0]
    assert {pid for pid, _ in hands.sent} == ended
    assert code == (0 if ended else 1)
    assert out.count("LEFTOVERS") == 1


def test_a_scope_by_environment(hands: Hands, capsys: pytest.CaptureFixture[str]) -> None:
    """--env NAME=VALUE: only those whose environment says so; nobody here does."""
    code, _, _ = run(capsys, "--yes", "--env", "NOBODY_HAS_THIS=1")
    assert code == 0
    assert hands.sent == []
