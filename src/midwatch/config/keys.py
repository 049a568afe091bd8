"""Every key of the configuration, once: kind, default, meaning and an example.

This table drives validation (tables.py), the JSON Schema (json_schema.py), `midwatch check` (explanation.py)
and the reference in the documentation (`reference_rows`). A key that is not in here does not exist. Defaults
come from policy/defaults.py. Must not read a file.
"""

from __future__ import annotations

from midwatch.config import kinds as k
from midwatch.config.key import Key, Row, Unset
from midwatch.config.keys_ends import ENDS
from midwatch.config.keys_guard import GUARDS
from midwatch.config.keys_life import LIFE
from midwatch.config.keys_process import PROCESS
from midwatch.config.keys_times import TIMES
from midwatch.policy import defaults as d

MIDWATCH: tuple[Key, ...] = (
    Key(
        "project",
        k.PROJECT,
        Unset("the name of the file's folder"),
        "what the services of this file belong to",
        '"shop"',
    ),
    Key(
        "log_total",
        k.size(1 << 20),
        d.LOG_TOTAL,
        "the output of all services on disk together; the oldest goes first",
        '"2G"',
    ),
    Key("journal_weeks", k.whole(1, 520), d.JOURNAL_WEEKS, "how many weeks of journal are kept", "8"),
    Key(
        "journal_bytes",
        k.size(1 << 20),
        d.JOURNAL_BYTES,
        "the journal's size on disk; the oldest goes first",
        '"256M"',
    ),
    Key(
        "disk_reserve",
        k.size(0),
        Unset("the smaller of 5 % of the file system and 512M"),
        "below so much free disk no output is written (said once)",
        '"200M"',
    ),
    Key(
        "memory_budget",
        k.size(64 << 20),
        Unset("80 % of the machine's memory, or of the cgroup that limits it"),
        "what all services together may hold; beyond it the one that grows fastest is ended",
        '"12G"',
    ),
    Key(
        "reserve",
        k.size(1 << 20),
        Unset("the larger of 512M and 4 % of the machine, at most a tenth of it"),
        "memory that stays available on the machine, or a service of ours is ended for it",
        '"1G"',
    ),
)

SERVICE: tuple[Key, ...] = PROCESS + LIFE + TIMES + GUARDS + ENDS

# A group that means something only when it is written: without it none of its defaults is filled in.
OPTIONAL_GROUPS = frozenset({"ready", "health", "deep", "schedule", "watch", "drain", "sqlite"})

# A group that may be written as the value of one of its keys.
SHORT_FORMS = {"schedule": "cron", "watch": "paths", "sqlite": "files"}

GROUPS: dict[str, str] = {
    "ready": "when a start is complete",
    "health": "how to see that it still works",
    "deep": "a slower question that asks what the first one does not",
    "schedule": "when it runs, if not all the time",
    "watch": "files whose change restarts it",
    "restart": "how often it may end in which way",
    "backoff": "how long to wait before the next try",
    "stop": "how it is stopped",
    "output": "its output on disk",
    "memory": "its memory",
    "drain": "how it is asked to finish its work and leave",
    "fds": "its open files and sockets",
    "sqlite": "its databases",
}


def find(path: str) -> Key:
    """The key of a service with this path."""
    return next(key for key in SERVICE if key.path == path)


def reference_rows() -> list[Row]:
    """Every key for the documentation, in the order of the table."""
    scopes = (("midwatch", MIDWATCH), ("service.NAME", SERVICE))
    return [
        Row(f"{scope}.{key.path}", key.kind.words, key.shown, key.meaning, f"{key.path} = {key.example}")
        for scope, table in scopes
        for key in table
    ]
