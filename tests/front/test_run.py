"""`run`: CMD's words are CMD's, midwatch's options become the spec, a second run gets a place of its own."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from typing import Any

import pytest
from tests.front.conftest import Done

from midwatch.engine import launch
from midwatch.engine.layout import Layout
from midwatch.front.cli.verbs import load
from midwatch.policy import defaults

Cli = Callable[..., Done]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """(layout, spec, keywords) of each launch, in place of the exec."""
    calls: list[Any] = []
    monkeypatch.setattr(
        launch, "foreground", lambda layout, specs, **more: calls.append((layout, specs[0], more))
    )
    return calls


@pytest.mark.parametrize(
    "words",
    [
        ["--", "python", "-m", "http.server", "--name", "x", "--json", "-h"],
        ["python", "-m", "http.server", "--name", "x", "--json", "-h"],
        ["--keep", "--", "sh", "-c", "exit 3", "--", "--version"],
    ],
)
def test_the_command_is_untouched(cli: Cli, launched: list[Any], words: list[str]) -> None:
    """Everything after `--`, or from the first word on, reaches CMD byte for byte."""
    cli("run", *words)
    expected = words[words.index("--") + 1 :] if words[0].startswith("--") else words
    assert list(launched[0][1].launch.argv) == expected


def test_options_become_the_spec(cli: Cli, launched: list[Any], layout: Layout) -> None:
    """Limits, budgets, probes and environment arrive as a configuration file would set them."""
    done = cli(
        "run", "--name", "srv", "--memory", "512M", "--grace", "3s", "--nice=5", "-e", "A=1", "--env", "B=2",
        "--crash-hard", "4", "--rlimit", "nofile=64",
        "--permanent", "64", "--ready-tcp", "127.0.0.1:9", "--pty", "--", "true",
    )  # fmt: skip
    assert done.err == ""
    where, spec, more = launched[0]
    assert where.home == layout.foreground("srv").home
    assert (spec.id, more["mode"]) == ("run/srv", "foreground")
    assert (spec.launch.memory_hard, spec.launch.nice, spec.launch.pty) == (512 << 20, 5, True)
    assert (spec.launch.env["A"], spec.launch.env["B"]) == ("1", "2")
    assert spec.launch.rlimits["nofile"] == (64, 64)
    assert (spec.rules.stop.grace, spec.rules.budgets.crash_hard, spec.rules.permanent_codes) == (
        3.0,
        4,
        (64,),
    )
    assert spec.rules.ready is not None
    assert spec.rules.on_clean == "stop"
    cli("run", "--keep", "--", "true")
    assert launched[1][1].rules.on_clean == "restart"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run"], 2, "which command"),
        (["run", "--nmae", "x", "--", "true"], 2, "--name"),
        (["run", "--memory", "lots", "--", "true"], 78, "--memory"),
        (["run", "--rlimit", "nofile", "--", "true"], 2, "NAME=VALUE"),
        (["run", "--env", "X", "--", "true"], 78, "NAME=VALUE"),
        (["run", "--name", "a b", "--", "true"], 78, "--name"),
    ],
)
def test_wrong_options_start_nothing(
    cli: Cli, launched: list[Any], words: list[str], code: int, said: str
) -> None:
    """Usage is 2, a value that the configuration refuses is 78; the option is named as it was typed."""
    done = cli(*words)
    assert done.code == code
    assert said in done.err
    assert launched == []


def test_a_second_run_of_the_same_command(cli: Cli, launched: list[Any], layout: Layout) -> None:
    """An unnamed one gets a number; a named one is refused by the launcher (4), so it keeps its name here."""
    busy = layout.foreground("sleep")
    busy.home.mkdir(parents=True)
    with busy.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cli("run", "--", "sleep", "9")
        cli("run", "--name", "sleep", "--", "sleep", "9")
    cli("run", "--", "sleep", "9")
    assert [(spec.id, where.home.name) for where, spec, _ in launched] == [
        ("run/sleep_2", "sleep_2"),
        ("run/sleep", "sleep"),
        ("run/sleep", "sleep"),
    ]


def test_help_names_the_real_defaults() -> None:
    """Numbers in the options' help are those of policy/defaults.py."""
    texts = {opt.dest: opt.help for opt in load("run").opts}
    assert f"Default: {defaults.RUN_CRASH_HARD}." in texts["crash_hard"]
    assert f"Default: {defaults.STOP_GRACE:g}s." in texts["grace"]
