"""What every generated file shares: the facts it is made from, its stamp, and how it is found to have drifted.

A file is a pure function of `Facts`, so two generations are the same bytes (UNI-7). The stamp is one comment
line with a hash of the rest of the file and of the facts. Must not know any file format.
Tests: tests/host/units/test_common.py.
"""

from __future__ import annotations

import math
import re
from difflib import unified_diff
from typing import Literal

import msgspec

from midwatch.host.units import figures
from midwatch.model.service import ServiceSpec
from midwatch.policy.defaults import RUN_CRASH_HARD, STOP_MARGIN
from midwatch.policy.fleet import Fleet

Shape = Literal["run", "exec", "direct", "daemon"]
MOST_DIFF = 40  # lines of a difference that are shown
_STAMP = re.compile(r"^.*\bmidwatch-stamp: version=(\S+) content=([0-9a-f]{16}) facts=([0-9a-f]{16}).*\n", re.MULTILINE)


class UnitError(Exception):
    """No such file can be made: says what, why and what to do instead."""

    exit_code = 1


class Facts(msgspec.Struct, frozen=True):
    """Everything a file is made from. Whatever is not in here cannot be in the file.

    `shape`: run (Midwatch stays the parent), exec (it checks, sets limits and replaces itself), direct (without
    Midwatch), daemon (`up`). `stop`: seconds that our own ladder may take. `start`: seconds until it has to be
    ready. `account`: whom the system's manager runs it as (None: root, or the user of a user manager).
    """

    project: str
    name: str  # of the service; "" for the daemon
    file: str  # the configuration, absolute
    folder: str
    shape: Shape
    midwatch: tuple[str, ...]  # the command, absolute
    version: str
    again: str  # the command line that makes this file
    path: str  # PATH
    account_home: str
    stop: float
    start: float
    argv: tuple[str, ...] = ()  # of the service, for the direct shape
    env: dict[str, str] = {}  # likewise, without what env files hold
    env_files: tuple[str, ...] = ()
    signal: str = "SIGTERM"  # what asks the service to stop, for the shapes in which the manager does
    umask: int | None = None
    nice: int | None = None
    memory_hard: int | None = None
    files: tuple[int, int] = (figures.FILES_SOFT, figures.FILES_HARD)
    services: int = 1
    oneshot: bool = False
    needs: tuple[str, ...] = ()  # of one service: names that this file cannot wait for
    skipped: tuple[str, ...] = ()  # what this shape leaves out, in words (UNI-6)
    home: str | None = None  # MIDWATCH_HOME, if it is not the default
    user_manager: bool = False
    account: str | None = None
    uid: int = 0
    health_url: str | None = None
    manager: str = "midwatch"  # whom the cron watchdog asks and tells
    state: str = "/var/lib/midwatch"  # where the cron watchdog keeps its lock

    @property
    def title(self) -> str:
        """What it keeps alive, in words."""
        return f"{self.project}/{self.name}" if self.name else f"the services of {self.project}"

    @property
    def unit(self) -> str:
        """The file's name without its suffix."""
        return self.name or "midwatch"

    @property
    def stop_timeout(self) -> int:
        """How long the outer manager has to wait: longer than our own ladder (D11).

        The daemon's services are nobody else's to end, so there its engine may also have to be replaced first.
        """
        hang = figures.ENGINE_HANG if self.shape == "daemon" else 0
        return math.floor(self.stop) + 1 + figures.STOP_SPARE + hang

    @property
    def command(self) -> tuple[str, ...]:
        """The words that the manager starts."""
        if self.shape == "daemon":
            return (*self.midwatch, "up", "-f", self.file)
        if self.shape == "direct":
            return self.argv
        return (*self.midwatch, "run", *(("--exec",) if self.shape == "exec" else ()), "-f", self.file, self.name)


def ladder(spec: ServiceSpec) -> float:
    """Seconds that stopping one service may take (policy/ladder.py checks the same sum)."""
    return spec.rules.stop.grace + spec.rules.stop.verify + STOP_MARGIN


def layers_ladder(specs: tuple[ServiceSpec, ...]) -> float:
    """Seconds that stopping all of them may take: group after group, each as long as its longest ladder."""
    takes = {spec.id: ladder(spec) for spec in specs}
    waves = Fleet({spec.id: spec.rules.needs for spec in specs}).stop_waves()
    return sum(max(takes[name] for name in wave) for wave in waves)


def longest_start(spec: ServiceSpec) -> float:
    """Seconds until `run` has either a ready service or given up: every try, every pause between two."""
    tries = spec.rules.budgets.crash_hard or RUN_CRASH_HARD
    within = spec.rules.ready.within + ladder(spec) if spec.rules.ready else 1.0
    return tries * (within + figures.LONGEST_BACKOFF) + figures.START_SPARE


def limit_interval(life: float) -> int:
    """Seconds for the start limit so that it can bite: longer than `BURST` lives with their pauses, in half minutes."""
    return (math.floor(figures.BURST * (figures.RESTART_PAUSE + life)) // 30 + 1) * 30


def digest(text: str) -> str:
    """16 hexadecimal digits."""
    from hashlib import blake2b

    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def facts_digest(facts: Facts) -> str:
    """A hash of the facts; another version of Midwatch or another spelling of the command changes none of them."""
    plain = msgspec.structs.replace(facts, version="", again="")
    return digest(msgspec.json.encode(plain, order="deterministic").decode())


def stamped(body: str, facts: Facts, opening: str = "# ", closing: str = "", after: int = 0) -> str:
    """The text with its stamp as a comment after `after` lines."""
    lines = body.splitlines(keepends=True)
    mark = f"version={facts.version} content={digest(body)} facts={facts_digest(facts)}"
    return "".join([*lines[:after], f"{opening}midwatch-stamp: {mark}{closing}\n", *lines[after:]])


def stamp(text: str) -> tuple[str, str, str] | None:
    """Version, hash of the content and hash of the facts, as the file says; None when it bears no stamp."""
    found = _STAMP.search(text)
    return (found[1], found[2], found[3]) if found else None


def untouched(text: str) -> bool:
    """It bears our stamp and nobody has edited it since."""
    mark = stamp(text)
    return mark is not None and mark[1] == digest(_STAMP.sub("", text, count=1))


def drift(text: str, fresh: str) -> list[str]:
    """How a file differs from what would be made today, in words; [] when it does not."""
    old, new = stamp(text), stamp(fresh)
    before, now = _STAMP.sub("", text, count=1), _STAMP.sub("", fresh, count=1)
    if before == now:
        return []
    if old is None or new is None:
        words = ["it bears no stamp: midwatch has not made it"]
    else:
        words = [] if untouched(text) else ["it was edited by hand after it was made"]
        if old[2] != new[2]:
            words.append("what it is made from has changed: the configuration, the options, or where midwatch lies")
        elif untouched(text):
            words.append(f"midwatch {old[0]} made it otherwise than {new[0]} does")
    changes = list(unified_diff(before.splitlines(), now.splitlines(), "the file", "made today", "", "", 0, ""))
    cut = [f"... and {len(changes) - MOST_DIFF} lines more"] if len(changes) > MOST_DIFF else []
    return words + changes[:MOST_DIFF] + cut


def single_line(what: str, text: str) -> str:
    """The text, which has to fit into one line of a file. Raises UnitError."""
    if any(not char.isprintable() for char in text):
        raise UnitError(f"{what} {text!r} holds a control character, which such a file cannot carry; rename it")
    return text
