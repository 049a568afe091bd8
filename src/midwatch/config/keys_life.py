"""The keys that say when a service runs and how one sees that it works. Must not read a file."""

from __future__ import annotations

from midwatch.config import compound as c
from midwatch.config import kinds as k
from midwatch.config.key import UNUSED, Key, Unset
from midwatch.policy import defaults as d


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


def _progress(group: str) -> tuple[Key, ...]:
    """Several weak signals make a strong one: work waits, nothing is under way, the count of what is done stands."""
    waiting = "with json_counter: the dotted path of how much work waits; without any the counter need not rise"
    active = (
        "with http: the dotted path of how much is under way; with some json_counter need not rise, and what grows "
        "with it is no leak"
    )
    return (
        Key(f"{group}.json_waiting", k.TEXT, UNUSED, waiting, '"queue.waiting"'),
        Key(f"{group}.json_active", k.TEXT, UNUSED, active, '"queue.active"'),
    )


LIFE: tuple[Key, ...] = (
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
    *_progress("health"),
    Key("health.failures", k.whole(1, 1000), d.HEALTH_FAILURES, "failures in a row that mean unhealthy", "3"),
    *_targets("deep", "sound"),
    Key("deep.every", k.duration(0.5), d.DEEP_EVERY, "pause between two questions", '"30s"'),
    Key("deep.timeout", k.duration(0.05), d.DEEP_TIMEOUT, "how long one question may take", '"10s"'),
    Key(
        "deep.json_counter",
        k.TEXT,
        UNUSED,
        "with http: the dotted path of a number in the JSON answer that has to rise from probe to probe",
        '"db.commits"',
    ),
    *_progress("deep"),
    Key("deep.failures", k.whole(1, 1000), d.DEEP_FAILURES, "failures in a row that mean unhealthy", "3"),
    Key(
        "watchdog",
        k.duration(0.1),
        UNUSED,
        "it says WATCHDOG=1 on NOTIFY_SOCKET at least this often, or it is wedged and restarted",
        '"30s"',
    ),
    Key(
        "backlog",
        k.choice("off", "warn", "restart"),
        "warn",
        "what to do when connections to its port wait and it accepts none of them",
        '"restart"',
    ),
    Key(
        "dump_signal",
        k.SIGNAL,
        UNUSED,
        "a signal on which it prints the stacks of its threads; sent before a wedged run is stopped",
        '"USR1"',
    ),
    Key(
        "launcher",
        k.choice("follow", "refuse"),
        "follow",
        "what to do when the command exits 0 and leaves a process that serves",
        '"refuse"',
    ),
)
