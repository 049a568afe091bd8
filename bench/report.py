"""From results to tables: medians, ratios to the physical limit and to midwatch, and the goals.

Pure: takes results and facts about the machine, returns Markdown. It measures nothing and opens no file.
Tested by tests/bench/test_report.py.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.model import Measure, Result

MIB = 1 << 20
LIMIT = "bare"
OURS = "midwatch"
ABSENT = "-"

TITLES: dict[Measure, str] = {
    "restart": "Restart: end of a child to the first instruction of its successor (ms)",
    "memory": "Own memory with N idle services (MiB; the supervisor's processes only)",
    "cpu": "Own CPU when idle (seconds a minute)",
    "start500": "Starting 500 services (s)",
    "logs": "Log throughput: 100-byte lines in 64 kB writes",
    "sockets": "Restarts under load: connections dropped",
    "survive": "kill -9 of the supervisor, then its start command again: what became of the service",
    "readings": "Reading the memory of all services, every 2 s: the cost of a pass",
    "guards": "Memory guard, limit 512 MiB: how much a runaway held when it was dead (MiB)",
    "look": "The first look at a machine with 600 more processes",
    "spool": "Spools and search: 64 MB kept, line 700,000 of 800,000, 4,020 files of 200 MB",
    "sessions": "A session store of 1,168 sessions, 51,649 items, 531 MB",
    "exec": "Running one command from Python: 1 GiB of output, 64 x 20 MiB at once, none",
}


@dataclass(frozen=True)
class Column:
    """One column: its head, and its text for a result."""

    head: str
    cell: Callable[[Result], str]


def median(result: Result, figure: str) -> float | None:
    """The median of a figure; None when it was not measured."""
    values = result.figures.get(figure)
    return statistics.median(values) if values else None


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * share // 1))  # ceiling
    return ordered[int(rank) - 1]


def number(value: float | None, digits: int = 2) -> str:
    """A figure for a table: fixed digits when small, none and a thin thousands mark when large."""
    if value is None:
        return ABSENT
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.{digits}f}" if abs(value) < 10 else f"{value:.{min(digits, 1)}f}"


def ratio(value: float | None, base: float | None) -> str:
    """How many times `base` a value is; absent when either is, or when the base is too small to divide by."""
    if value is None or base is None or base <= 0:
        return ABSENT
    return f"{number(value / base)}x"


def best(results: Iterable[Result], peer: str, figure: str, highest: bool = False) -> float | None:
    """The best median of a peer over its settings: the lowest, or the highest."""
    values = [
        value for result in results if result.peer == peer and (value := median(result, figure)) is not None
    ]
    if not values:
        return None
    return max(values) if highest else min(values)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first two columns are words, the others figures."""
    marks = ["---" if place < 2 else "---:" for place in range(len(heads))]
    lines = [_line(heads), _line(marks), *(_line(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _figure(name: str, digits: int = 2, scale: float = 1.0) -> Callable[[Result], str]:
    def cell(result: Result) -> str:
        value = median(result, name)
        return number(None if value is None else value / scale, digits)

    return cell


def _against(
    results: Sequence[Result], peer: str, name: str, highest: bool = False
) -> Callable[[Result], str]:
    base = best(results, peer, name, highest)
    return lambda result: ratio(median(result, name), base)


def _spread(name: str) -> Callable[[Result], str]:
    """Median and 95th percentile, with the number of samples."""

    def cell(result: Result) -> str:
        values = result.figures.get(name)
        if not values:
            return ABSENT
        return f"{number(percentile(values, 0.95))} ({len(values)})"

    return cell


def _range(name: str, digits: int = 0) -> Callable[[Result], str]:
    """Lowest to highest sample and their number."""

    def cell(result: Result) -> str:
        values = result.figures.get(name)
        if not values:
            return ABSENT
        return f"{number(min(values), digits)} to {number(max(values), digits)} ({len(values)})"

    return cell


def _restart(results: Sequence[Result]) -> list[Column]:
    columns = []
    for trigger, words in (("exit", "exit 0"), ("kill", "SIGKILL")):
        name = f"{trigger}_ms"
        columns += [
            Column(f"{words}: median", _figure(name)),
            Column("p95 (n)", _spread(name)),
            Column("x limit", _against(results, LIMIT, name)),
            Column("x midwatch", _against(results, OURS, name)),
        ]
    return columns


def _sizes(results: Sequence[Result]) -> list[int]:
    return sorted({int(name.split(".")[0]) for result in results for name in result.figures})


def _memory(results: Sequence[Result]) -> list[Column]:
    columns = []
    for size in _sizes(results):
        columns += [
            Column(f"{size}: processes", _figure(f"{size}.processes", 0)),
            Column("RSS", _figure(f"{size}.rss", 1, MIB)),
            Column("RssAnon", _figure(f"{size}.anon", 1, MIB)),
            Column("PSS", _figure(f"{size}.pss", 1, MIB)),
        ]
    last = max(_sizes(results), default=0)
    if last:
        columns.append(Column("RssAnon x midwatch", _against(results, OURS, f"{last}.anon")))
    return columns


def _cpu(results: Sequence[Result]) -> list[Column]:
    columns = []
    for size in _sizes(results):
        name = f"{size}.cpu_s_per_min"
        columns.append(Column(f"{size} services", _figure(name, 4)))
        columns.append(Column("x midwatch", _against(results, OURS, name)))
    return columns


def _start(results: Sequence[Result]) -> list[Column]:
    return [
        Column("command to first", _figure("first_s")),
        Column("first to last", _figure("spread_s")),
        Column("command to last", _figure("last_s")),
        Column("range (n)", _range("last_s", 2)),
        Column("x limit", _against(results, LIMIT, "last_s")),
        Column("x midwatch", _against(results, OURS, "last_s")),
    ]


def _logs(results: Sequence[Result]) -> list[Column]:
    return [
        Column("MB/s", _figure("mb_per_s", 0)),
        Column("range (n)", _range("mb_per_s")),
        Column("x limit", _against(results, LIMIT, "mb_per_s", highest=True)),
        Column("x midwatch", _against(results, OURS, "mb_per_s", highest=True)),
        Column("writer saw MB/s", _figure("writer_mb_per_s", 0)),
        Column("own CPU s per GB", _figure("cpu_s_per_gb")),
        Column("RSS growth MiB", _figure("rss_growth", 1, MIB)),
    ]


def _sockets(_: Sequence[Result]) -> list[Column]:
    return [
        Column("restarts", _figure("restarts", 0)),
        Column("requests", _figure("asked", 0)),
        Column("dropped", _figure("failures", 0)),
        Column("longest request ms", _figure("longest_ms", 1)),
    ]


def _survive(_: Sequence[Result]) -> list[Column]:
    return [
        Column("outlived it", _figure("outlived", 0)),
        Column("copies alive", _figure("copies", 0)),
        Column("starts after", _figure("starts", 0)),
        Column("port conflicts", _figure("port_conflicts", 0)),
        Column("ended by lost output", _figure("output_gone", 0)),
        Column("lines lost", _figure("lost", 0)),
        Column("engine answers again (s)", _figure("answer_s", 3)),
        Column("daemon start to all adopted (s)", _figure("adopted_s", 3)),
        Column("with the command (s)", _figure("command_s", 3)),
    ]


def _readings(_: Sequence[Result]) -> list[Column]:
    columns = []
    for name, words in (("10.idle", "10 idle"), ("500.idle", "500 idle"), ("100.busy", "100 that allocate")):
        columns.append(Column(f"{words}: pass ms", _figure(f"{name}.pass_ms")))
        columns.append(Column("us each", _figure(f"{name}.us_each", 1)))
        columns.append(Column("s a minute", _figure(f"{name}.cpu_s_per_min", 4)))
    return columns


def _guards(_: Sequence[Result]) -> list[Column]:
    columns = []
    for rate, words in (("1000", "1 GB/s"), ("50", "50 MB/s")):
        columns.append(Column(f"{words}: peak", _figure(f"{rate}.peak_mib", 0)))
        columns.append(Column("worst", _worst(f"{rate}.peak_mib")))
        columns.append(Column("x the limit, worst", _worst(f"{rate}.ratio", 2)))
    columns.append(Column("starts of one that reads a 1 GiB map, 12 s", _figure("map.starts", 0)))
    columns.append(Column("starts of one that bursts to 60 %", _figure("burst.starts", 0)))
    return columns


def _exec(results: Sequence[Result]) -> list[Column]:
    limit = best(results, LIMIT, "flood.mb_per_s", highest=True)
    return [
        Column("1 GiB: MB/s", _figure("flood.mb_per_s", 0)),
        Column("x the limit", lambda result: ratio(median(result, "flood.mb_per_s"), limit)),
        Column("growth MiB", _figure("flood.grown_mib", 1)),
        Column("64 at once: s", _figure("many.s", 1)),
        Column("growth MiB", _figure("many.grown_mib", 1)),
        Column("`true`: ms", _figure("short.ms", 2)),
    ]


def _look(_: Sequence[Result]) -> list[Column]:
    return [
        Column("wall ms", _figure("wall_ms", 0)),
        Column("worst", _worst("wall_ms")),
        Column("CPU ms", _figure("cpu_ms", 0)),
        Column("processes seen", _figure("processes", 0)),
        Column("parts missing", _worst("missing")),
    ]


def _spool(_: Sequence[Result]) -> list[Column]:
    return [
        Column("64 MB kept: MB/s", _figure("kept.mb_per_s", 0)),
        Column("1 GB counted: MB/s", _figure("flood.mb_per_s", 0)),
        Column("line 700,000: ms", _figure("line.ms", 2)),
        Column("column 299 MiB: ms", _figure("column.ms", 2)),
        Column("search in it: s", _figure("search.s", 2)),
        Column("text in files: s", _figure("text.s", 2)),
        Column("regex in files: s", _figure("regex.s", 2)),
    ]


def _sessions(_: Sequence[Result]) -> list[Column]:
    return [
        Column("append ms", _figure("append_ms", 3)),
        Column("list 1,168 ms", _figure("list_ms", 0)),
        Column("first page ms", _figure("page_ms", 1)),
        Column("context, first byte ms", _figure("first_byte_ms", 0)),
        Column("CPU ms", _figure("first_byte_cpu_ms", 0)),
        Column("growth MiB", _figure("context_grown_mib", 1)),
        Column("branch ms", _figure("branch_ms", 1)),
        Column("a delta ms", _figure("delta_ms", 2)),
        Column("kB written a delta", _figure("delta_written", 1, 1000.0)),
        Column("900 deleted: s until <= 1.2 x", _figure("shrink_s", 0)),
        Column("longest step ms", _worst("shrink_step_ms")),
    ]


def _worst(figure: str, digits: int = 0) -> Callable[[Result], str]:
    def cell(result: Result) -> str:
        values = result.figures.get(figure)
        return number(max(values), digits) if values else ABSENT

    return cell


COLUMNS: dict[Measure, Callable[[Sequence[Result]], list[Column]]] = {
    "restart": _restart,
    "memory": _memory,
    "cpu": _cpu,
    "start500": _start,
    "logs": _logs,
    "sockets": _sockets,
    "survive": _survive,
    "readings": _readings,
    "guards": _guards,
    "sessions": _sessions,
    "exec": _exec,
    "look": _look,
    "spool": _spool,
}


def section(measure: Measure, results: Sequence[Result]) -> str:
    """One measure: its table, the roles of products with several processes, and the notes."""
    columns = COLUMNS[measure](results)
    rows = []
    notes = []
    for result in results:
        rows.append([result.peer, result.variant, *(column.cell(result) for column in columns)])
        label = f"{result.peer} ({result.variant})"
        notes += [f"- {label}: failed: {result.failed}"] if result.failed else []
        notes += [f"- {label}: {note}" for note in result.notes]
    parts = [
        f"## {TITLES[measure]}\n",
        table(["peer", "setting", *(column.head for column in columns)], rows),
    ]
    if measure == "memory":
        parts += [_roles(results), _sharers(results)]
    if notes:
        parts += ["\n".join(notes) + "\n"]
    return "\n".join(parts)


def _roles(results: Sequence[Result]) -> str:
    """Who of several own processes takes how much."""
    rows = []
    for result in results:
        names = {tuple(figure.split(".")[:2]) for figure in result.figures if figure.count(".") == 2}
        if len({role for _, role in names}) < 2:
            continue
        for size, role in sorted(names, key=lambda name: (int(name[0]), name[1])):
            key = f"{size}.{role}"
            cells = [_figure(f"{key}.{what}", 1, MIB)(result) for what in ("rss", "anon", "pss")]
            count = _figure(f"{key}.processes", 0)(result)
            rows.append([f"{result.peer} ({result.variant})", role, size, count, *cells])
    if not rows:
        return ""
    return table(["peer", "own process", "services", "count", "RSS", "RssAnon", "PSS"], rows)


def _sharers(results: Sequence[Result]) -> str:
    """How many strangers lowered the PSS of the Python peers."""
    counts = [
        value
        for result in results
        for name in result.figures
        if name.endswith(".other_pythons")
        for value in result.figures[name]
    ]
    if not counts:
        return ""
    return f"Other Python processes alive meanwhile: {number(min(counts), 0)} to {number(max(counts), 0)}.\n"


def document(results: Sequence[Result], facts: dict[str, str], goals: str) -> str:
    """The whole report."""
    parts = [
        "# Midwatch beside its peers\n",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()) + "\n",
    ]
    for measure in TITLES:
        chosen = [result for result in results if result.measure == measure]
        if chosen:
            parts.append(section(measure, chosen))
    if goals:
        parts.append(goals)
    return "\n".join(parts)
