"""A Mac in a folder, by the same command line as a living one: story 4, and what source C's user read by hand.

Everything here is made from the formats F-01..F-17; nothing has run on a Mac.
"""

from __future__ import annotations

import json
import plistlib
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.inspect.doctor.test_crashes import report
from tests.inspect.doctor.test_freeze import JETSAM
from tests.inspect.doctor.test_units import JOB, PRINT

pytestmark = pytest.mark.slow

NOW = "2026-03-02T10:20:00+01:00"
AT = datetime.fromisoformat(NOW).timestamp()


class Folder:
    """Writes a recording."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text("platform", "darwin")
        self.text("now", NOW)
        self.text("home", "/Users/me")
        self.text("uid", "501")

    def text(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    def file(self, path: str, data: str | bytes) -> None:
        target = self.path / "files" / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data.encode() if isinstance(data, str) else data)

    def says(self, command: str, out: str, code: str = "0") -> None:
        self.text("run/" + "_".join(command.split()).replace("/", "-") + ".txt", f"{code}\n{out}")

    def doctor(self, *words: str, user: int | None = None) -> dict[str, Any]:
        command = [
            sys.executable,
            "-P",
            "-m",
            "midwatch",
            "doctor",
            "--recorded",
            str(self.path),
            "--json",
            *words,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, user=user)
        assert done.returncode in (0, 1), done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def mac(tmp_path: Path, home: Path) -> Folder:
    """A Mac that restarts one job for ever, freezes, and has native crashes."""
    assert home.is_dir()
    folder = Folder(tmp_path)
    folder.text("ps.txt", "pid ppid pgid sid uid etimes rss tty args\n1 0 1 1 0 900000 9000 ?? /sbin/launchd\n"
                "500 1 500 500 501 86000 90000 ?? /usr/bin/python3 /opt/webui/server.py\n")  # fmt: skip
    folder.text("sysctl.txt", "kern.memorystatus_vm_pressure_level = 2\nvm.swapusage = total = 3072.00M used = 90.50M"
                " free = 971.50M\nhw.memsize = 38654705664\nkern.boottime = { sec = 1772356800, usec = 0 }\n"
                "kern.maxprocperuid = 2784\n")  # fmt: skip
    folder.text("space.json", json.dumps({"/": [500 << 30, 300 << 30, 1000, 900]}))
    folder.says("memory_pressure -Q", "System-wide memory free percentage: 41%\n")
    folder.says("launchctl limit maxfiles", "\tmaxfiles    256            unlimited\n")
    folder.file("/Users/me/Library/LaunchAgents/com.me.webui.plist", plistlib.dumps(JOB))
    text = PRINT.format(label="com.me.webui", state="spawn scheduled", runs=412, code="1", more="")
    folder.says("launchctl print gui/501/com.me.webui", text)
    folder.file("/Users/me/webui.log", "x\nError: listen EADDRINUSE: address already in use 127.0.0.1:8787\n")
    folder.says("lsof -nP -iTCP:8787 -sTCP:LISTEN -a -Fp", "p500\n")
    logs = "/Library/Logs/DiagnosticReports"
    folder.file(f"{logs}/JetsamEvent-2026-03-02-092000.ips", JETSAM)
    folder.file(f"{logs}/ResetCounter-2026-03-02-092600.diag", "Boot faults: btn_rst\n")
    for number in range(9):
        retired = "Retired/" if number < 7 else ""
        when = AT - 3600 - number * 36000
        folder.file(f"/Users/me{logs}/{retired}python3.13-2026-03-02-00000{number}.ips", report(when))
    return folder


def of(found: dict[str, Any], check: str) -> list[dict[str, Any]]:
    return [one for one in found["checks"] if one["id"] == check]


def test_keepalive_and_already_running_are_named_within_one_run(mac: Folder) -> None:
    """Story 4: "every 14 seconds since the update": one `doctor` names KeepAlive, the exit, the port and its holder."""
    words = [one["message"] for one in of(mac.doctor(), "DOC-22") if one["status"] == "fail"]
    assert len(words) == 1
    assert words[0].startswith(
        "com.me.webui: KeepAlive + already-running exit (exit 1) -> loop (412 runs); port 8787 is held by "
        "python3 /opt/webui/server.py (pid 500)"
    )


def test_the_whole_mac(mac: Folder) -> None:
    """Pressure level, limits, freeze, crashes and restarts of one recording, each with its status and source file."""
    found = mac.doctor()
    worst: dict[str, str] = {}
    for one in found["checks"]:
        worst.setdefault(one["id"], one["status"])
    assert {one["source"] for one in found["checks"]} == {"file"}
    expected = {
        "DOC-1": "warn",
        "DOC-9": "fail",
        "DOC-10": "fail",
        "DOC-17": "pass",
        "DOC-18": "fail",
        "DOC-19": "warn",
    }
    assert {check: worst[check] for check in expected} == expected
    assert found["freeze"]["cause"].startswith("memory ran out")
    crash = of(found, "DOC-10")[0]
    assert (crash["evidence"]["count"], crash["evidence"]["culprit"]) == (9, "pydantic-core")


def test_a_torn_recording_answers_in_part(mac: Folder) -> None:
    """Bad input: a plist that breaks off, a hung tool, a ps of nonsense: the rest is told, the gaps too."""
    mac.file("/Users/me/Library/LaunchAgents/com.me.webui.plist", plistlib.dumps(JOB)[:200])
    mac.text("ps.txt", "pid ppid args\nx y\n\n\x00\n")
    mac.says("memory_pressure -Q", "", "late")
    mac.text("space.json", "{}")
    found = mac.doctor()
    skips = {one["id"] for one in found["checks"] if one["status"] == "skip"}
    assert {"DOC-2", "DOC-17", "DOC-22"} <= skips
    assert of(found, "DOC-1")[0]["status"] == "warn"
    assert all(one["hint"] for one in found["checks"] if one["status"] == "skip")
