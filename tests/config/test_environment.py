"""What a service finds in its environment: H10, SVC-10, SVC-15, and Python's two switches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from midwatch.config import environment
from midwatch.config.loading import load
from midwatch.config.problems import ConfigError

if TYPE_CHECKING:
    from tests.config.conftest import Read

CALLER = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/home/ann",
    "USER": "ann",
    "LANG": "de_DE.UTF-8",
    "LC_ALL": "C",
    "TERM": "xterm",
    "SECRET": "s",
    "AWS_KEY": "k",
    "AWS_REGION": "r",
    "NOTIFY_SOCKET": "/run/x",
    "LISTEN_FDS": "1",
    "MIDWATCH_RUN": "outer",
}


def env(read: Read, text: str, command: str = "['true']") -> dict[str, str]:
    return dict(read(f"[service.web]\ncommand = {command}\n{text}", environ=CALLER).specs[0].launch.env)


def test_a_variable_that_was_not_granted_is_absent(read: Read) -> None:
    """H10: set in the parent and not granted: absent. Granted: present. None in the spec: omitted, not "None"."""
    base = {name: CALLER[name] for name in ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TERM")}
    assert env(read, "") == base
    assert env(read, "env_pass = ['SECRET', 'ABSENT']") == base | {"SECRET": "s"}
    removed = env(read, "env = { LANG = false, ABSENT = false }")
    assert "LANG" not in removed
    assert "ABSENT" not in removed


def test_granting_by_the_beginning_of_a_name(read: Read) -> None:
    """A * at the end takes all that begin so; never what was meant for us alone (SVC-10)."""
    assert {"AWS_KEY", "AWS_REGION"} <= env(read, "env_pass = ['AWS_*']").keys()
    everything = env(read, "env_pass = ['*']")
    assert "SECRET" in everything
    assert not {"NOTIFY_SOCKET", "LISTEN_FDS", "MIDWATCH_RUN"} & everything.keys()
    with pytest.raises(ConfigError, match="`pass_manager` lets it through"):
        env(read, "env_pass = ['NOTIFY_SOCKET']")


def test_what_an_outer_manager_says_is_passed_by_name(read: Read) -> None:
    """SVC-10: only the name is kept, the value is the daemon's; neither sockets nor any other variable."""
    loaded = read("[service.web]\ncommand = 'true'\npass_manager = ['NOTIFY_SOCKET']", environ=CALLER)
    assert loaded.specs[0].launch.pass_manager == ("NOTIFY_SOCKET",)
    assert "NOTIFY_SOCKET" not in loaded.specs[0].launch.env
    with pytest.raises(ConfigError, match="about sockets"):
        env(read, "pass_manager = ['LISTEN_FDS']")
    with pytest.raises(ConfigError, match="`env_pass` passes on any other one"):
        env(read, "pass_manager = ['HOME']")


@pytest.mark.parametrize(
    ("name", "outer"),
    [
        ("NOTIFY_SOCKET", True), ("WATCHDOG_USEC", True), ("WATCHDOG_PID", True), ("INVOCATION_ID", True),
        ("JOURNAL_STREAM", True), ("SYSTEMD_EXEC_PID", True), ("XPC_SERVICE_NAME", True), ("LISTEN_FDS", True),
        ("LISTEN_PID", True), ("LISTEN_FDNAMES", True), ("SUPERVISOR_ENABLED", True), ("MANAGERPID", True),
        ("SYSTEMD_ACTIVATION_UNIT", True), ("FDSTORE", True), ("MAINPID", True), ("LISTEN_ADDR", False),
        ("SYSTEMD_PAGER", False), ("STATE_DIRECTORY", False), ("MIDWATCH_RUN", False), ("PATH", False),
    ],
)  # fmt: skip
def test_whose_variable_it_is(name: str, outer: bool) -> None:
    """SVC-10: what managers set for their own child, and nothing that a person or a program sets."""
    assert environment.of_outer(name) is outer
    assert (name in environment.scrubbed({name: "x"}, False)) is (not outer and name != "MIDWATCH_RUN")


def test_what_is_written_wins(read: Read) -> None:
    """Precedence: the caller's base set, env files, granted variables, env."""
    found = env(read, "env = { PATH = '/mine', SECRET = 'mine', PORT = 80 }\nenv_pass = ['SECRET']")
    assert (found["PATH"], found["SECRET"], found["PORT"]) == ("/mine", "mine", "80")


def test_another_users_home_is_not_the_callers(read: Read) -> None:
    """HOME, USER, LOGNAME and SHELL of `user` are filled in when it is started; one that is written stays."""
    found = env(read, "user = 'nobody'\nenv = { USER = 'me' }")
    assert "HOME" not in found
    assert found["USER"] == "me"


def test_there_is_always_a_path(read: Read) -> None:
    assert read("[service.web]\ncommand = 'true'", environ={}).specs[0].launch.env["PATH"]


def test_what_mirrors_the_shell_is_noted(read: Read) -> None:
    """These names differ between a terminal, cron and ssh, and are no reason to restart."""
    text = "[service.web]\ncommand = 'true'\nenv = { TERM = 'dumb' }\nenv_pass = ['LANG', 'SECRET']"
    assert read(text, environ=CALLER).specs[0].launch.ambient == ("HOME", "LC_ALL", "PATH", "USER")


def test_what_is_not_utf_8_is_left_out(read: Read) -> None:
    """It could not be written down; a warning says so where it would have been passed on."""
    caller = {"PATH": "/bin", "LANG": "\udce9", "X": "\udce9", "OTHER": "\udce9"}
    loaded = read("[service.web]\ncommand = 'true'\nenv_pass = ['X']", environ=caller)
    assert loaded.specs[0].launch.env == {"PATH": "/bin"}
    shown = [found.message for found in loaded.warnings if "UTF-8" in found.message]
    assert shown == [f'the variable "{name}" is not UTF-8 text and is left out' for name in ("LANG", "X")]


def test_env_files(tmp_path: Path) -> None:
    """SVC-15: what is there already wins, later files win, the shell's own names are ignored, nothing is expanded."""
    (tmp_path / "a.env").write_text("A=1\nB=1\nC=1\nUID=7\nSECRET=file\nTERM=file\n")
    (tmp_path / "b.env").write_text("B=2\nD=$A\n")
    file = tmp_path / "midwatch.toml"
    file.write_text(
        "[service.web]\ncommand = 'true'\nenv_files = ['a.env', 'b.env']\nenv = { C = 'c' }\nenv_pass = ['SECRET']\n"
    )
    launch = load(file, environ=CALLER).specs[0].launch
    assert [launch.env.get(name) for name in ("A", "B", "C", "D", "UID")] == ["1", "2", "c", "$A", None]
    assert (launch.env["SECRET"], launch.env["TERM"]) == ("s", "file")
    assert launch.env_files == (str(tmp_path / "a.env"), str(tmp_path / "b.env"))


PYTHON = {"PYTHONUNBUFFERED", "PYTHONFAULTHANDLER"}


@pytest.mark.parametrize(
    "command", ["'python'", "'python3.12 x.py'", "['/opt/x/bin/python3', 'x.py']", "'pypy3'"]
)
def test_python_by_name(read: Read, command: str) -> None:
    """Output comes at once, and a crash of the interpreter leaves its stacks."""
    assert env(read, "", command).keys() >= PYTHON


@pytest.mark.parametrize("command", ["'true'", "'pythonic'", "'python-config'", "'/srv/python/run'"])
def test_not_python(read: Read, command: str) -> None:
    assert not env(read, "", command).keys() & PYTHON


def test_what_is_said_about_pythons_switches_stays(read: Read) -> None:
    """Set or removed in the file: left alone."""
    found = env(read, "env = { PYTHONUNBUFFERED = '', PYTHONFAULTHANDLER = false }", "'python'")
    assert found["PYTHONUNBUFFERED"] == ""
    assert "PYTHONFAULTHANDLER" not in found


@pytest.mark.parametrize(
    ("content", "python"),
    [
        (b"#!/usr/bin/python3\n", True),
        (b"#!/usr/bin/env python3.11 -u\n", True),
        (b"#! /usr/bin/env -S python -E\n", True),
        (b"#!python", True),
        (b"#!/bin/sh\npython x", False),
        (b"#!/usr/bin/env node\n", False),
        (b"\x7fELF", False),
        (b"", False),
    ],
)
def test_python_by_shebang(tmp_path: Path, content: bytes, python: bool) -> None:
    """A script says what runs it (gunicorn, celery, uvicorn)."""
    script = tmp_path / "script"
    script.write_bytes(content)
    script.chmod(0o755)
    assert environment.is_python("script", environment.resolved("script", str(tmp_path), "/")) is python


def test_python_by_link(tmp_path: Path) -> None:
    """A link with another name is still Python."""
    (tmp_path / "python3.11").touch(0o755)
    (tmp_path / "app").symlink_to("python3.11")
    assert environment.is_python("./app", environment.resolved("./app", "", str(tmp_path)))


def test_looking_for_a_program(tmp_path: Path) -> None:
    """With a slash: from cwd. Without: PATH, first one that may be executed."""
    for folder, mode in (("a", 0o644), ("b", 0o755)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tool").touch(mode)
    assert environment.resolved("tool", f"{tmp_path}/none:{tmp_path}/b", "/") == f"{tmp_path}/b/tool"
    assert environment.resolved("b/tool", "", str(tmp_path)) == f"{tmp_path}/b/tool"
    assert environment.resolved("tool", "", "/nowhere") is None
    assert environment.resolved("./none", "", str(tmp_path)) is None
