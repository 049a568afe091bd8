"""`midwatch doctor` under a real systemd: a restart loop around an old server, and impatience, by its own counters.

DOC-18, DOC-22, story 4's shape under systemd.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from tests.real.conftest import Place

pytestmark = pytest.mark.timeout(120)

OLD = "[Service]\nType=exec\nExecStart={python} -m http.server {port} -b 127.0.0.1\n"
LOOP = """[Unit]
StartLimitIntervalSec=0
[Service]
ExecStart=/bin/sh -c 'echo "gateway: another instance is already running"; exit 0'
Environment=PORT={port}
Restart=always
RestartSec=0.1
"""
IMPATIENT = "[Service]\nType=exec\nExecStart=/bin/sleep 600\nEnvironment=DRAIN_SECONDS=300\nTimeoutStopSec=30\n"


def doctor(place: Place) -> list[dict[str, Any]]:
    answer: dict[str, Any] = json.loads(place.cli("doctor", "--category", "services", "--json", check=False))
    found: list[dict[str, Any]] = answer["checks"]
    return found


def test_a_restart_loop_around_an_old_server_is_named(place: Place, free_port: int) -> None:
    """Restart=always, a launcher that exits 0 because an old server has the port: both, by pid, within one look."""
    old, loop = f"t{place.number}-old.service", f"t{place.number}-loop.service"
    place.install(old, OLD.format(python=sys.executable, port=free_port))
    place.nested.run("systemctl", "start", old)
    place.nested.until(old, lambda said: said["ActiveState"] == "active", "the old server runs")
    place.install(loop, LOOP.format(port=free_port))
    place.nested.run("systemctl", "start", loop, check=False)
    place.nested.until(loop, lambda said: int(said["NRestarts"]) >= 8, "it was started again eight times")
    found = [one for one in doctor(place) if loop in one["message"]]
    server = int(place.nested.show(old)["MainPID"])
    (named,) = [one for one in found if one["id"] == "DOC-22" and one["status"] == "fail"]
    assert "Restart=always + launcher that exits 0 -> loop" in named["message"]
    assert f"port {free_port} is held by" in named["message"]
    assert named["evidence"]["holder"] == server
    assert any("there is no start limit" in one["message"] for one in found)
    (often,) = [one for one in found if one["id"] == "DOC-18"]
    assert often["status"] in ("warn", "fail")
    assert "exit 0" in often["message"]


def test_the_journals_questions_are_understood(place: Place) -> None:
    """What DOC-9 and DOC-10 ask of journalctl is what a real one answers: no complaint about an option."""
    answer: dict[str, Any] = json.loads(place.cli("doctor", "--category", "crashes", "--json", check=False))
    words = [one["message"] for one in answer["checks"]]
    assert {one["id"] for one in answer["checks"]} == {"DOC-9", "DOC-10"}
    assert not [one for one in words if "ended with" in one or "does not list" in one or "failed" in one], words


def test_impatience_is_told(place: Place) -> None:
    """TimeoutStopSec=30 < drain 300: said of a unit that runs fine."""
    name = f"t{place.number}-slow.service"
    place.install(name, IMPATIENT)
    place.nested.run("systemctl", "start", name)
    words = [one["message"] for one in doctor(place) if one["id"] == "DOC-22"]
    assert f"{name}: TimeoutStopSec=30 < drain 300: the manager kills before it has drained" in words
