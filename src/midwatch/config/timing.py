"""What starts and restarts a service besides its ends: its schedule, the files it follows, the sockets it is given.

Decides what these keys exclude and makes their paths absolute. Must not know when a service runs next
(engine/schedule.py) nor watch anything.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

from midwatch.config.launch import Around
from midwatch.config.problems import Report, quoted
from midwatch.config.tables import Values
from midwatch.config.times import MOST_PATH, is_path
from midwatch.model.service import FileWatch, Schedule

INSTALL = "pip install 'midwatch[watch]'"


def make_schedule(report: Report, values: Values) -> Schedule | None:
    """None: it runs all the time."""
    cron = values["schedule.cron"]
    if not values.has("schedule") or cron is None:
        return None
    _exclude(report, values, "oneshot", values["oneshot"], "it is done after each run anyway")
    _exclude(report, values, "watch", values.has("watch"), "a change cannot be when it runs, too")
    again = "restart.on_clean" in values.given and values["restart.on_clean"] == "restart"
    _exclude(report, values, "restart.on_clean", again, "an exit with 0 means that it is done until its next time")
    deadline, grace = values["schedule.deadline"], values["stop.grace"]
    if deadline is not None and deadline <= grace:
        words = "a run gets less time to work than to leave"
        report.warn(values.path("schedule.deadline"), words, "make the deadline longer than stop.grace")
    return Schedule(cron, values["schedule.zone"], deadline, values["schedule.catch_up"])


def _exclude(report: Report, values: Values, key: str, given: object, why: str) -> None:
    if given:
        report.error(values.path(key), f"{key} and schedule exclude each other: {why}", "remove one of the two")


def make_file_watch(report: Report, values: Values, around: Around) -> FileWatch | None:
    """None: no change of a file restarts it."""
    paths = values["watch.paths"]
    if not values.has("watch") or paths is None:
        return None
    if not paths:
        report.error(values.path("watch.paths"), "names nothing", 'for example watch = ["src"]')
    if find_spec("watchfiles") is None:
        report.error(values.path("watch"), "needs the package watchfiles, which is not installed", INSTALL)
    ignore = tuple(_under(around.folder, one) if "/" in one else one for one in values["watch.ignore"] or ())
    return FileWatch(tuple(_under(around.folder, one) for one in paths), ignore, values["watch.debounce"])


def make_listen(report: Report, values: Values, around: Around) -> tuple[str, ...]:
    """The addresses with absolute paths; what answers at them without the service is no probe of it."""
    found = tuple(_under(around.folder, one) if is_path(one) else one for one in values["listen"] or ())
    for path in found:
        if path.startswith("/") and len(os.fsencode(path)) > MOST_PATH:
            words = f"{quoted(path)} is longer than {MOST_PATH} bytes"
            report.error(values.path("listen"), words, "no socket can have such a path; use a shorter one")
    for address in found:
        port = address.removeprefix("0.0.0.0:")
        if port != address and f"[::]:{port}" in found:
            hint = f'leave "{address}" out'
            report.error(values.path("listen"), f'"[::]:{port}" takes the IPv4 connections too', hint)
    for group in ("ready", "health", "deep"):
        if values.has(group) and values[f"{group}.tcp"] in found:
            words = "midwatch itself holds this socket and accepts connections for the service"
            report.warn(values.path(f"{group}.tcp"), words, f"ask {group}.http: it needs an answer")
    return found


def _under(folder: str, path: str) -> str:
    return os.path.normpath(os.path.join(folder, path))
