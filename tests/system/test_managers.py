"""ORP-5 with a stand-in for systemctl: a unit between two starts has its port, though nobody listens (scenario 19)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from midwatch.engine import managers
from midwatch.engine.managers import Unit, parse, restarting, unit_for, wants

SHOWN = """Id=ui.service
ActiveState=activating
SubState=auto-restart
Environment=PORT=8787 NAME=x
ExecStart={ path=/usr/bin/python3 ; argv[]=/usr/bin/python3 server.py ; ignore_errors=no ; pid=9999 ; code=exited }

Id=other.service
ActiveState=activating
SubState=start
Environment=
ExecStart={ path=/x ; argv[]=/x --listen 127.0.0.1:9797 --id 187870 ; ignore_errors=no ; pid=0 }
"""
STUB = """#!/bin/sh
case "$*" in
  *--user*) exit 1;;
  list-units*) printf 'ui.service loaded activating auto-restart UI\\nother.service loaded activating start X\\n';;
  show*) cat "$(dirname "$0")/shown";;
esac
"""


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in first on PATH, on a machine that looks as if systemd ran it."""
    stub = tmp_path / "systemctl"
    stub.write_text(STUB)
    stub.chmod(0o755)
    (tmp_path / "shown").write_text(SHOWN)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(managers, "BOOTED", str(tmp_path))
    return stub


def asked(port: int) -> Unit | None:
    """Who will want this port."""
    return unit_for(port, asyncio.run(restarting()))


def test_19_a_unit_between_two_starts_has_its_port(systemctl: Path) -> None:
    """Scenario 19: its configured port is a conflict, with its name and the command; another port is free."""
    unit = asked(8787)
    assert unit is not None
    assert unit.words == "systemd unit ui.service, which is activating (auto-restart) and has the port in its settings"
    assert unit.do == "systemctl stop ui.service"
    by_command = asked(9797)
    assert by_command is not None
    assert by_command.name == "other.service"
    assert asked(9999) is None, "the pid of a command line is no port"


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\nexec sleep 1000\n", "#!/nonexistent\n"])
def test_who_cannot_tell_does_not_keep_it_from_starting(
    systemctl: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manager that fails, hangs or is not there."""
    systemctl.write_text(script)
    monkeypatch.setattr(managers, "TIMEOUT", 0.3)
    assert asked(8787) is None


def test_without_systemd_nobody_is_asked(systemctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sd_booted says no."""
    monkeypatch.setattr(managers, "BOOTED", "/nonexistent")
    assert asked(8787) is None


def test_our_own_unit_is_not_in_our_way(systemctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`midwatch run --port 8787` as a unit is activating while it asks."""
    monkeypatch.setattr(managers, "_own_units", lambda: {"ui.service"})
    (systemctl.parent / "shown").write_text(SHOWN.partition("\n\n")[2])
    assert asked(8787) is None


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ("PORT=8787", True),
        ("URL=http://h:8787/x", True),
        ("PORT=18787", False),
        ("V=1.8787", False),
        ("ID=a8787", False),
    ],
)
def test_a_port_is_a_word(environment: str, found: bool) -> None:
    assert wants({"Environment": environment}, 8787) is found


def test_blocks_of_show() -> None:
    assert [facts["Id"] for facts in parse(SHOWN)] == ["ui.service", "other.service"]
    assert parse("") == []
