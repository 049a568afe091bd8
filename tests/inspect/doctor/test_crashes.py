"""DOC-10: crashes that trickle in, from recorded reports (scenario 52), coredumpctl and the kernel's log."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from tests.inspect.doctor.machines import NOW, Machine, ctx

from midwatch.inspect.doctor import crashes
from midwatch.inspect.doctor.parts import ips
from midwatch.inspect.doctor.run import run
from midwatch.model.look import Checked
from midwatch.policy import defaults_inspect as figures

MINE = "/Users/me/Library/Logs/DiagnosticReports"
ZONE = timezone(timedelta(hours=1))
IMAGES = [
    {"name": "libsystem_platform.dylib"}, {"name": "libpython3.13.dylib"},
    {"name": "_pydantic_core.cpython-313-darwin.so"}, {"size": 0, "source": "A", "base": 0},
]  # fmt: skip


def report(when: float, app: str = "python3.13", frames: tuple[int, ...] = (0, 1, 2)) -> str:
    """F-01, with the frames' images."""
    stamp = datetime.fromtimestamp(when, ZONE).strftime("%Y-%m-%d %H:%M:%S.00 +0100")
    header = {"app_name": app, "timestamp": stamp, "bug_type": "309", "name": app, "incident_id": "AAAA-1"}
    body = {
        "captureTime": stamp, "procName": app, "parentProc": "pytest", "faultingThread": 1,
        "exception": {"type": "EXC_BAD_ACCESS", "signal": "SIGSEGV"},
        "threads": [{"frames": []}, {"triggered": True, "frames": [{"imageIndex": at} for at in frames]}],
        "usedImages": IMAGES,
    }  # fmt: skip
    return json.dumps(header) + "\r\n" + json.dumps(body)


def fill(mac: Machine, ages: list[float], retired: int = 0) -> None:
    mac.home = "/Users/me"
    for number, age in enumerate(ages):
        folder = f"{MINE}/Retired" if number < retired else MINE
        mac.put(
            f"{folder}/python3.13-2026-03-0{number % 9 + 1}-09140{number % 10}.{number}.ips",
            report(NOW - age),
        )


def look(machine: Machine) -> list[Checked]:
    return run(ctx(machine), [crashes.CHECK])


DAY = 86_400.0
NINE = [0.1 * DAY + n * 0.4 * DAY for n in range(9)]


@pytest.mark.parametrize(
    ("ages", "retired", "status", "count"),
    [
        (NINE, 0, "fail", 9), (NINE, 7, "fail", 9), ([DAY, 5 * DAY], 0, "pass", 2),
        ([DAY, 3 * DAY, 5 * DAY], 0, "warn", 3),
        ([0.5 * DAY, 1.5 * DAY, 2.5 * DAY], 0, "fail", 3), ([8 * DAY] * 9, 0, "pass", None),
    ],
)  # fmt: skip
def test_counts_of_the_scenario(
    mac: Machine, ages: list[float], retired: int, status: str, count: int | None
) -> None:
    """Scenario 52: 9 in 4 days fail, also with 7 retired; 2 in a week are noted; three days running fail."""
    fill(mac, ages, retired)
    (found,) = look(mac)
    assert (found.status, found.evidence.get("count")) == (status, count)
    if count:
        assert found.evidence["culprit"] == "pydantic-core"
        assert found.evidence["parent"] == "pytest"
        assert len(found.offenders) == count


def test_the_hint_is_about_whose_code_it_was(mac: Machine) -> None:
    """Upgrade the package, and see the Python line."""
    fill(mac, NINE)
    assert look(mac)[0].hint.startswith("upgrade pydantic-core, and run it with PYTHONFAULTHANDLER=1")


@pytest.mark.parametrize(
    ("frames", "culprit"),
    [
        ((0, 1, 2), "pydantic-core"),
        ((0, 1), "interpreter"),
        ((0,), "system"),
        ((3, 2), "jump to garbage"),
        ((9,), ""),
    ],
)
def test_the_culprit_is_the_first_own_frame(frames: tuple[int, ...], culprit: str) -> None:
    """TRI-4: plumbing and interpreter are skipped; a nameless image on top is a jump to garbage."""
    assert ips.parse(report(NOW, frames=frames)).culprit == culprit


def test_a_truncated_body_keeps_the_header(mac: Machine) -> None:
    """Scenario 62's case here: counted by its header; what is no report at all is left out."""
    mac.home = "/Users/me"
    mac.put(f"{MINE}/a-2026-03-01-091400.ips", report(NOW - 600)[:300])
    mac.put(f"{MINE}/b-2026-03-01-091400.ips", "hello")
    mac.put(f"{MINE}/c-2026-03-01-091400.ips", "[1]\n2")
    (found,) = look(mac)
    assert found.evidence["count"] == 1
    assert ips.parse(report(NOW)[:300]).problem == "body unreadable"


def test_many_reports_are_bounded(mac: Machine) -> None:
    """A folder of 3,000 reports: the newest by name are read."""
    mac.home = "/Users/me"
    asked: list[str] = []
    for number in range(3000):
        mac.put(f"{MINE}/x-2026-03-01-{number:06}.ips", "{}")

    class Counting(Machine):
        def read(self, path: str, limit: int = 0) -> bytes:
            asked.append(path)
            return super().read(path, 1 << 20)

    one = Counting("darwin")
    one.home, one.files = mac.home, mac.files
    look(one)
    assert 0 < len(asked) <= figures.REPORTS + 5


def test_coredumps_are_counted(machine: Machine) -> None:
    """F-08: by executable and signal; none is a pass."""
    rows = [
        {"time": int((NOW - n * 3600) * 1e6), "pid": 1, "sig": 11, "exe": "/usr/bin/python3.13"}
        for n in range(7)
    ]
    machine.says("coredumpctl list --json=short --no-pager --since=-7d", json.dumps(rows))
    (found,) = look(machine)
    assert (found.status, found.evidence["binary"], found.evidence["culprit"]) == (
        "fail",
        "python3.13",
        "SIGSEGV",
    )
    machine.says("coredumpctl list --json=short --no-pager --since=-7d", "", 1, "No coredumps found.")
    assert [one.status for one in look(machine)] == ["pass"]


def test_the_kernels_log_is_second_choice(machine: Machine) -> None:
    """F-06 without coredumpctl; with neither it is a skip that names both."""
    line = (
        "{at} box kernel: python3[2768]: segfault at 10 ip 00007f00aa585ad8 sp 00007ffc00218fe8 error 4 in "
        "_imaging.cpython-313-x86_64-linux-gnu.so[67ad8,7f00aa444000+156000] likely on CPU 1 (core 1, socket 0)\n"
    )
    out = "".join(line.format(at=f"{NOW - n * 3600:.6f}") for n in range(1, 5))
    machine.says("journalctl -k -o short-unix --no-pager --since=-7d", out + "junk\n")
    (found,) = look(machine)
    assert (found.status, found.evidence["culprit"], found.evidence["count"]) == ("warn", "Pillow", 4)
    machine.says("journalctl -k -o short-unix --no-pager --since=-7d", "-- No entries --\n")
    assert [one.status for one in look(machine)] == ["skip"]  # GEN-7: an empty log is not a calm week
    machine.ran.clear()
    (found,) = look(machine)
    assert found.status == "skip"
    assert "coredumpctl is not here; journalctl is not here" in found.message


def test_a_denied_folder_is_said(mac: Machine) -> None:
    """/Library may not be read by everybody: what could be read is counted, what not is a skip."""
    fill(mac, [DAY])

    class Refusing(Machine):
        def names(self, folder: str, limit: int = 10_000) -> list[str]:
            if folder == "/Library/Logs/DiagnosticReports":
                raise PermissionError(13, "Permission denied", folder)
            return super().names(folder, limit)

    one = Refusing("darwin")
    one.home, one.files = mac.home, mac.files
    assert [found.status for found in look(one)] == ["skip", "pass"]
