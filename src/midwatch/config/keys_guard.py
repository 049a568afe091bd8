"""The keys about what a service may use, and what follows when it uses more: memory, drain, descriptors.

Must not read a file.
"""

from __future__ import annotations

from midwatch.config import compound as c
from midwatch.config import kinds as k
from midwatch.config.key import UNUSED, Key, Unset
from midwatch.policy import defaults as d

LEAST = 16 << 20  # bytes: an interpreter alone holds more than half of it, so less is a forgotten unit

GUARDS: tuple[Key, ...] = (
    Key(
        "memory.soft",
        k.size(LEAST),
        Unset("none"),
        "holding so much for 2 s it is asked to drain (see drain), or only warned about",
        '"1.5G"',
    ),
    Key(
        "memory.hard",
        c.line(LEAST),
        Unset("no limit; warned at its share of all services' memory"),
        'holding so much it is ended and started again; "auto": its share of all services\' memory',
        '"512M"',
    ),
    Key(
        "priority",
        k.choice("expendable", "normal", "protected"),
        "normal",
        "who has to go first when the whole machine runs out of memory",
        '"expendable"',
    ),
    Key("drain.signal", k.SIGNAL, UNUSED, "what asks it to finish its work and leave by itself", '"USR1"'),
    Key("drain.command", c.ARGV, UNUSED, "the same as a command, run in its environment", '["./drain.sh"]'),
    Key(
        "drain.code",
        k.whole(1, 255),
        Unset("0, or restart.drain_code"),
        "the exit code that it then leaves with, or when it drains on its own account",
        "12",
    ),
    Key("drain.within", k.duration(0.1), d.DRAIN_WITHIN, "how long it has before it is stopped", '"2m"'),
    Key("fds.warn", k.SHARE, d.FD_ROOM[0], "so much of its open-file limit in use is said", '"70%"'),
    Key("fds.act", k.SHARE, d.FD_ROOM[1], "so much of its open-file limit in use is urgent: see fds.action", '"85%"'),
    Key(
        "fds.pools",
        c.POOLS,
        Unset("none"),
        "files of which it keeps several handles on purpose, by name: how many",
        '{ "state.db" = 4 }',
    ),
    Key(
        "fds.per_unit",
        k.NUMBER,
        Unset("not known"),
        "how many files one unit under way takes (see health.json_active): so many more are expected",
        "2.5",
    ),
    Key(
        "sqlite.files",
        c.TEXTS,
        Unset("none"),
        "its SQLite databases: a write-ahead log that grows too large is said; they are never opened. "
        "sqlite = [...] is the short form",
        '["state.db"]',
    ),
    Key(
        "sqlite.probe",
        k.FLAG,
        False,
        "ask SQLite every five minutes how much of a log is folded in (a passive checkpoint, by a process of its own)",
        "true",
    ),
    Key(
        "fds.action",
        k.choice("warn", "restart"),
        "warn",
        "what follows when that is urgent; restarts have a budget of their own, restart.fds",
        '"restart"',
    ),
)
