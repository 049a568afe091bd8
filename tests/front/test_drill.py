"""`drill` without real faults: which scenes there are, the table, exit codes, the clean-up after an interruption."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.front.conftest import Done

from midwatch.front.cli.drill import document, screen
from midwatch.front.drill import play
from midwatch.front.drill.scene import Outcome, Scene
from midwatch.front.drill.stage import Lost, Missing, Stage

Cli = Callable[..., Done]
NAMES = {"leak", "explosion", "hang", "files", "crash-loop", "fork-bomb", "disk", "port", "own-death", "clock"}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Scenes that do nothing but end: "good", "bad", "absent", or what is given."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def bad(_: Stage) -> str:
        raise Lost("it died")

    def absent(_: Stage) -> str:
        raise Missing("needs root")

    def use(**more: Callable[[Stage], str]) -> None:
        plays: dict[str, Callable[[Stage], str]] = {"good": lambda _: "lived", "bad": bad, "absent": absent, **more}
        scenes = {name: Scene(name, f"a {name} one", what) for name, what in plays.items()}
        monkeypatch.setattr(play, "SCENES", scenes)

    use()
    return use


def test_every_fault_of_the_issue_has_its_scene(cli: Cli) -> None:
    """--list shows them with what is injected, as text and JSON, and plays none."""
    assert set(play.SCENES) == NAMES
    out = cli("drill", "--list").out
    assert all(name in out for name in NAMES)
    assert {row["scene"] for row in cli("drill", "--list", "--json").json["scenes"]} == NAMES


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["good"], 0, "1 of 1 survived"),
        (["good", "bad"], 1, "NOT survived: bad"),
        (["good", "absent"], 0, "not played: absent"),
        (["absent"], 1, "0 of 0 survived"),
        ([], 1, "1 of 2 survived"),
    ],
)
def test_0_only_if_all_that_were_played_survived(
    cli: Cli, fake: Callable[..., None], words: list[str], code: int, said: str
) -> None:
    """A skipped scene is no failure, but a drill without one survived scene is."""
    done = cli("drill", *words)
    assert done.code == code
    assert said in " ".join(done.out.split())


def test_an_unknown_scene_plays_none(cli: Cli, fake: Callable[..., None]) -> None:
    """Named with those that there are; exit 2."""
    done = cli("drill", "godo")
    assert (done.code, done.out) == (2, "")
    assert "there is no scene 'godo'; nothing was done; scenes are: good, bad, absent" in done.err


def test_the_document(cli: Cli, fake: Callable[..., None]) -> None:
    """One row a scene; null for one that could not be played."""
    found = cli("drill", "--json").json
    ends = {row["scene"]: row["survived"] for row in found["scenes"]}
    assert ends == {"good": True, "bad": False, "absent": None}
    assert (found["survived"], found["left_over"], found["schema_version"]) == (False, [], 1)


def test_a_golden_table() -> None:
    """Five columns in 80; long cells are wrapped; the end says how many survived and what is left."""
    outcomes = [
        Outcome("leak", "a program that leaks 24 MiB a second", "asked it to drain at 66M", 4.25, True),
        Outcome("disk", "a full disk", "needs root", 0.0, None),
    ]
    assert screen(outcomes, 4.3, 80) == [
        "SCENE  INJECTED              WHAT MIDWATCH DID                   TIME   SURVIVED",
        "leak   a program that leaks  asked it to drain at 66M            4.2s   yes",
        "       24 MiB a second",
        "disk   a full disk           needs root                          0s     skipped",
        "",
        "1 of 1 survived in 4.3s; not played: disk",
        "left over: nothing; no process bears a mark of this drill any more",
    ]
    left = Outcome("bomb", "forks", "x", 1.0, False, ("7 sh",))
    assert document([left], 1.0)["left_over"] == ["7 sh"]
    assert "left over and ended by the drill: 7 sh" in screen([left], 1.0, 80)


def test_an_interruption_cleans_up_first(cli: Cli, fake: Callable[..., None], tmp_path: Path) -> None:
    """Ctrl-C, TERM: the stage's folder is gone, exit 130, and the handlers are the former ones."""
    before = signal.getsignal(signal.SIGTERM)

    def interrupted(_: Stage) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return "never said"

    fake(interrupted=interrupted)
    done = cli("drill", "interrupted")
    assert (done.code, done.out) == (130, "")
    assert "everything it had started was ended" in done.err
    assert not list(tmp_path.glob("midwatch-drill-*"))
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_drill_that_breaks_is_not_a_survival(cli: Cli, fake: Callable[..., None], tmp_path: Path) -> None:
    """An error of the scene itself is told, and the folder goes all the same."""

    def broken(_: Stage) -> str:
        empty: dict[str, Any] = {}
        return str(empty["pid"])

    fake(broken=broken)
    done = cli("drill", "broken")
    assert done.code == 1
    assert "the drill itself failed" in " ".join(done.out.split())
    assert not list(tmp_path.glob("midwatch-drill-*"))
