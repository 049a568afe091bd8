"""The keys of the guards: lines, drain, descriptors, priority, the machine budget (F12-F19)."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.plain import default_rules

from midwatch.config import Loaded, difference, explain
from midwatch.config.digest import spawn_digest
from midwatch.model.service import DrainRules, FdRules, MemoryLines, Rules, ServiceSpec, Window
from midwatch.policy import defaults as d

Read = Callable[..., Loaded]
MIB = 1 << 20


def rules(read: Read, lines: str) -> Rules:
    return read(f"[service.web]\ncommand = '/bin/true'\n{lines}").specs[0].rules


def test_without_a_word_there_are_no_lines(read: Read) -> None:
    """Nothing is ended for its memory, nothing is restarted for its descriptors."""
    found = rules(read, "")
    assert (found.memory, found.drain, found.fds, found.priority) == (None, None, None, "normal")
    assert (found.budgets.fds, found.budgets.fds_slow) == (Window(1, 900.0), Window(4, 86_400.0))
    assert found == msgspec.structs.replace(default_rules(), ready=None)


def test_every_key_of_the_guards(read: Read) -> None:
    """As the design shows them."""
    found = rules(
        read,
        'memory = { soft = "1.5G", hard = "2G" }\npriority = "protected"\n'
        'fds = { warn = "60%", act = 0.8, pools = { "state.db" = 4 }, action = "restart" }\n'
        'drain = { signal = "USR1", code = 12, within = "2m" }\n'
        'restart = { fds = "2 in 1h", fds_slow = "off" }',
    )
    assert found.memory == MemoryLines(1536 * MIB, 2048 * MIB)
    assert found.fds == FdRules(0.6, 0.8, {"state.db": 4}, "restart")
    assert (found.drain, found.drain_code) == (DrainRules(int(signal.SIGUSR1), None, 120.0), 12)
    assert (found.priority, found.budgets.fds, found.budgets.fds_slow) == ("protected", Window(2, 3600.0), None)


def test_defaults_of_groups_that_are_written(read: Read) -> None:
    """Half a group has the other half's defaults; they are those of the detector."""
    found = rules(read, "fds = { pools = { a = 1 } }\ndrain = { command = ['x', 'y'] }\nmemory.soft = '1G'")
    assert found.fds == FdRules(*d.FD_ROOM, {"a": 1}) == FdRules(pools={"a": 1})
    assert found.drain == DrainRules(None, ("x", "y"), d.DRAIN_WITHIN) == DrainRules(command=("x", "y"))
    assert found.drain_code is None


def test_a_drain_code_may_stand_in_both_places(read: Read) -> None:
    """`restart.drain_code` stays as another name; alone it declares a service that drains on its own account."""
    for lines in ("restart.drain_code = 12", "drain.code = 12", "drain.code = 12\nrestart.drain_code = 12"):
        found = rules(read, lines)
        assert (found.drain_code, found.drain) == (12, None)


def test_hard_auto_is_settled_later(read: Read) -> None:
    """F14: the share depends on every service of the machine: no bytes in here, none for the kernel."""
    spec = read("[service.web]\ncommand = '/bin/true'\nmemory.hard = 'auto'").specs[0]
    assert (spec.rules.memory, spec.launch.memory_hard) == (MemoryLines(None, "auto"), None)
    spec = read("[service.web]\ncommand = '/bin/true'\nmemory.hard = '1G'\ncontain = 'none'").specs[0]
    assert (spec.rules.memory, spec.launch.memory_hard) == (MemoryLines(None, 1 << 30), 1 << 30)


def test_the_budget_and_the_reserve(read: Read) -> None:
    """Sizes of the instance; lines that together exceed the budget are a warning, as all may stay below theirs."""
    text = "[midwatch]\nmemory_budget = '{}'\nreserve = '1G'\n[service.web]\ncommand = '/bin/true'\n"
    text += "instances = 3\nmemory.hard = '1G'"
    loaded = read(text.format("3G"))
    assert (loaded.settings.memory_budget, loaded.settings.reserve) == (3 << 30, 1 << 30)
    assert not [w for w in loaded.warnings if "budget" in str(w)]
    warned = [w for w in read(text.format("2G")).warnings if w.key == "midwatch.memory_budget"]
    assert warned[0].message == "all memory.hard together are 3 GiB, more than this budget"
    assert read("[service.web]\ncommand = '/bin/true'").settings.memory_budget is None


def test_a_drain_without_a_line_is_a_warning(read: Read) -> None:
    """Nobody would ever ask."""
    for lines, warned in (("", True), ("memory.soft = '1G'", False), ("memory.hard = '1G'", True)):
        loaded = read(f"[service.web]\ncommand = '/bin/true'\ndrain.signal = 'USR1'\n{lines}")
        assert ("service.web.drain" in [w.key for w in loaded.warnings]) is warned


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("memory.hard = '1G'", "memory.hard = '2G'"), ("", "memory.hard = '2G'"), ("", "memory.soft = '1G'"),
        ("", "priority = 'expendable'"), ("", "fds.action = 'restart'"),
        ("", "drain.signal = 'USR1'\nmemory.soft = '1G'"),
    ],
)  # fmt: skip
def test_lines_apply_to_a_run_that_lives(read: Read, before: str, after: str) -> None:
    """None of these needs a new process: the kernel's limit of a run can be moved."""
    old, new = (read(f"[service.web]\ncommand = '/bin/true'\n{text}").specs for text in (before, after))
    assert difference(old, new).changed == (new[0].id,)
    assert difference(new, new).unchanged == (new[0].id,)
    assert spawn_digest(old[0]) == spawn_digest(new[0])


def test_old_specs_stay_readable() -> None:
    """What 0.1.0 wrote has none of these fields."""
    launch, logs = {"argv": ["x"], "cwd": "/", "memory_hard": 1 << 29}, {"file_bytes": 1, "files": 1, "compress": True}
    rules: Any = msgspec.to_builtins(default_rules())
    old: Any = {"project": "p", "name": "w", "launch": launch, "rules": rules, "logs": logs}
    for name in ("fds", "fds_slow"):
        del old["rules"]["budgets"][name]
    spec = msgspec.convert(old, ServiceSpec)
    assert (spec.rules.memory, spec.rules.budgets.fds, spec.rules.priority) == (None, None, "normal")


def test_what_a_service_may_use_is_explained(read: Read) -> None:
    """`midwatch check` says it in words."""
    text = explain(read(
        "[service.a]\ncommand = 'x'\nmemory = { soft = '1G', hard = 'auto' }\ndrain.command = './bye'\n"
        "priority = 'expendable'\n[service.b]\ncommand = 'x'\nmemory.soft = '1G'\nfds.action = 'restart'\n"
        "[service.c]\ncommand = 'x'\nmemory.hard = '1G'\nmemory.soft = '512M'\ndrain.signal = 'USR1'"
    ))  # fmt: skip
    for line in (
        "  memory      at most its share of all services' memory",
        "              asked to drain at 1G",
        "  drains      by command ./bye, 30 s to leave",
        "  priority    expendable when the machine runs out of memory",
        "              said at 1G",
        "  files       restarted at 85% of its open-file limit",
        "  memory      at most 1G",
        "  drains      by SIGUSR1, 30 s to leave",
    ):
        assert line in text.split("\n"), text


# text of the service, key, message, hint
REFUSED: list[tuple[str, str, str, str]] = [
    ("memory = { hard = '2' }", "service.web.memory.hard", "too small, at least 16M", 'did you mean "2G"?'),
    ("memory = { hard = '300' }", "service.web.memory.hard", "too small, at least 16M", 'did you mean "300M"?'),
    ("memory = { soft = '1M' }", "service.web.memory.soft", "too small, at least 16M", ""),
    ("memory = { soft = 'auto' }", "service.web.memory.soft", "a size", ""),
    ("drain = { within = '5s' }", "service.web.drain", "does not say how", "drain.signal or drain.command"),
    ("drain = { code = 12, within = '5s' }", "service.web.drain.within", "nobody asks it", "drain.signal"),
    ("drain = { signal = 'USR1', command = 'x' }", "service.web.drain.command", "a second way", "exactly one"),
    ("drain = { signal = 'KILL' }", "service.web.drain.signal", "would end it", '"USR1"'),
    ("drain = { code = 12 }\nrestart.drain_code = 13", "service.web.drain.code", "restart.drain_code is 13", ""),
    ("drain = { code = 78 }", "service.web.drain.code", "also a permanent code", ""),
    ("drain = { code = 0 }", "service.web.drain.code", "from 1 to 255", ""),
    ("priority = 'high'", "service.web.priority", '"expendable" or "normal" or "protected"', ""),
    ("fds = { warn = '90%' }", "service.web.fds.warn", "urgent at 85%", "the warning comes first"),
    ("fds = { act = '50%' }", "service.web.fds.act", "warned at 70%", ""),
    ("fds = { pools = { a = 0 } }", "service.web.fds.pools.a", "from 1 to 100000", ""),
    ("fds = { pools = 4 }", "service.web.fds.pools", "a table of files", "state.db"),
    ("fds = { pools = { '' = 4 } }", 'service.web.fds.pools.""', "not a name of a file", ""),
    ("fds = { action = 'kill' }", "service.web.fds.action", '"warn" or "restart"', ""),
]


@pytest.mark.parametrize(("text", "key", "message", "hint"), REFUSED, ids=[row[0][:40] for row in REFUSED])
def test_what_cannot_be_meant(refused: Callable[[str], Any], text: str, key: str, message: str, hint: str) -> None:
    """F19 (a size without its unit) and what contradicts itself."""
    (problem,) = refused(f"[service.web]\ncommand = '/bin/true'\n{text}\n")
    assert (problem.key, problem.line) == (key, 3)
    assert message in problem.message
    assert hint in problem.hint
