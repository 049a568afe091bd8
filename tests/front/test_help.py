"""Help, completion and wrong lines: they explain, exit 2 or 0, and never start or ask anything (H13, H14)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.front.conftest import Daemon, Done

from midwatch.front.cli import complete
from midwatch.front.cli.verbs import VERBS, load

Cli = Callable[..., Done]


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example_and_starts_nothing(cli: Cli, daemon: Daemon, home: Path, verb: str) -> None:
    """H14: -h and --help print the same page with an example, and no question goes to the daemon."""
    before = sorted(path for path in home.rglob("*"))
    short, long = cli(verb, "-h"), cli(verb, "--help")
    assert short == long
    assert (short.code, short.err) == (0, "")
    assert f"$ midwatch {verb}" in short.out
    assert daemon.asked == []
    assert sorted(path for path in home.rglob("*")) == before


@pytest.mark.parametrize("words", [["-h"], ["--help"]])
def test_the_list_names_every_verb(cli: Cli, words: list[str]) -> None:
    """`midwatch -h` lists all verbs that exist, in the order of a working day."""
    done = cli(*words)
    listed = [
        line.split()[0] for line in done.out.partition("Commands:")[2].splitlines() if line[2:3].strip()
    ]
    assert [word for word in listed if word in VERBS] == list(VERBS)


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["pss"], "'ps'"),
        (["status"], "'ps'"),
        (["statsu"], None),
        (["restrat", "web"], "'restart'"),
        (["up", "restart"], "'restart'"),
        (["down", "stpo"], "'stop'"),
        (["ps", "--jsn"], "--json"),
        (["schema", "x"], None),
        (["logs"], None),
        (["why", "a", "b"], None),
        (["stop", "wbe"], "'shop/web'"),
        (["--verson"], "--version"),
        (["wait", "web", "--until", "redy"], "ready"),
        (["logs", "web", "-n", "many"], None),
    ],
)
def test_unknown_words_exit_2_and_change_nothing(
    cli: Cli, daemon: Daemon, words: list[str], near: str | None
) -> None:
    """H13: one line on stderr with the nearest known word, exit 2; the daemon is asked nothing but its status."""
    done = cli(*words)
    assert done.code == 2
    assert done.out == ""
    assert done.err.count("\n") == 1, done.err
    assert done.err.startswith("midwatch")
    if near:
        assert near in done.err
    assert {method for method, _ in daemon.asked} <= {"ps"}


def test_the_help_of_run(cli: Cli) -> None:
    """The usage shows `--`, common options stand first, and its exit codes are the ones that `run` has."""
    text = cli("run", "-h").out
    assert text.startswith("Usage: midwatch run [OPTIONS] -- ")
    options = text.partition("Options:")[2]
    assert options.index("--memory") < options.index("--grace") < options.index("--rlimit") < options.index("--umask")
    flat = " ".join(text.split())
    assert "own code is in 'midwatch why', never the code of run" in flat
    assert "128+N" not in flat
    assert "the whole environment of the caller" in flat


def test_every_verb_has_json() -> None:
    """`--json` is everywhere where midwatch itself has something to print."""
    without = [name for name in VERBS if not any("--json" in opt.flags for opt in load(name).opts)]
    assert without == []


def test_the_shell_completes_services(cli: Cli, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Completion offers PROJECT/NAME anywhere, and NAME inside the project; it is silent when nothing answers."""
    del cli
    assert complete.services("shop/w") == ["shop/web", "shop/worker"]
    Path("midwatch.toml").write_text('[midwatch]\nproject = "shop"\n')
    assert complete.services("w") == ["web", "worker"]
    daemon.answers["ps"] = {"error": {"code": -32603, "message": "broken"}}
    assert complete.services("w") == []


def test_completion_script_runs(tmp_path: Path) -> None:
    """The real thing as a shell asks for it: verbs that begin with `re`."""
    environ = {
        **os.environ,
        "_MIDWATCH_COMPLETE": "complete_bash",
        "COMP_WORDS": "midwatch re",
        "COMP_CWORD": "1",
    }
    environ |= {"MIDWATCH_HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "midwatch"],
        check=False,
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.stdout.split() == [verb for verb in VERBS if verb.startswith("re")], done.stderr
