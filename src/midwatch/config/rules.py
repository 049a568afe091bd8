"""The rules of a service's life: budgets, delays, stop, probes, and what contradicts itself in them.

Timers are checked as a ladder: an inner one has to end before the outer one. What it needs is settled when
all services are known (graph.py). Must not know how it is spawned.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from midwatch.config.guarding import make_drain, make_fds, make_memory
from midwatch.config.keys import find
from midwatch.config.launch import Around
from midwatch.config.problems import Report
from midwatch.config.tables import Values
from midwatch.config.timing import make_file_watch, make_schedule
from midwatch.model import units
from midwatch.model.service import Backoff, Budgets, Probe, Rules, Stop, Window
from midwatch.policy.ladder import ladder_problems

TARGETS = {
    "ready": ("http", "tcp", "command", "log", "file", "notify"),
    "health": ("http", "tcp", "command", "file"),
    "deep": ("http", "tcp", "command"),
}


WINDOWS = ("clean", "drain", "unhealthy", "memory", "fds", "killed")


def make_rules(report: Report, values: Values, around: Around) -> Rules:
    """The rules of a service, except its needs."""
    _shorten(report, values)
    names = ("crash", "stable_after", "crash_hard", "crash_slow")
    windows = [
        name + tail for name in WINDOWS for tail in ("", "_slow")
    ]
    budgets = Budgets(**{name: values[f"restart.{name}"] for name in (*names, *windows)})
    delays = (name for name in Backoff.__struct_fields__ if f"backoff.{name}" in values.values)
    backoff = Backoff(**{name: values[f"backoff.{name}"] for name in delays})
    stop = Stop(values["stop.signal"], values["stop.grace"], values["stop.verify"])
    _check_windows(report, values)
    _check_delays(report, values)
    _check_codes(report, values)
    _check_watching(report, values)
    if values["sqlite.probe"] and not values["sqlite.files"]:
        report.error(values.path("sqlite.probe"), "asks nothing", 'give sqlite.files, for example ["state.db"]')
    rules = Rules(
        budgets=budgets,
        backoff=backoff,
        stop=stop,
        oneshot=values["oneshot"],
        on_clean=values["restart.on_clean"],
        drain_code=values["restart.drain_code"] or values["drain.code"],
        permanent_codes=values["restart.permanent"],
        ready=_probe(report, values, "ready", around.folder),
        health=_probe(report, values, "health", around.folder),
        deep=_probe(report, values, "deep", around.folder),
        watchdog=values["watchdog"],
        backlog=values["backlog"],
        launcher=values["launcher"],
        dump_signal=values["dump_signal"],
        schedule=make_schedule(report, values),
        file_watch=make_file_watch(report, values, around),
        memory=make_memory(report, values),
        drain=make_drain(report, values),
        fds=make_fds(report, values),
        sqlite=tuple(values["sqlite.files"] or ()),
        sqlite_probe=bool(values["sqlite.probe"]),
        priority=values["priority"],
    )
    _check_ladder(report, values, rules, around.outer)
    return rules


def _probe(report: Report, values: Values, group: str, folder: str) -> Probe | None:
    if not values.has(group):
        return None
    targets = [
        name
        for name in TARGETS[group]
        if f"{group}.{name}" in values.given and values[f"{group}.{name}"] is not False
    ]
    if not targets and group not in values.failed:
        report.error((*values.base, group), "asks nothing", f"give one of {', '.join(TARGETS[group])}")
    for extra in targets[1:]:
        report.error(
            values.path(f"{group}.{extra}"),
            f"a second target beside {group}.{targets[0]}",
            "a probe has exactly one",
        )
    progress = () if group == "ready" else ("json_counter", "json_waiting", "json_active")
    fields_read = ("json_status", *progress)
    for field in fields_read:
        if values[f"{group}.{field}"] is not None and "http" not in targets:
            report.error(values.path(f"{group}.{field}"), "needs an http target", f"give {group}.http")
    for field in progress[1:2]:  # the number under way says something without a counter, too: the load
        if values[f"{group}.{field}"] is not None and values[f"{group}.json_counter"] is None:
            hint = f"give {group}.json_counter"
            report.error(values.path(f"{group}.{field}"), "says when the counter has to rise, but there is none", hint)
    if values[f"{group}.any_owner"] and not {"http", "tcp"} & set(targets):
        report.error(
            values.path(f"{group}.any_owner"), "needs an http or tcp target", "only a listener has an owner"
        )
    timers = ("within", "every", "timeout") if group == "ready" else ("every", "timeout", "failures")
    fields: dict[str, Any] = {
        name: values[f"{group}.{name}"] for name in (*TARGETS[group], *fields_read, "any_owner", *timers)
    }
    if fields.get("file") is not None:
        fields["file"] = os.path.normpath(os.path.join(folder, fields["file"]))
    return Probe(**fields)


def _check_windows(report: Report, values: Values) -> None:
    """A slow window that is no longer than the fast one can never see what the fast one misses."""
    for name in WINDOWS:
        fast: Window | None = values[f"restart.{name}"]
        slow: Window | None = values[f"restart.{name}_slow"]
        if fast and slow and slow.seconds <= fast.seconds:
            written = f"restart.{name}_slow" if f"restart.{name}_slow" in values.given else f"restart.{name}"
            hint = f"make {name}_slow the longer window"
            report.warn(values.path(written), f"{name}_slow looks back no further than {name}", hint)


def _shorten(report: Report, values: Values) -> None:
    """A start that has to be ready soon is asked accordingly: no default outlasts `ready.within`."""
    for key in ("ready.every", "ready.timeout"):
        if values.has("ready") and key not in values.given and values[key] > values["ready.within"]:
            report.undo_default(values.path(key))
            values.values[key] = values["ready.within"]
            report.default(values.path(key), find(key).kind.show(values[key]))


def _check_delays(report: Report, values: Values) -> None:
    """A first delay that is longer than the longest one."""
    for first, most in (
        ("backoff.first", "backoff.most"),
        ("backoff.degraded_first", "backoff.degraded_most"),
        ("backoff.port", "backoff.port_most"),
    ):
        if values[first] > values[most]:
            written = first if first in values.given else most
            long, short = (units.format_seconds(values[name]) for name in (first, most))
            hint = f"make {most} the longer one"
            report.error(values.path(written), f"{first} ({long}) is longer than {most} ({short})", hint)


def _check_ladder(report: Report, values: Values, rules: Rules, outer: float | None) -> None:
    """Timers in each other (policy/ladder.py). The outer manager's is not in the file: only a warning."""
    problems = ladder_problems(rules)
    for text in problems:
        key, _, words = text.partition(" ")
        report.error(values.path(key), f"{key} {words}", "the inner timer has to be the shorter one")
    for text in ladder_problems(rules, outer):
        if text not in problems:
            report.warn(values.path("stop.grace"), text)


def _check_watching(report: Report, values: Values) -> None:
    """HLT-6: a queue belongs to a port. HLT-8: the dump must not be what ends it."""
    if "backlog" in values.given and values["backlog"] != "off" and not (values["port"] or values["listen"]):
        report.warn(values.path("backlog"), "nothing to look at without a port", "give port")
    if values["dump_signal"] in (signal.SIGKILL, signal.SIGSTOP, values["stop.signal"]):
        message = "would end it or stop it, not make it print its stacks"
        report.error(values.path("dump_signal"), message, 'a signal that it handles so, for example "USR1"')


def _check_codes(report: Report, values: Values) -> None:
    """An exit code has one meaning."""
    for key in ("restart.drain_code", "drain.code"):
        if values[key] is not None and values[key] in values["restart.permanent"]:
            report.error(values.path(key), f"{values[key]} is also a permanent code", "a code has one meaning")
    if values["oneshot"] and values["restart.on_clean"] == "restart" and "restart.on_clean" in values.given:
        report.error(
            values.path("restart.on_clean"), "a oneshot is done when it exits with 0", "remove one of the two"
        )
