"""One read-only look at a machine: who holds memory, what is left over, what runs out, what loops, who died.

Every part runs in a thread with a deadline and says what is missing when it was refused, failed or was late; the
screen comes in any case, under two seconds whatever hangs. Must not print, and must not redact: document.py does.
Tests: tests/inspect/test_look.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import msgspec

from midwatch.inspect import agents
from midwatch.inspect.containers import Quick, quick
from midwatch.inspect.containers.together import Late, together
from midwatch.inspect.look import (
    deaths,
    forecast,
    forecast_files,
    forecast_machine,
    hostfacts,
    loops,
    past,
    sessions,
    statesize,
    trees,
)
from midwatch.inspect.look.deathlogs import Death
from midwatch.inspect.ours import Ours
from midwatch.inspect.sources import Sources, Table, descriptors
from midwatch.model.look import Leftover
from midwatch.policy import defaults_inspect as figures

Verdict = Literal["calm", "attention", "danger"]
CODES: dict[Verdict, int] = {"calm": 0, "attention": 1, "danger": 2}


class Given(msgspec.Struct, frozen=True):
    """What the caller knows of our own instances. `packs`: a folder of the person's own; `keep`: where the last looks
    are kept, "" for nowhere; `problem`: why less is known than could be.
    """

    ours: Ours = Ours()
    rows: tuple[dict[str, Any], ...] = ()
    journals: tuple[str, ...] = ()
    packs: str = ""
    keep: str = ""
    paths: tuple[str, ...] = ()
    problem: str = ""


class Look(msgspec.Struct):
    """What was seen. `missing`: what was not, in words for a person."""

    host: hostfacts.Host
    table: Table
    forest: trees.Forest = trees.Forest((), {})
    sessions: list[sessions.Session] = []
    leftovers: list[Leftover] = []
    forecasts: list[forecast.Level] = []
    loops: list[loops.Loop] = []
    deaths: list[Death] = []
    containers: Quick = Quick()
    services: int = 0
    states: dict[str, int] = {}  # of our services, how many each
    first: bool = True  # nothing to compare with: levels only
    missing: list[str] = []
    took_s: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """For a prompt: is there anything that a person should look at, or must?"""
        states = {level.state for level in self.forecasts}
        if self.host.pressure == "critical" or "danger" in states:
            return "danger"
        large = [one for one in self.containers.unlimited if self._large(one.used)]
        if (
            self.host.pressure == "high"
            or "warn" in states
            or self.leftovers
            or self.loops
            or self.deaths
            or large
        ):
            return "attention"
        return "calm"

    def _large(self, used: int | None) -> bool:
        total = self.host.total_bytes
        return bool(used and total and used > figures.UNLIMITED_SHARE * total)


class _Seen(msgspec.Struct):
    """What the parts share. `counts`: numbers to keep besides the levels."""

    sources: Sources
    given: Given
    table: Table
    packs: agents.Packs
    kept: tuple[past.Look, ...]
    until: float
    now: float
    notes: list[str] = []


def look(sources: Sources, ask: Callable[[], Given] | None = None, otherwise: Given = Given()) -> Look:  # noqa: B008
    """`otherwise` is what is known without asking anybody; `ask` adds to it in a thread: a daemon that hangs costs
    its deadline and no more.
    """
    started = time.monotonic()
    now = sources.now()
    answers: list[Any] = together(
        [sources.table, ask or (lambda: otherwise), partial(_remembered, sources, otherwise, now)],
        figures.LOOK_FIRST,
    )
    table, given, missing = _first(sources, answers[:2], otherwise)
    boot, kept, packs = ("", (), agents.Packs(())) if isinstance(answers[2], Exception) else answers[2]
    missing += [_why("packs and earlier looks", answers[2])] if isinstance(answers[2], Exception) else []
    seen = _Seen(sources, given, table, packs, kept, time.monotonic() + figures.LOOK_PART, now)
    parts: dict[str, Callable[[_Seen], Any]] = {
        "memory by tree": _trees, "leftovers": _leftovers, "open files": _files, "disks and processes": _machine,
        "agents' folders": _folders, "jobs that loop": _loops, "deaths": _deaths, "containers": _containers,
        "the machine's memory": _host,
    }  # fmt: skip
    left = max(0.05, seen.until - time.monotonic())
    results = together([partial(part, seen) for part in parts.values()], left, cap=len(parts))
    found = dict(zip(parts, results, strict=True))
    missing += [_why(name, result) for name, result in found.items() if isinstance(result, Exception)]
    done = _joined(found, table)
    done.missing = [*missing, *table.hidden, *packs.problems, *seen.notes]
    done.services, done.first = len(given.rows), not kept
    done.states = dict(Counter(str(row.get("state")) for row in given.rows))
    _judged(done, found, seen, boot)
    done.took_s = time.monotonic() - started
    return done


def _remembered(
    sources: Sources, given: Given, now: float
) -> tuple[str, tuple[past.Look, ...], agents.Packs]:
    """What lies on the disk: this boot's name, the earlier looks, the packs."""
    boot = hostfacts.boot(sources)
    return boot, past.load(given.keep, boot, now) if given.keep else (), agents.load(given.packs)


def _first(sources: Sources, answers: list[Any], otherwise: Given) -> tuple[Table, Given, list[str]]:
    table, given = answers
    missing = []
    if isinstance(table, Exception):
        partly = getattr(sources, "partial", None)
        if isinstance(table, Late) and partly is not None:
            table = partly()
        else:
            table = Table({}, sources.now(), (f"processes: {table}",))
    if isinstance(given, Exception):
        missing.append(_why("our own services", given))
        given = otherwise
    elif given.problem:
        missing.append(given.problem)
    return table, given, missing


def _why(name: str, error: Exception) -> str:
    if isinstance(error, Late):
        return f"{name}: no answer in time"
    return f"{name}: {type(error).__name__}: {error}"


# -- the parts


def _trees(seen: _Seen) -> tuple[trees.Forest, list[sessions.Session], dict[tuple[int, int], float]]:
    forest = trees.grow(seen.table, seen.packs, seen.given.ours)
    spent = {
        (tree.root.pid, tree.root.start): sum(one.cpu_s or 0.0 for one in tree.members)
        for tree in forest.trees
        if tree.agent is not None and tree.root.cpu_s is not None
    }
    share = past.shares(seen.kept, spent, seen.now)
    return forest, sessions.sessions(seen.sources, forest, share), spent


def _leftovers(seen: _Seen) -> list[Leftover]:
    from midwatch.inspect.leftovers.find import find

    return find(seen.sources, seen.table, seen.given.ours, seen.packs)


def _files(seen: _Seen) -> list[forecast.Level]:
    procs = {pid: proc for pid, proc in seen.table.procs.items() if not trees.is_kernel(proc)}
    scan = descriptors.scan(seen.sources, procs.values(), seen.until - 0.2)
    seen.notes += forecast_files.unread(scan)
    return forecast_files.levels(seen.sources, scan, procs)


def _machine(seen: _Seen) -> list[forecast.Level]:
    places = forecast_machine.places(seen.sources, [seen.given.keep, *seen.given.paths])
    return forecast_machine.levels(seen.sources, seen.table, places)


def _folders(seen: _Seen) -> tuple[list[statesize.Folder], list[forecast.Level]]:
    found = statesize.folders(seen.sources, seen.packs, seen.until - 0.2)
    return found, statesize.levels(seen.sources, found)


def _loops(seen: _Seen) -> loops.Jobs:
    def rate(key: str, value: float) -> float | None:
        return past.rate(seen.kept, key, value, seen.now, None)

    jobs = loops.find(seen.sources, seen.table, rate, seen.until - 0.2)
    jobs.loops = loops.ours(seen.given.rows) + jobs.loops
    return jobs


def _deaths(seen: _Seen) -> deaths.Deaths:
    return deaths.find(seen.sources, seen.given.journals)


def _containers(seen: _Seen) -> Quick:
    return quick(seen.sources)


def _host(seen: _Seen) -> hostfacts.Host:
    return hostfacts.host(seen.sources, len(seen.table.procs))


# -- together again


def _joined(found: dict[str, Any], table: Table) -> Look:
    def got(name: str, other: Any) -> Any:
        return other if isinstance(found[name], Exception) else found[name]

    forest, known, _ = got("memory by tree", (trees.Forest((), {}), [], {}))
    died, jobs = got("deaths", deaths.Deaths()), got("jobs that loop", loops.Jobs())
    return Look(
        host=got("the machine's memory", hostfacts.Host("", processes=len(table.procs))),
        table=table,
        forest=forest,
        sessions=known,
        leftovers=got("leftovers", []),
        loops=jobs.loops,
        deaths=died.deaths,
        containers=got("containers", Quick()),
    )


def _judged(done: Look, found: dict[str, Any], seen: _Seen, boot: str) -> None:
    """Levels with what earlier looks know; then this look is kept."""
    none: tuple[list[statesize.Folder], list[forecast.Level]] = ([], [])
    folders, large = none if isinstance(found["agents' folders"], Exception) else found["agents' folders"]
    levels = [] if isinstance(found["open files"], Exception) else list(found["open files"])
    levels += [] if isinstance(found["disks and processes"], Exception) else found["disks and processes"]
    levels += large
    done.forecasts = forecast.judge(levels, seen.kept, seen.now)
    done.host = msgspec.structs.replace(
        done.host,
        state_bytes=sum(folder.size for folder in folders) if folders else None,
        state_at_least=any(not folder.whole for folder in folders),
    )
    jobs, died = found["jobs that loop"], found["deaths"]
    spent = {} if isinstance(found["memory by tree"], Exception) else found["memory by tree"][2]
    for part in (jobs, died):
        if not isinstance(part, Exception):
            done.missing += part.missing
    if done.containers.words:
        done.missing.append(done.containers.words)
    if seen.given.keep and not seen.sources.recorded:
        counts = {} if isinstance(jobs, Exception) else jobs.counts
        numbers = {**forecast.numbers(done.forecasts, spent), **counts}
        new = past.Look(seen.now, boot, numbers)
        (problem,) = together([partial(past.save, seen.given.keep, seen.kept, new)], figures.LOOK_SAVE)
        done.missing += (
            [problem if isinstance(problem, str) else _why("this look", problem)] if problem else []
        )
