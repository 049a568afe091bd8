"""DOC-9: what the records of a freeze say, from recorded files (scenario 53) and journals."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from tests.inspect.doctor.machines import Machine, ctx

from midwatch.inspect.doctor import freeze
from midwatch.inspect.doctor.parts import ips
from midwatch.inspect.doctor.run import run
from midwatch.model.look import Checked

LOGS = "/Library/Logs/DiagnosticReports"
JETSAM = (
    '{"bug_type":"298","timestamp":"2026-03-02 09:20:00.00 +0100","incident_id":"J-1"}\n'
    '{"largestProcess":"node","memoryStatus":{"pageSize":16384},"processes":[{"pid":501,"name":"node","rpages":61000}]}'
)
WATCHDOG = (
    "panic(cpu 2 caller 0xf): watchdog timeout: no checkins from watchdogd in 91 seconds (45 totalcheckins)\n"
)
AT = datetime(2026, 3, 2, 8, 26, tzinfo=UTC).timestamp()  # 09:26 in the files' zone


def only(machine: Machine, later: float = 3600.0) -> Checked:
    machine.time = AT + later
    (found,) = run(ctx(machine), [freeze.CHECK])
    return found


def test_a_jetsam_event_before_a_reset_is_memory(mac: Machine) -> None:
    """Scenario 53: no panic, a jetsam event 6 minutes before a reset: a hang, memory pressure likely."""
    mac.put(f"{LOGS}/JetsamEvent-2026-03-02-092000.ips", JETSAM)
    mac.put(f"{LOGS}/ResetCounter-2026-03-02-092600.diag", "Boot faults: btn_rst,example_timeout\n")
    found = only(mac)
    assert found.status == "fail"
    assert found.message == (
        "hang, memory pressure likely: reset 1 h ago, a jetsam event 6 m before it (largest process: node)"
    )
    assert found.evidence["before_s"] == 360
    assert [one.name.rpartition("/")[2][:6] for one in found.offenders] == ["ResetC", "Jetsam"]


def test_a_reset_alone_is_a_hang_or_power_loss(mac: Machine) -> None:
    """A jetsam event hours before has nothing to do with it."""
    mac.put(f"{LOGS}/JetsamEvent-2026-03-02-042000.ips", JETSAM.replace("09:20", "04:20"))
    mac.put(f"{LOGS}/ResetCounter-2026-03-02-092600.diag", "Boot faults: btn_rst\n")
    assert "nothing says that memory was short" in only(mac).message


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_watchdog_panic_gets_no_driver_advice(mac: Machine, wrapped: bool) -> None:
    """Scenario 53: "no checkins from watchdogd" is class watchdog; text and .ips form."""
    body = json.dumps({"panicString": WATCHDOG})
    header = '{"bug_type":"210","timestamp":"2026-03-02 09:26:00.00 +0100"}\n'
    if wrapped:
        mac.put(f"{LOGS}/panic-full-2026-03-02-092600.0002.ips", header + body)
    else:
        mac.put(f"{LOGS}/Kernel-2026-03-02-082600.panic", WATCHDOG)
    found = only(mac, 30 * 3600.0)
    assert found.evidence["class"] == "watchdog"
    assert "driver" not in found.hint


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            "panic(cpu 0 caller 0x1): userspace watchdog timeout: no successful checkins from WindowServer",
            "watchdog",
        ),
        ('panic(cpu 0 caller 0x1): "com.example.driver.Net::start" overflow @Net.cpp:12', "driver"),
        ("panic(cpu 1 caller 0x2): guest vm_fault at 0x10", "guest"),
        ("panic(cpu 1 caller 0x2): zone_map_exhausted: zone map", "memory"),
    ],
)
def test_panics_are_classified(text: str, kind: str) -> None:
    """Only one class is a driver's."""
    assert ips.panic_class(text) == kind


def test_old_freezes_are_history(mac: Machine) -> None:
    """Within 7 days it fails, within 30 it warns, then it passes."""
    mac.put(f"{LOGS}/x.ips", JETSAM)  # for its zone
    mac.put(f"{LOGS}/ResetCounter-2026-03-02-092600.diag", "")
    assert [only(mac, days * 86400.0).status for days in (6, 8, 31)] == ["fail", "warn", "pass"]


def test_nothing_readable_is_a_skip(mac: Machine, machine: Machine) -> None:
    """GEN-7: no folder, no journalctl."""
    assert only(mac).status == "skip"
    assert only(machine).status == "skip"
    machine.says("journalctl --list-boots -o json --no-pager", "{{{")
    assert only(machine).status == "skip"


def boots(machine: Machine, tail: str) -> Machine:
    rows = [{"index": -1, "first_entry": 1, "last_entry": int(AT * 1e6)},
            {"index": 0, "first_entry": int((AT + 90) * 1e6), "last_entry": int((AT + 900) * 1e6)}]  # fmt: skip
    machine.says("journalctl --list-boots -o json --no-pager", json.dumps(rows))
    machine.says("journalctl -b -1 -n 200 -o short-unix --no-pager", tail)
    return machine


def test_a_boot_that_stopped_in_the_middle(machine: Machine) -> None:
    """Linux: a journal that ends with OOM lines and no shutdown target was a freeze; with one it was clean."""
    oom = f"{AT}.1 box kernel: Out of memory: Killed process 77 (python3) total-vm:9000000kB, anon-rss:7000000kB\n"
    found = only(boots(machine, oom))
    assert found.status == "fail"
    assert "stopped in the middle of its work 1 h ago, memory pressure likely" in found.message
    assert (
        only(boots(machine, oom + f"{AT}.9 box systemd[1]: Reached target System Reboot.\n")).status == "pass"
    )
    found = only(boots(machine, f"{AT}.2 box cron[5]: hello\n"))
    assert "power loss?" in found.message
    machine.put("/sys/fs/pstore/dmesg-efi-1", "")
    assert "crashed in the kernel" in only(machine).message


def test_a_first_boot_has_no_story(machine: Machine) -> None:
    """A fresh machine; one whose journal knows no boot at all can tell nothing (GEN-7)."""
    machine.says("journalctl --list-boots -o json --no-pager", "[]")
    assert only(machine).status == "skip"
    machine.says("journalctl --list-boots -o json --no-pager", '[{"index":0,"first_entry":1,"last_entry":2}]')
    assert only(machine).status == "pass"
    machine.put("/var/lib/systemd/pstore/dmesg.txt", "")
    assert only(machine).status == "warn"
