"""Every key of the configuration, once: kind, default, meaning and an example.

This table drives validation (tables.py), the JSON Schema (schema.py), `midwatch check` (explain.py) and
the reference in the documentation (`reference_rows`). A key that is not in here does not exist. Defaults
come from policy/defaults.py. Must not read a file.
"""

from __future__ import annotations

from typing import Any

import msgspec

from midwatch.config import compound as c
from midwatch.config import kinds as k
from midwatch.config.kind import Kind
from midwatch.policy import defaults as d


class Unset:
    """The default of a key whose absence is no value: `words` say what it means."""

    def __init__(self, words: str) -> None:
        self.words = words


REQUIRED = Unset("required")
UNUSED = Unset("not used")


class Key(msgspec.Struct, frozen=True):
    """One key. `path` is relative to its table; `default` is a model value, or `Unset`."""

    path: str
    kind: Kind
    default: Any
    meaning: str
    example: str

    @property
    def parts(self) -> tuple[str, ...]:
        """The path as a tuple."""
        return tuple(self.path.split("."))

    @property
    def shown(self) -> str:
        """The default as one would write it, or what its absence means."""
        return self.default.words if isinstance(self.default, Unset) else self.kind.show(self.default)


class Row(msgspec.Struct, frozen=True):
    """One line of the generated reference."""

    key: str
    kind: str
    default: str
    meaning: str
    example: str


def _targets(group: str, so: str) -> tuple[Key, ...]:
    """What both kinds of probe can ask."""
    http = f"{so} while this URL answers 200 to 299"
    json_status = 'with http: the dotted path of the field in the JSON answer that has to be "ok"'
    any_owner = "with http or tcp: an answer by a process outside the service's own tree counts too"
    return (
        Key(f"{group}.http", k.HTTP, UNUSED, http, '"http://127.0.0.1:8787/health"'),
        Key(f"{group}.json_status", k.TEXT, UNUSED, json_status, '"status"'),
        Key(
            f"{group}.tcp", k.TCP, UNUSED, f"{so} while this address accepts a connection", '"127.0.0.1:5432"'
        ),
        Key(f"{group}.command", c.ARGV, UNUSED, f"{so} while this command exits 0", '["pg_isready", "-q"]'),
        Key(f"{group}.any_owner", k.FLAG, False, any_owner, "true"),
    )


def _budgets() -> tuple[Key, ...]:
    """The sliding budgets: a fast window that changes delays, a slow one that only alerts."""
    what = {
        "clean": "exits with code 0 that restart at once",
        "drain": "exits with the drain code",
        "unhealthy": "restarts for a failed health check",
        "memory": "exits for lack of memory",
        "killed": "ends by a signal from outside that restart at once",
    }
    budgets = d.default_budgets()
    rows = []
    for name, words in what.items():
        fast, slow = getattr(budgets, name), getattr(budgets, f"{name}_slow")
        after = "no further restart until the window drains" if name == "unhealthy" else "over it delays grow"
        rows.append(Key(f"restart.{name}", k.WINDOW, fast, f"{words}; {after}", '"10 in 60s"'))
        rows.append(
            Key(
                f"restart.{name}_slow", k.WINDOW, slow, f"{words}; over it midwatch only warns", '"20 in 24h"'
            )
        )
    return tuple(rows)


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
)

_PROCESS: tuple[Key, ...] = (
    Key("command", c.ARGV, REQUIRED, "what to run, without a shell; run in `cwd`", '["python", "server.py"]'),
    Key("cwd", k.PATH, Unset("the file's folder"), "where it runs, relative to the file", '"app"'),
    Key(
        "env",
        c.ENV,
        Unset("nothing"),
        "variables to set; false removes one",
        '{ PORT = "8080", DEBUG = false }',
    ),
    Key(
        "env_files",
        c.TEXTS,
        Unset("none"),
        "files of NAME=VALUE lines, relative to the file, read literally",
        '[".env"]',
    ),
    Key(
        "env_pass",
        c.TEXTS,
        Unset("none"),
        "further variables of the caller to pass on (a * at the end: all that begin so)",
        '["AWS_*"]',
    ),
    Key("user", k.USER, Unset("the caller"), "who it runs as (needs root)", '"www-data"'),
    Key("umask", k.UMASK, Unset("the daemon's"), "permissions that new files do not get", '"027"'),
    Key(
        "rlimits",
        c.RLIMITS,
        Unset("the daemon's"),
        'limits: a number, a size, "unlimited" or [soft, hard]',
        "{ nofile = 4096 }",
    ),
    Key(
        "nice",
        k.whole(-20, 19),
        Unset("the daemon's"),
        "scheduling priority, higher is kinder to others",
        "10",
    ),
    Key(
        "oom_score_adj",
        k.whole(-1000, 1000),
        Unset("the daemon's"),
        "how early the kernel picks it when memory runs out",
        "500",
    ),
    Key(
        "memory.hard",
        k.size(1 << 20),
        Unset("no limit"),
        "the kernel's limit, where the run can have a cgroup of its own",
        '"512M"',
    ),
    Key(
        "contain",
        k.choice("auto", "cgroup", "none"),
        "auto",
        "a cgroup for each run: if possible, required, or never",
        '"cgroup"',
    ),
    Key("pty", k.FLAG, False, "give it a terminal of its own", "true"),
    Key("port", k.PORT, Unset("none"), "the port it serves; a change restarts it", "8787"),
)

_LIFE: tuple[Key, ...] = (
    Key(
        "instances",
        k.whole(1, k.MOST_INSTANCES),
        Unset("one, without a number"),
        "run it N times, as NAME-1 to NAME-N",
        "3",
    ),
    Key("autostart", k.FLAG, True, "start it with `up`", "false"),
    Key("oneshot", k.FLAG, False, "it ends by itself; exit 0 means done", "true"),
    Key(
        "needs",
        c.NEEDS,
        Unset("nothing"),
        "what has to be there first: started, ready or completed",
        '{ db = "ready" }',
    ),
    *_targets("ready", "ready"),
    Key(
        "ready.log",
        k.REGEX,
        UNUSED,
        "ready once a line of output matches this regular expression",
        "'listening on \\d+'",
    ),
    Key(
        "ready.file", k.PATH, UNUSED, "ready once this file is there and newer than the start", '"run/ready"'
    ),
    Key("ready.notify", k.FLAG, False, "ready once it says READY=1 on NOTIFY_SOCKET", "true"),
    Key(
        "ready.within",
        k.duration(0.1),
        d.READY_WITHIN,
        "not ready after so long: it is stopped and counts as unhealthy",
        '"25s"',
    ),
    Key("ready.every", k.duration(0.05), d.READY_EVERY, "pause between two questions", '"400ms"'),
    Key("ready.timeout", k.duration(0.05), d.READY_TIMEOUT, "how long one question may take", '"2s"'),
    *_targets("health", "healthy"),
    Key(
        "health.file",
        k.PATH,
        UNUSED,
        "healthy while this file is touched within `every` x `failures`",
        '"run/alive"',
    ),
    Key("health.every", k.duration(0.5), d.HEALTH_EVERY, "pause between two questions", '"30s"'),
    Key("health.timeout", k.duration(0.05), d.HEALTH_TIMEOUT, "how long one question may take", '"10s"'),
    Key(
        "health.json_counter",
        k.TEXT,
        UNUSED,
        "with http: the dotted path of a number in the JSON answer that has to rise from probe to probe",
        '"requests_total"',
    ),
    Key("health.failures", k.whole(1, 1000), d.HEALTH_FAILURES, "failures in a row that mean unhealthy", "3"),
)

_ENDS: tuple[Key, ...] = (
    Key("restart.crash", k.whole(1, 100000), d.CRASH, "crashes in a row before it counts as degraded", "10"),
    Key(
        "restart.stable_after",
        k.duration(1),
        d.STABLE_AFTER,
        "a run longer than this starts the count of crashes anew",
        '"5m"',
    ),
    Key(
        "restart.crash_slow",
        k.WINDOW,
        d.CRASH_SLOW,
        "crashes, also after long runs; over it midwatch only warns",
        '"20 in 24h"',
    ),
    Key(
        "restart.crash_hard",
        k.whole(1, 1000000, off=True),
        None,
        "give up for good after so many crashes in a row",
        "100",
    ),
    *_budgets(),
    Key(
        "restart.on_clean", k.choice("restart", "stop"), "restart", "what an exit with code 0 means", '"stop"'
    ),
    Key(
        "restart.drain_code",
        k.whole(1, 255),
        UNUSED,
        "the exit code that says: I left on purpose, start me again in a while",
        "12",
    ),
    Key(
        "restart.permanent",
        c.CODES,
        d.PERMANENT_CODES,
        "exit codes that say: trying again cannot help",
        "[64, 78]",
    ),
    Key("backoff.first", k.duration(0), d.BACKOFF_FIRST, "delay after the first crash; doubles", '"1s"'),
    Key("backoff.most", k.duration(0), d.BACKOFF_MOST, "longest delay inside a budget", '"60s"'),
    Key("backoff.jitter", k.SHARE, d.JITTER, "random addition to a delay, as a share of it", "0.1"),
    Key("backoff.drain", k.duration(0), d.DRAIN_DELAY, "delay after an exit with the drain code", '"30s"'),
    Key("backoff.over", k.duration(0), d.OVER_FIRST, "first delay over a window's budget; doubles", '"1s"'),
    Key(
        "backoff.degraded_first",
        k.duration(1),
        d.DEGRADED_FIRST,
        "delay once the crash budget is spent; grows",
        '"60s"',
    ),
    Key(
        "backoff.degraded_most",
        k.duration(1),
        d.DEGRADED_MOST,
        "longest delay once the crash budget is spent",
        '"5m"',
    ),
    Key(
        "backoff.recheck",
        k.duration(1),
        d.RECHECK,
        "how often a held service's obstacle is looked at",
        '"60s"',
    ),
    Key("stop.signal", k.SIGNAL, d.STOP_SIGNAL, "what asks it to stop", '"INT"'),
    Key(
        "stop.grace",
        k.duration(0),
        d.STOP_GRACE,
        "how long all its processes have to leave before they are killed",
        '"10s"',
    ),
    Key(
        "stop.verify",
        k.duration(0.5),
        d.STOP_VERIFY,
        "how long may be spent on proving that nothing is left",
        '"5s"',
    ),
    Key("output.file", k.size(4096), d.LOG_FILE_BYTES, "size at which the next output file begins", '"10M"'),
    Key("output.files", k.whole(1, 200), d.LOG_FILES, "how many output files are kept", "5"),
    Key("output.compress", k.FLAG, d.LOG_COMPRESS, "compress the full ones", "false"),
    Key(
        "output.stderr",
        k.choice("merge", "own"),
        "merge",
        "stderr in the same file in exact order, or in its own",
        '"own"',
    ),
)

SERVICE: tuple[Key, ...] = _PROCESS + _LIFE + _ENDS

# A group that means something only when it is written: without it none of its defaults is filled in.
OPTIONAL_GROUPS = frozenset({"ready", "health"})

GROUPS: dict[str, str] = {
    "ready": "when a start is complete",
    "health": "how to see that it still works",
    "restart": "how often it may end in which way",
    "backoff": "how long to wait before the next try",
    "stop": "how it is stopped",
    "output": "its output on disk",
    "memory": "its memory",
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
