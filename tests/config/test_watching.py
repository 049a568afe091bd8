"""The keys of ports, launchers and liveness: what they become, and what contradicts itself in them."""

from __future__ import annotations

import signal

import pytest
from tests.config.conftest import Read

from midwatch.config.problems import ConfigError
from midwatch.policy import defaults

SERVICE = "[service.web]\ncommand = ['true']\n"
QUEUE = 'backlog = "restart"\n'


def test_nothing_is_watched_that_was_not_asked_for(read: Read) -> None:
    """HLT-4, HLT-6, HLT-8: no deep probe, no watchdog, no dump by default; a full accept queue is only told."""
    rules = read(SERVICE).specs[0].rules
    assert (rules.deep, rules.watchdog, rules.dump_signal) == (None, None, None)
    assert (rules.backlog, rules.launcher) == ("warn", "follow")
    assert (rules.backoff.port, rules.backoff.port_most) == (defaults.PORT_FIRST, defaults.PORT_MOST)


def test_a_deep_probe_has_its_own_rhythm(read: Read) -> None:
    """HLT-4: 30 s, 10 s, three in a row; beside the shallow one."""
    text = SERVICE + 'deep = { http = "http://127.0.0.1:1/health?deep=1", json_status = "status" }\nwatchdog = "30s"\n'
    rules = read(text).specs[0].rules
    assert rules.deep is not None
    assert (rules.deep.every, rules.deep.timeout, rules.deep.failures) == (30.0, 10.0, 3)
    assert rules.health is None
    assert rules.watchdog == 30.0


def test_a_declared_dump_signal(read: Read) -> None:
    """HLT-8: by name."""
    assert read(SERVICE + 'dump_signal = "USR1"\n').specs[0].rules.dump_signal == signal.SIGUSR1


def test_a_queue_needs_a_port(read: Read) -> None:
    """HLT-6: told by check; not an error."""
    told = [[warning.key for warning in read(SERVICE + text).warnings] for text in (QUEUE, QUEUE + "port = 80\n")]
    assert ["service.web.backlog" in keys for keys in told] == [True, False]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ('dump_signal = "KILL"', "would end it"),
        ('dump_signal = "TERM"', "would end it"),
        ('backoff = { port = "2m", port_most = "1m" }', "longer than backoff.port_most"),
        ('deep = { every = "30s" }', "asks nothing"),
        ('deep = { log = "x" }', "unknown key"),
        ('backlog = "kill"', "backlog"),
        ('launcher = "maybe"', "launcher"),
        ('watchdog = "0s"', "watchdog"),
    ],
)
def test_what_cannot_work_is_refused(read: Read, line: str, part: str) -> None:
    """Each with its line and what is wrong."""
    with pytest.raises(ConfigError) as found:
        read(SERVICE + line + "\n")
    assert part in str(found.value)
