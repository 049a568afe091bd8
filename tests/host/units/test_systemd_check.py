"""What is found in units that other people wrote (scenario 29, D11, 0.1)."""

from __future__ import annotations

import math

import pytest

from midwatch.host.units.systemd_check import findings, span

GOOD = """
[Unit]
StartLimitIntervalSec=120
[Service]
ExecStart=/usr/bin/x
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=78
TimeoutStopSec=30
"""


def test_limits_that_cannot_be_reached() -> None:
    """Scenario 29: on-failure with a pause of 5 s and the default limits loops for ever; 120 s is clean; 0 fails."""
    assert findings(GOOD) == []
    found = findings(GOOD.replace("StartLimitIntervalSec=120\n", ""))
    assert found == ["limit unreachable: 2 starts per 10 s, needs 5; set StartLimitIntervalSec=60 or more"]
    assert findings(GOOD.replace("120", "0"))[0].startswith("there is no start limit")
    assert findings(GOOD.replace("RestartSec=5", "RestartSec=100ms").replace("120", "10")) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("RestartPreventExitStatus=78\n", ""), "exit code 78"),
        (("Restart=on-failure", "Restart=on-abort"), "exit code 75"),
        (("ExecStart=", "WatchdogSec=5\nExecStart="), "nobody promises to ping"),
        (("ExecStart=", "Type=forking\nExecStart="), "guess"),
        (("/usr/bin/x", "/usr/bin/midwatch up -d -f /x"), "start `up` without -d"),
        (("ExecStart=", "KillMode=none\nExecStart="), "KillMode=none"),
        (("ExecStart=", "KillMode=process\nMemoryHigh=1G\nExecStart="), "MemoryHigh"),
    ],
)
def test_each_finding(change: tuple[str, str], words: str) -> None:
    found = findings(GOOD.replace(*change))
    assert len(found) == 1
    assert words in found[0]


def test_patience_shorter_than_our_ladder() -> None:
    """D11: the incident's unit waited 30 s for a ladder of 35."""
    assert findings(GOOD, 29.0) == []
    assert "systemd would kill first" in findings(GOOD, 35.0)[0]


def test_no_unit_at_all() -> None:
    assert findings("hello") == ["it has no [Service] section"]
    assert findings("[Service]\nRestart=no\n") == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5.0), ("1min 30s", 90.0), ("2h", 7200.0), ("100ms", 0.1), ("infinity", math.inf), ("soon", None)],
)
def test_time_spans(text: str, seconds: float | None) -> None:
    assert span(text) == seconds


def test_an_endless_interval_counts_every_start() -> None:
    """StartLimitIntervalSec=infinity: the limit is reached some day, so there is nothing to say about it."""
    text = "[Unit]\nStartLimitIntervalSec=infinity\n[Service]\nExecStart=/x\nRestart=always\n"
    assert not [words for words in findings(text) if "limit" in words]
