"""The keys that say what follows an end: budgets, delays, the stop, the output. Must not read a file."""

from __future__ import annotations

from midwatch.config import compound as c
from midwatch.config import kinds as k
from midwatch.config.key import UNUSED, Key
from midwatch.policy import defaults as d

_LEFT = ("unhealthy", "fds")


def _budgets() -> tuple[Key, ...]:
    """The sliding budgets: a fast window that changes delays, a slow one that only alerts."""
    what = {
        "clean": "exits with code 0 that restart at once",
        "drain": "exits with the drain code",
        "unhealthy": "restarts for a failed health check",
        "memory": "ends for lack of memory, by the kernel or by the memory lines",
        "fds": "restarts for open files",
        "killed": "ends by a signal from outside that restart at once",
    }
    budgets = d.default_budgets()
    rows = []
    for name, words in what.items():
        fast, slow = getattr(budgets, name), getattr(budgets, f"{name}_slow")
        after = "no further restart until the window drains" if name in _LEFT else "over it delays grow"
        rows.append(Key(f"restart.{name}", k.WINDOW, fast, f"{words}; {after}", '"10 in 60s"'))
        then = "no further restart until it drains" if name == "fds" else "over it midwatch only warns"
        rows.append(Key(f"restart.{name}_slow", k.WINDOW, slow, f"{words}; {then}", '"20 in 24h"'))
    return tuple(rows)


ENDS: tuple[Key, ...] = (
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
    Key("backoff.port", k.duration(0.1), d.PORT_FIRST, "first delay while its port is taken; doubles", '"5s"'),
    Key("backoff.port_most", k.duration(0.1), d.PORT_MOST, "longest delay while its port is taken", '"60s"'),
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
    Key("output.files", k.whole(1, d.LOG_MAX_FILES), d.LOG_FILES, "how many output files are kept", "5"),
    Key("output.compress", k.FLAG, d.LOG_COMPRESS, "compress the full ones", "false"),
    Key(
        "output.stderr",
        k.choice("merge", "own"),
        "merge",
        "stderr in the same file in exact order, or in its own",
        '"own"',
    ),
)
