"""The service behind `midwatch run -- CMD`: options as keys, the inherited environment, problems that name options."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.plain import default_logs

from midwatch.config.command import OPTIONS, for_command
from midwatch.config.environment import in_place
from midwatch.config.problems import ConfigError, Problem
from midwatch.model.service import Probe
from midwatch.policy import defaults


def refused(*argv: str, **options: Any) -> Problem:
    with pytest.raises(ConfigError) as caught:
        for_command(argv or ("true",), environ={}, **options)
    return caught.value.problems[0]


def test_no_option_at_all() -> None:
    """Project run; exit 0 ends it; it gives up after ten crashes in a row."""
    spec = for_command(["sleep", "60"], environ={"PATH": "/bin"})
    assert (spec.id, spec.source, spec.launch.argv) == ("run/sleep", "command line", ("sleep", "60"))
    assert spec.launch.cwd == str(Path.cwd())
    assert spec.rules.on_clean == "stop"
    assert spec.rules.budgets.crash_hard == defaults.RUN_CRASH_HARD
    assert spec.rules.stop == defaults.default_stop()
    assert spec.logs == default_logs()
    assert (spec.rules.ready, spec.rules.health, spec.launch.stdin) == (None, None, "null")


def test_options_are_keys() -> None:
    """As texts, the way a command line has them."""
    spec = for_command(
        ["true"],
        environ={},
        name="web",
        keep=True,
        stdin="inherit",
        nice="-5",
        memory="512M",
        grace="1m",
        signal="2",
        crash_hard="0",
        stable_after="10s",
        umask="027",
        port="80",
        rlimits={"nofile": "1024:unlimited", "core": "1M", "nproc": "9"},
        permanent=[64],
        ready_http="http://localhost/",
        ready_within="1m",
        health_tcp="localhost:80",
        health_failures="2",
        contain=None,
        pty=False,
        ready_notify=False,
        env_file=[],
    )
    launch, rules = spec.launch, spec.rules
    assert (spec.id, rules.on_clean, launch.stdin) == ("run/web", "restart", "inherit")
    assert (launch.nice, launch.memory_hard, launch.umask, launch.port) == (-5, 512 << 20, 0o27, 80)
    assert launch.rlimits == {"nofile": (1024, None), "core": (1 << 20, 1 << 20), "nproc": (9, 9)}
    assert (rules.stop.signal, rules.stop.grace, rules.budgets.crash_hard) == (2, 60.0, None)
    assert (rules.budgets.stable_after, rules.permanent_codes) == (10.0, (64,))
    assert rules.ready == Probe(http="http://localhost/", within=60.0)
    assert rules.health == Probe(tcp="localhost:80", every=30.0, timeout=10.0, failures=2)


@pytest.mark.parametrize("nice", ["3.5", "10abc", "25", "", "1e1"])
def test_a_nice_that_is_no_nice_is_refused(nice: str) -> None:
    """H15: the whole text has to be a whole number from -20 to 19."""
    problem = refused(nice=nice)
    assert (problem.file, problem.key) == ("command line", "--nice")
    assert "a whole number from -20 to 19" in problem.message


@pytest.mark.parametrize(
    ("options", "key", "message"),
    [
        ({"memory": "2"}, "--memory", "too small"),
        ({"grace": "soon"}, "--grace", "a duration"),
        ({"crash_hard": "-1"}, "--crash-hard", "a whole number"),
        ({"user": "a b"}, "--user", "a user name"),
        ({"ready_tcp": "80"}, "--ready-tcp", "HOST:PORT"),
        ({"ready_within": "5s"}, "--ready", "asks nothing"),
        ({"ready_tcp": "h:1", "ready_http": "http://h"}, "--ready-tcp", "a second target"),
        ({"env_file": ["none.env"]}, "--env-file", "No such file"),
        ({"rlimits": {"nofile": "9:8"}}, "--rlimit nofile", "the soft limit"),
        ({"env": ["PORT"]}, "--env", "expected NAME=VALUE"),
        ({"env": ["=1"]}, "--env", "expected NAME=VALUE"),
        ({"name": "a.b"}, "--name", "is not a name"),
        ({"env": ["A=\udce9"]}, "--env A", "a string"),
        ({"cwd": "\udce9"}, "--cwd", "not UTF-8"),
        ({"ready_tcp": "\udce9:1"}, "--ready-tcp", "not UTF-8"),
        ({"name": ""}, "--name", "is not a name"),
    ],
)
def test_a_problem_names_the_option(options: dict[str, Any], key: str, message: str) -> None:
    problem = refused(**options)
    assert (problem.key, message in problem.message) == (key, True), problem


def test_nothing_to_run() -> None:
    with pytest.raises(ConfigError) as caught:
        for_command([], environ={})
    assert (caught.value.problems[0].key, caught.value.problems[0].message) == ("COMMAND", "is empty")


def test_words_that_cannot_be_passed_on() -> None:
    """Bytes that are not UTF-8 have no place in a record; a NUL in no argument."""
    assert "not UTF-8" in refused("cat", "caf\udce9").message
    assert "NUL" in refused("cat", "\0").message


def test_an_unknown_option_is_a_mistake_in_the_program() -> None:
    """Not the user's: the command line knows its options."""
    with pytest.raises(TypeError, match="nicce"):
        for_command(["true"], nicce=1)


def test_every_option_is_a_key() -> None:
    """Keys that mean something for one command only once; what makes no sense for it is absent."""
    assert {"memory", "grace", "nice", "ready_http", "health_every", "output_file"} <= OPTIONS.keys()
    assert not {"needs", "instances", "autostart", "oneshot", "command", "env_pass"} & OPTIONS.keys()


MANAGED = {
    "NOTIFY_SOCKET": "@x",
    "WATCHDOG_USEC": "1",
    "WATCHDOG_PID": "1",
    "INVOCATION_ID": "x",
    "JOURNAL_STREAM": "8:1",
    "SYSTEMD_EXEC_PID": "1",
    "XPC_SERVICE_NAME": "a.b",
    "LISTEN_FDS": "1",
    "LISTEN_PID": "1",
    "SUPERVISOR_ENABLED": "1",
    "MIDWATCH_RUN": "a.b.1",
    "MIDWATCH_KEEPER_FD": "5",
}


def test_the_command_inherits_all_but_the_managers_notes() -> None:
    """SVC-10: what an outer manager told us is not for our child; everything else goes on as it is."""
    kept = {"PATH": "/bin", "ANY": "1", "LISTENER": "1", "MIDWATCH_HOME": "/h", "INVOCATION": "x"}
    assert for_command(["true"], environ=kept | MANAGED).launch.env == kept


def test_a_command_in_our_place_is_the_managers_child() -> None:
    """SVC-1, SVC-10: with --exec what the outer manager says is meant for it, and so is an outer midwatch's marker."""
    environ = {"PATH": "/bin", "HOME": "/h", **MANAGED}
    env = for_command(["true"], environ=environ, env=["LISTEN_FDS=7"]).launch.env
    assert in_place(environ, env) == environ | {"LISTEN_FDS": "7"}


def test_env_wins_then_the_caller_then_files(tmp_path: Path) -> None:
    """SVC-15: a file never overwrites what is set already."""
    file = tmp_path / ".env"
    file.write_text("A=file\nB=file\nC=file\n")
    spec = for_command(["true"], environ={"A": "caller", "B": "caller"}, env=["A=own"], env_file=[str(file)])
    assert spec.launch.env == {"A": "own", "B": "caller", "C": "file"}
    assert for_command(["true"], environ={"A": "1"}, env={"A": None, "B": "x=y"}).launch.env == {"B": "x=y"}


def test_another_user_gets_his_own_home() -> None:
    assert for_command(["true"], environ={"HOME": "/h", "A": "1"}, user="nobody").launch.env == {"A": "1"}


def test_python_is_unbuffered() -> None:
    env = for_command(["python3", "x.py"], environ={"PYTHONUNBUFFERED": ""}).launch.env
    assert env == {"PYTHONUNBUFFERED": "", "PYTHONFAULTHANDLER": "1"}


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["/usr/bin/sleep", "1"], "sleep"),
        (["python3.11", "app/server.py", "-x"], "server"),
        (["python", "-m", "http.server"], "python"),
        (["./run me.sh"], "run-me"),
        (["node", "./index.mjs"], "index"),
        (["äö"], "command"),
        (["x" * 99], "x" * 64),
    ],
)
def test_names(argv: list[str], name: str) -> None:
    """After the script of an interpreter, else after the program."""
    assert for_command(argv, environ={}).name == name


def test_a_relative_folder_is_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app").mkdir()
    monkeypatch.chdir(tmp_path)
    assert for_command(["true"], environ={}, cwd="app").launch.cwd == str(tmp_path / "app")


def test_the_callers_folder_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear line instead of a traceback."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    try:
        assert "the current folder cannot be found" in refused().message
    finally:
        os.chdir("/")
