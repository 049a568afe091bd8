"""Deaths: the kernel's log, core dumps, a Mac's reports, our own record; torn and hostile text gives nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.inspect.doctor.machines import NOW, Machine

from midwatch.inspect.look import deathlogs, deaths
from midwatch.policy import defaults_inspect as d

LOG = """[  100.000001] worker invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
[  100.100000] Memory cgroup out of memory: Killed process 1665 (sh) total-vm:45792kB, anon-rss:31872kB, UID:0
[  200.500000] Out of memory: Killed process 77 (py) x (thon3) total-vm:9000000kB, anon-rss:7340032kB, file-rss:0kB
[  300.000000] python3[2768]: segfault at 10 ip 00007f00 sp 00007ffc error 4 in _imaging.cpython-313.so[67+1]
[  400.000000] traps: chrome[99] trap int3 ip:55 sp:7f error:0 in chrome[5+1]
[  500.000000] usb 1-1: new device
garbage
"""


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def machine(log: str = LOG, up: float = 1000.0) -> Machine:
    made = Machine()
    made.put("/proc/uptime", f"{up} 5.0\n")
    made.says("dmesg", log)
    return made


def test_the_kernels_log() -> None:
    """F-05, F-06: who, when, how much, whose limit; a name that forges the format is still that name."""
    found = deaths.find(machine(), [])
    assert [(one.name, one.pid, one.at) for one in found.deaths] == [
        ("chrome", 99, NOW - 600), ("python3", 2768, NOW - 700), ("py) x (thon3", 77, NOW - 799.5),
        ("sh", 1665, NOW - 899.9),
    ]  # fmt: skip
    words = [one.words for one in found.deaths]
    assert words[1] == "segmentation fault in _imaging.cpython-313.so"
    assert words[2] == "killed by the kernel at 7 GiB: the machine was out of memory"
    assert "its memory group's limit" in words[3]
    assert found.missing == []


def test_a_kill_of_who_held_nothing_yet() -> None:
    """A process that was killed before it had a page: "at 0 B" would be no news."""
    line = "[5.0] Memory cgroup out of memory: Killed process 7 (sh) total-vm:4kB, anon-rss:0kB, UID:0\n"
    (death,) = deaths.find(machine(line), []).deaths
    assert death.words == "killed by the kernel: its memory group's limit"


def test_a_log_that_is_closed_is_named_with_what_everybody_may_know() -> None:
    """Without root: how many were killed since boot, and how to see who."""
    made = machine()
    made.says("dmesg", "", 1, "dmesg: read kernel buffer failed: Operation not permitted")
    made.says("journalctl -k -b -o short-monotonic --no-pager -n 8000", "-- No entries --\n")  # and 0
    made.put("/proc/vmstat", "nr_free 5\noom_kill 12\n")
    assert deaths.find(made, []).missing == [
        (
            "the kernel's log of kills and crashes is not readable (sudo midwatch look); 12 processes were killed for "
            "lack of memory since boot"
        )
    ]


def test_core_dumps_are_known_by_their_names() -> None:
    made = machine("[1.0] x\n")
    boot = "0" * 32
    made.sizes |= {
        f"/var/lib/systemd/coredump/core.MainThread\\x20x.1000.{boot}.4242.{int((NOW - 60) * 1e6)}.zst": 5,
        "/var/lib/systemd/coredump/notes.txt": 5,
    }
    (death,) = deaths.find(made, []).deaths
    assert (death.name, death.pid, death.at, death.source) == ("MainThread x", 4242, NOW - 60, "coredump")


def test_only_the_last_day_is_told() -> None:
    """DEATH_TOLD and DEATHS_MOST: the newest first; older ones are history."""
    rows = "".join(
        f"[{second}.0] Out of memory: Killed process {second} (x{second}) anon-rss:4kB\n"
        for second in range(100, 300)
    )
    found = deaths.find(machine(rows, 400.0), []).deaths
    assert len(found) == d.DEATHS_MOST
    assert found[0].pid == 299
    assert deaths.find(machine(rows, d.DEATH_TOLD + 400.0), []).deaths == []


def test_a_mac_killed_by_jetsam() -> None:
    """F-02, users.md 5.1: docker-agent 66283 at 26 GB; one that survived is not told; header and body or one object."""
    made = Machine("darwin")
    made.home = "/Users/me"
    head = {"bug_type": "298", "timestamp": "2026-03-02 09:20:00.00 +0100"}
    body = {
        "largestProcess": "docker-agent",
        "memoryStatus": {"pageSize": 16384},
        "processes": [
            {
                "pid": 66283,
                "name": "docker-agent",
                "rpages": 1_700_000,
                "reason": "vm-compressor-space-shortage",
            },
            {"pid": 502, "name": "node", "rpages": 40000},
        ],
    }
    folder = "/Library/Logs/DiagnosticReports"
    made.put(f"{folder}/JetsamEvent-2026-03-02-092000.ips", json.dumps(head) + "\n" + json.dumps(body))
    made.put(f"{folder}/notes.txt", "x")
    (death,) = deaths.find(made, []).deaths
    assert (death.name, death.pid) == ("docker-agent", 66283)
    assert death.words == "killed by jetsam at 25.9 GiB: vm-compressor-space-shortage"
    assert deathlogs.report("JetsamEvent-1.ips", json.dumps(head | body)) == [death]


def test_a_mac_that_crashed_or_panicked() -> None:
    """F-01 with an unreadable body and with one; F-03 as text and as JSON."""
    head = {"app_name": "python3.13", "timestamp": "2026-03-02 09:14:07.00 +0100", "bug_type": "309"}
    body = {"pid": 4242, "procName": "python3.13", "exception": {"signal": "SIGSEGV"}}
    (crash,) = deathlogs.report(
        "python3.13-2026-03-02-091407.ips", json.dumps(head) + "\n" + json.dumps(body, indent=1)
    )
    assert (crash.name, crash.pid, crash.words) == ("python3.13", 4242, "crashed (SIGSEGV)")
    assert deathlogs.report("x-2026-03-02-091407.ips", json.dumps(head) + "\n{trunc") == []
    text = "panic(cpu 2 caller 0x1): watchdog timeout: no checkins from watchdogd in 91 seconds\nmore"
    (panic,) = deathlogs.report("panic-full-2026-03-02-091407.0002.panic", text)
    assert panic.words == "kernel panic: watchdog timeout: no checkins from watchdogd in 91 seconds"
    (same,) = deathlogs.report(
        "p.ips", json.dumps(head | {"bug_type": "210"}) + "\n" + json.dumps({"panicString": text})
    )
    assert same.words == panic.words


def test_our_own_record(tmp_path: Path) -> None:
    """run.exited with a cause that nobody wanted; stops and clean ends are none; an old line is history."""
    now = datetime.now(UTC).timestamp()
    week = datetime.now(UTC).strftime("%G-W%V")
    rows = [
        {
            "ts": stamp(now - 60),
            "event": "run.exited",
            "service": "shop/web",
            "cause": "oom",
            "signal": 9,
            "pid": 5,
        },
        {
            "ts": stamp(now - 50),
            "event": "run.exited",
            "service": "shop/web",
            "cause": "requested",
            "code": 0,
        },
        {
            "ts": stamp(now - 40),
            "event": "run.exited",
            "service": "shop/db",
            "cause": "crash",
            "code": 3,
            "pid": 6,
        },
        {
            "ts": stamp(now - 3 * d.DEATH_TOLD),
            "event": "run.exited",
            "service": "a/b",
            "cause": "crash",
            "code": 1,
        },
        {"ts": stamp(now - 30), "event": "run.spawned", "service": "a/b"},
    ]
    (tmp_path / f"{week}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = sorted(deaths.ours([str(tmp_path), "/none"], now - d.DEATH_TOLD), key=lambda one: one.at)
    assert [(one.name, one.words, one.subject) for one in found] == [
        ("shop/web", "oom (signal 9)", "shop/web"), ("shop/db", "crash (code 3)", "shop/db"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["JetsamEvent-x.ips", "a.ips", "b.panic"])
@given(text=st.text(max_size=300))
def test_any_report_is_survived(name: str, text: str) -> None:
    deathlogs.report(name, text)
    deathlogs.report(name, '{"timestamp":"2026-03-02 09:14:07.00 +0100","bug_type":"298"}\n' + text)
    deathlogs.kernel(text, 0.0)
    deathlogs.core_name(text)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda x: (
            st.lists(x, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["processes", "memoryStatus", "pageSize", "pid", "reason", "rpages", "exception", "name"]
                ),
                x,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_shape_of_json_is_survived(value: object) -> None:
    head = '{"timestamp":"2026-03-02 09:14:07.00 +0100","bug_type":"%s"}\n'
    for kind in ("298", "309", "210"):
        deathlogs.report("x.ips", head % kind + json.dumps(value))
