"""`midwatch recover` as a person types it, over a played machine: the plan, what is refused, what is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.inspect.doctor.machines import Machine, proc

from midwatch.front.cli import main, recover
from midwatch.inspect.ours import Ours
from midwatch.inspect.recover.order import Facts
from midwatch.model.look import Leftover

GIB = 1 << 30


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch, home: Path) -> Machine:
    machine = Machine("linux")
    machine.put("/proc/meminfo", f"MemTotal: {32 * GIB >> 10} kB\nMemAvailable: {GIB >> 10} kB\n")
    lost = Leftover(
        proc(11, "npx x-mcp --api-key=sk-live-1234567890abcdef", held=3 * GIB), "r", ("p",), "x-mcp"
    )
    facts = Facts(machine, Ours(), (), str(home / "recover"), leftovers=[lost], stacks=[])
    monkeypatch.setattr(recover, "_facts", lambda recorded: facts)
    monkeypatch.setattr(recover, "sources", lambda: machine)
    return machine


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main.main(["recover", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_plan_fits_and_says_everything(played: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """REC-1: command, targets with identity, gain, way back, risk, why; 80 columns; exit code 1: memory is short."""
    code, out, _ = run(capsys)
    assert code == 1
    text = " ".join(out.split())
    told = (
        "VERY SHORT", "pid 11 (x-mcp), 3.0G", "midwatch sweep --yes", "risk low", "why nobody owns", "needed, 3.0G",
        "1 step frees 3.0G of the 2.2G that are missing", "Nothing was changed.",
    )  # fmt: skip
    for words in told:
        assert words in text, words
    assert [line for line in out.splitlines() if len(line) > 80] == []


def test_s75_the_plan_as_json(played: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """Scenario 75: at least one target identity in each step, and nothing was done."""
    code, out, _ = run(capsys, "--json")
    told = json.loads(out)
    assert (code, told["acted"], told["schema_version"]) == (1, False, 1)
    assert all(step["aims"] and step["aims"][0]["mark"] for step in told["plan"]["steps"])
    assert "sk-live" not in out


def test_what_has_to_be_named_is_not_called_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A pile-up of half a gigabyte is no "nothing that would help", though nobody ends it unasked."""
    folder = Path(__file__).parents[1] / "inspect" / "recordings" / "mac-six-sessions"
    code, out, _ = run(capsys, "--recorded", str(folder))
    assert code == 1
    assert "copies 528M" in " ".join(out.split())
    assert "nothing was found that would help" not in out


def test_a_folder_that_is_no_recording_is_a_wrong_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2, not 1: that would say that memory is short."""
    code, _, err = run(capsys, "--recorded", str(tmp_path))
    assert code == 2
    assert "is no recorded machine" in err


def test_nothing_warns(played: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, everything optional."""
    played.put("/proc/meminfo", f"MemTotal: {32 * GIB >> 10} kB\nMemAvailable: {30 * GIB >> 10} kB\n")
    code, out, _ = run(capsys)
    assert code == 0
    assert "nothing is needed" in out
    assert "[needed" not in out


@pytest.mark.parametrize(
    "words",
    [
        ("--apply",),
        ("--yes",),
        ("--apply", "--yes"),
        ("--only", "reboot"),
        ("--apply", "--only", "leftovers"),
    ],
)
def test_nothing_is_done_without_being_told(
    played: Machine, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """A whole plan is never carried out unasked; without a terminal nobody can be asked."""
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "nothing was done" in err
