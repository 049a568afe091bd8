"""The keys that say when a service runs, what restarts it besides an end, and the sockets it is given. Must
not read a file.
"""

from __future__ import annotations

from midwatch.config import compound as c
from midwatch.config import kinds as k
from midwatch.config import times as t
from midwatch.config.key import REQUIRED, Key, Unset
from midwatch.policy import defaults as d

TIMES: tuple[Key, ...] = (
    Key(
        "schedule.cron",
        t.CRON,
        REQUIRED,
        'when it runs: five cron fields or @daily and the like; schedule = "..." is the short form',
        '"*/5 * * * *"',
    ),
    Key("schedule.zone", t.ZONE, Unset("the machine's"), "the time zone of the fields", '"Europe/Berlin"'),
    Key("schedule.deadline", k.duration(1), Unset("none"), "a run that takes longer is stopped", '"10m"'),
    Key(
        "schedule.catch_up",
        k.FLAG,
        True,
        "one run makes up for the times that nobody was there to keep",
        "false",
    ),
    Key(
        "watch.paths",
        c.TEXTS,
        REQUIRED,
        "files, folders and patterns whose change restarts it; watch = [...] is the short form",
        '["src", "*.toml"]',
    ),
    Key(
        "watch.ignore",
        c.TEXTS,
        Unset("nothing more than caches, version control and editors' files"),
        "patterns of names, or with a slash of paths, that do not count",
        '["*.log", "src/generated/**"]',
    ),
    Key(
        "watch.debounce",
        k.duration(0.05),
        d.WATCH_DEBOUNCE,
        "it is restarted once nothing has changed for so long",
        '"2s"',
    ),
    Key(
        "listen",
        t.LISTEN,
        Unset("none"),
        "sockets that midwatch opens, keeps through restarts and passes on as LISTEN_FDS",
        '["127.0.0.1:8787", "run/app.sock"]',
    ),
)
