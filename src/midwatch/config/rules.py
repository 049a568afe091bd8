"""The rules of a service's life: budgets, delays, stop, probes, and what contradicts itself in them.

Timers are checked as a ladder: an inner one has to end before the outer one. What it needs is settled when
all services are known (graph.py). Must not know how it is spawned.
"""

from __future__ import annotations

import os
from typing import Any

from midwatch.config.problems import Report
from midwatch.config.tables import Values
from midwatch.model import units
from midwatch.model.service import Backoff, Budgets, Probe, Rules, Stop, Window

TARGETS = {
    "ready": ("http", "tcp", "command", "log", "file", "notify"),
    "health": ("http", "tcp", "command", "file"),
}


def make_rules(report: Report, values: Values, folder: str) -> Rules:
    """The rules of a service, except its needs."""
    names = ("crash", "stable_after", "crash_hard", "crash_slow")
    windows = [
        name + tail for name in ("clean", "drain", "unhealthy", "memory", "killed") for tail in ("", "_slow")
    ]
    budgets = Budgets(**{name: values[f"restart.{name}"] for name in (*names, *windows)})
    backoff = Backoff(**{name: values[f"backoff.{name}"] for name in Backoff.__struct_fields__})
    stop = Stop(values["stop.signal"], values["stop.grace"], values["stop.verify"])
    _check_windows(report, values)
    _check_ladders(report, values)
    _check_codes(report, values)
    return Rules(
        budgets=budgets,
        backoff=backoff,
        stop=stop,
        oneshot=values["oneshot"],
        on_clean=values["restart.on_clean"],
        drain_code=values["restart.drain_code"],
        permanent_codes=values["restart.permanent"],
        ready=_probe(report, values, "ready", folder),
        health=_probe(report, values, "health", folder),
    )


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
    if values[f"{group}.json_status"] is not None and "http" not in targets:
        report.error(values.path(f"{group}.json_status"), "needs an http target", f"give {group}.http")
    if values[f"{group}.any_owner"] and not {"http", "tcp"} & set(targets):
        report.error(
            values.path(f"{group}.any_owner"), "needs an http or tcp target", "only a listener has an owner"
        )
    timers = ("within", "every", "timeout") if group == "ready" else ("every", "timeout", "failures")
    fields: dict[str, Any] = {
        name: values[f"{group}.{name}"] for name in (*TARGETS[group], "json_status", "any_owner", *timers)
    }
    if fields["file"] is not None:
        fields["file"] = os.path.normpath(os.path.join(folder, fields["file"]))
    return Probe(**fields)


def _check_windows(report: Report, values: Values) -> None:
    """A slow window that is no longer than the fast one can never see what the fast one misses."""
    for name in ("clean", "drain", "unhealthy", "memory", "killed"):
        fast: Window | None = values[f"restart.{name}"]
        slow: Window | None = values[f"restart.{name}_slow"]
        if fast and slow and slow.seconds <= fast.seconds:
            written = f"restart.{name}_slow" if f"restart.{name}_slow" in values.given else f"restart.{name}"
            hint = f"make {name}_slow the longer window"
            report.warn(values.path(written), f"{name}_slow looks back no further than {name}", hint)


def _check_ladders(report: Report, values: Values) -> None:
    """Timers that have to be in order: the inner one has to end before the outer one does."""
    pairs = [("backoff.first", "backoff.most"), ("backoff.degraded_first", "backoff.degraded_most")]
    if values.has("ready"):
        pairs += [("ready.timeout", "ready.within"), ("ready.every", "ready.within")]
    for inner, outer in pairs:
        if values[inner] > values[outer]:
            written = inner if inner in values.given else outer
            short, long = (units.format_seconds(values[name]) for name in (outer, inner))
            message = f"{inner} ({long}) is longer than {outer} ({short})"
            report.error(values.path(written), message, f"make {outer} the longer one")


def _check_codes(report: Report, values: Values) -> None:
    """An exit code has one meaning."""
    drain, permanent = values["restart.drain_code"], values["restart.permanent"]
    if drain is not None and drain in permanent:
        report.error(
            values.path("restart.drain_code"), f"{drain} is also a permanent code", "a code has one meaning"
        )
    if values["oneshot"] and values["restart.on_clean"] == "restart" and "restart.on_clean" in values.given:
        report.error(
            values.path("restart.on_clean"), "a oneshot is done when it exits with 0", "remove one of the two"
        )
