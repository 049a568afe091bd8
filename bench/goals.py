"""What Midwatch promises to reach, checked against one run's results.

The figures are the release's goals; relative ones are taken from the same run. A goal that could not be
checked (a measure left out, a peer missing) is said to be so, never counted as met. Must not measure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.model import Measure, Result
from bench.report import LIMIT, MIB, OURS, best, median, number, table


@dataclass(frozen=True)
class Goal:
    """The sum of midwatch's `figures` in `variant` has to be at most (`highest`: at least) what `bound` says."""

    what: str
    measure: Measure
    figures: tuple[str, ...]
    bound: Callable[[Sequence[Result]], float | None]
    words: str
    variant: str
    scale: float = 1.0
    highest: bool = False


def fixed(value: float) -> Callable[[Sequence[Result]], float | None]:
    """A bound that is a number."""
    return lambda _: value


def peers_best(figure: str, highest: bool = False) -> Callable[[Sequence[Result]], float | None]:
    """The best of all peers in the same run."""

    def bound(results: Sequence[Result]) -> float | None:
        names = {result.peer for result in results} - {OURS, LIMIT}
        values = [value for name in names if (value := best(results, name, figure, highest)) is not None]
        return (max(values) if highest else min(values)) if values else None

    return bound


def of_peer(peer: str, figure: str) -> Callable[[Sequence[Result]], float | None]:
    """One peer's figure in the same run."""
    return lambda results: best(results, peer, figure)


def share_of_splice(figure: str, share: float) -> Callable[[Sequence[Result]], float | None]:
    """A share of the bare splice loop in the same run: the goal's "safe" loop. The bare read/write loop is printed
    beside it, but a byte that sits in its buffer when it is killed is lost."""

    def bound(results: Sequence[Result]) -> float | None:
        rate = best([result for result in results if result.variant == "splice"], LIMIT, figure, highest=True)
        return None if rate is None else rate * share

    return bound


def share_of_cat(share: float) -> Callable[[Sequence[Result]], float | None]:
    """A share of `cat > /dev/null` in the same run."""

    def bound(results: Sequence[Result]) -> float | None:
        rate = best(results, LIMIT, "flood.mb_per_s", highest=True)
        return None if rate is None else rate * share

    return bound


STORE = "synchronous=NORMAL (WAL)"
RUN = "bounded.run"
SPOOL = "Store, search"
GATED, PLAIN, ROTATED = "contain=auto", "contain=none", "50 MB x 10"
RATE = "mb_per_s"
METERS = "held memory, descriptors, CPU, I/O"
CORE, ALL = "keeper + engine", "with waiting gates"


def _memory(
    size: int, what: str, whose: str, bound: Callable[[Sequence[Result]], float | None], words: str
) -> Goal:
    """One size's RssAnon or PSS: of the two processes that the goal is about, and with everything of ours."""
    figures = (f"{size}.keeper.{what}", f"{size}.engine.{what}") if whose == CORE else (f"{size}.{what}",)
    name = {"anon": "RssAnon", "pss": "PSS"}[what]
    return Goal(
        f"{name} with {size} services, {whose} (MiB)", "memory", figures, bound, words, GATED, float(MIB)
    )


GOALS = (
    Goal("exit 0 to successor, gate and cgroup (ms)", "restart", ("exit_ms",), fixed(3.0), "<= 3", GATED),
    Goal("exit 0 to successor, no gate (ms)", "restart", ("exit_ms",), fixed(2.0), "<= 2", PLAIN),
    Goal("exit 0 to successor (ms)", "restart", ("exit_ms",), peers_best("exit_ms"), "best peer", GATED),
    *(
        _memory(size, "anon", whose, fixed(line * MIB), f"<= {line}")
        for whose in (CORE, ALL)
        for size, line in ((1, 14), (100, 15), (500, 20))
    ),
    *(
        _memory(size, "pss", whose, of_peer("supervisor", f"{size}.pss"), "supervisor")
        for whose in (CORE, ALL)
        for size in (1, 100, 500)
    ),
    Goal("idle CPU, 10 services (s a minute)", "cpu", ("10.cpu_s_per_min",), fixed(0.05), "<= 0.05", GATED),
    Goal("idle CPU, 500 services (s a minute)", "cpu", ("500.cpu_s_per_min",), fixed(0.25), "<= 0.25", GATED),
    *(
        Goal(f"memory of {size} services read every 2 s (s a minute)", "readings",
             (f"{size}.idle.cpu_s_per_min",), fixed(line), f"<= {line}", METERS)
        for size, line in ((10, 0.05), (500, 0.25))
    ),
    *(
        Goal(f"peak over the memory limit, {words} (x)", "guards", (f"{rate}.ratio",), fixed(line), f"<= {line}", how)
        for rate, words, how, line in (
            ("1000", "1 GB/s", "polling", 1.15), ("1000", "1 GB/s", "own cgroup", 1.02),
            ("50", "50 MB/s", "polling", 1.03),
        )
    ),
    Goal("500 services started (s)", "start500", ("last_s",), fixed(0.6), "<= 0.6", GATED),
    Goal("500 services started, no gate (s)", "start500", ("last_s",), fixed(0.6), "<= 0.6", PLAIN),
    Goal("500 services started (s)", "start500", ("last_s",), peers_best("last_s"), "best peer", GATED),
    Goal(
        "log MB/s, limit",
        "logs",
        (RATE,),
        share_of_splice(RATE, 0.9),
        "0.9 of the bare splice loop",
        ROTATED,
        1.0,
        True,
    ),
    Goal("connections dropped in restarts", "sockets", ("failures",), fixed(0.0), "0", "socket passed on"),
    *(
        Goal(f"kill -9: {words}", "survive", (figure,), fixed(0.0), "0", variant)
        for variant, figure, words in (
            ("silent", "doubled", "services doubled"),
            ("silent", "starts", "services started again"),
            ("silent, with a port", "port_conflicts", "port conflicts"),
            ("writes, with a port", "starts", "services started again"),
            ("writes, with a port", "lost", "lines lost"),
        )
    ),
    Goal("kill -9: start to 100 adopted (s)", "survive", ("adopted_s",), fixed(0.3), "<= 0.3", "100 services"),
    Goal("look with 600 processes (ms)", "look", ("wall_ms",), fixed(2000.0), "<= 2000", "look --json"),
    Goal("exec of 1 GiB (MB/s)", "exec", ("flood.mb_per_s",), share_of_cat(0.7), "0.7 of cat", RUN, 1.0, True),
    Goal("exec of 1 GiB, growth (MiB)", "exec", ("flood.grown_mib",), fixed(8.0), "<= 8", RUN),
    Goal("64 x 20 MiB at once, growth (MiB)", "exec", ("many.grown_mib",), fixed(64.0), "<= 64", RUN),
    Goal("spool: line 700,000 (ms)", "spool", ("line.ms",), fixed(20.0), "<= 20", SPOOL),
    Goal("spool: column 299 MiB (ms)", "spool", ("column.ms",), fixed(50.0), "<= 50", SPOOL),
    *(
        Goal(words, "sessions", (figure,), fixed(line), f"<= {line:g}", STORE)
        for words, figure, line in (
            ("append to 531 MB (ms)", "append_ms", 0.2),
            ("open it and list 1,168 sessions (ms)", "list_ms", 200.0),
            ("first page of the largest (ms)", "page_ms", 50.0),
            ("context of 300 MB, first byte (ms)", "first_byte_ms", 50.0),
            ("context of 300 MB, growth (MiB)", "context_grown_mib", 4.0),
            ("500 deltas on 10 MiB (bytes written)", "deltas_written", 1_000_000.0),
            ("branch of 300 MB (ms)", "branch_ms", 100.0),
            ("branch of 300 MB (bytes)", "branch_bytes", 65_536.0),
        )
    ),
    Goal("log MB/s, peers", "logs", (RATE,), peers_best(RATE, highest=True), "best peer", ROTATED, 1.0, True),
)


def total(result: Result, figures: tuple[str, ...]) -> float | None:
    """The sum of the figures' medians; None when one is missing."""
    values = [median(result, figure) for figure in figures]
    return None if None in values else sum(value for value in values if value is not None)


def judged(goal: Goal, results: Sequence[Result]) -> tuple[str, str, str, str, str] | None:
    """One row: what, whose setting, measured, goal, verdict; None when the measure was not run."""
    same = [result for result in results if result.measure == goal.measure]
    ours = [result for result in same if result.peer == OURS and goal.variant == result.variant]
    if not ours:
        return None
    value, bound = total(ours[0], goal.figures), goal.bound(same)
    if value is None or bound is None:
        verdict = "not checked"
    else:
        verdict = "met" if (value >= bound if goal.highest else value <= bound) else "MISSED"
    shown = [number(None if figure is None else figure / goal.scale) for figure in (value, bound)]
    return goal.what, goal.variant, shown[0], f"{goal.words}: {shown[1]}", verdict


def section(results: Sequence[Result]) -> str:
    """The goals' table; empty when midwatch was not measured."""
    rows = [row for goal in GOALS if (row := judged(goal, results)) is not None]
    return "## Goals\n\n" + table(["goal", "setting", "measured", "bound", "verdict"], rows) if rows else ""
