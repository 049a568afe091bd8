"""`make detector-table`: measures the leak detector on seeded traces and writes the tables of docs/leaks-detector.md.

30 seeds a shape, 72 simulated hours each, about two minutes. Ends with 1 when the detector is worse than its contract
(tests/policy/leaks/contract.py), so that a change of a figure shows what it costs. `--quick` takes 6 seeds and writes
nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.policy.leaks import contract as c  # noqa: E402
from tests.policy.leaks import shapes  # noqa: E402

PAGE = ROOT / "docs" / "leaks-detector.md"
BEGIN, END = "<!-- table: make detector-table -->\n", "<!-- end -->\n"


def memory(seeds: int) -> str:
    """Alarms a process-day for each shape, hours until each leak is found."""
    heads = [*(shape.replace("_", " ") for shape in c.SHAPES), *(f"{leak} MiB/h" for leak in shapes.LEAKS)]
    lines = ["| detector | " + " | ".join(heads) + " |", "|--|" + "--|" * len(heads)]
    for row in c.ROWS:
        cells = [_rate(c.daily(row, shape, seeds)) for shape in c.SHAPES]
        cells += [_hours([c.found(row, leak, under, seeds) for under in shapes.UNDER]) for leak in shapes.LEAKS]
        name = f"**{row}**" if row in c.DAILY else row
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def under(seeds: int) -> str:
    """The bold rows in detail: the median by what the leak lies under."""
    names = (*c.UNDER, "overlap, load known")
    lines = ["| found after, by what it lies under | " + " | ".join(names).replace("_", " ") + " |"]
    lines.append("|--|" + "--|" * len(names))
    for row in c.DAILY:
        for leak in shapes.LEAKS:
            cells = [_hours([c.found(row, leak, name, seeds)]) for name in names]
            lines.append(f"| {row.partition(':')[0]}, {leak} MiB/h | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def descriptors(seeds: int) -> str:
    """The same for descriptors: by kind, and on the total, where the pool hides the leak."""
    heads = [f"{leak}/h" for leak in c.FILE_HOURS]
    lines = ["| watched | alarms a day | " + " | ".join(heads) + " |", "|--|--|" + "--|" * len(heads)]
    for kind in c.FD_DAILY:
        leaks = [c.fd_found(kind, leak, seeds)[seeds // 2] for leak in c.FILE_HOURS] if kind != "sockets" else []
        cells = [_hours([at]) for at in leaks] or ["-"] * len(heads)
        lines.append(f"| {kind} | {_rate(c.fd_daily(kind, seeds))} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _rate(value: float) -> str:
    return "0" if value == 0 else f"{value:.2f}".removeprefix("0")


def _hours(values: list[float | None]) -> str:
    """From the fastest to the slowest median; "-" where fewer than half were found."""
    known = sorted(round(value, 1) for value in values if value is not None)
    if not known:
        return "-"
    span = f"{known[0]:g}" + (f"-{known[-1]:g}" if known[-1] != known[0] else "")
    return span + " h" + (" or not" if len(known) < len(values) else "")


def main(arguments: list[str]) -> int:
    seeds = 6 if "--quick" in arguments else c.SEEDS
    text = "\n".join((memory(seeds), under(seeds), descriptors(seeds)))
    if seeds == c.SEEDS:
        page = PAGE.read_text(encoding="utf-8")
        head, rest = page.split(BEGIN, 1)
        PAGE.write_text(head + BEGIN + "\n" + text + "\n" + END + rest.split(END, 1)[1], encoding="utf-8")
    print(text)
    problems = c.broken(seeds)
    print("\n".join(problems) if problems else "no worse than the contract")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
