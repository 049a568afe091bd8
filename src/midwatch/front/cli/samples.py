"""The last measurements of a run, for `why`: peak, slope and last value, with their quality.

Takes the samples as they were kept (the ring on disk, or the copy in the evidence). What was not measured is absent,
never 0. Pure but for `recorded`, which reads the series. Tests: tests/front/test_why_evidence.py.
"""

from __future__ import annotations

from typing import Any

from midwatch.engine.layout import Layout
from midwatch.front.cli.render import duration, size

LAST = 60.0  # seconds before the end over which growth is told
LEAST = 3  # samples without which there is no slope
FOLDER = "series"
FLAT = 0.02  # a change by less than this share of the peak, over the whole time, is called flat


def summary(samples: list[Any], line_bytes: int | None = None) -> dict[str, Any] | None:
    """What the samples of one run show; None without a single measured number."""
    points = [(at, held) for at, held in map(_point, samples) if at is not None and held is not None]
    last = next((one for one in reversed(samples) if isinstance(one, dict)), {})
    if not points:
        return None
    recent = [point for point in points if point[0] >= points[-1][0] - LAST]
    peak = max(held for _, held in points)
    found: dict[str, Any] = {
        "count": len(points),
        "last_at": points[-1][0],
        "seconds": round(points[-1][0] - points[0][0], 3),
        "first_bytes": int(points[0][1]),
        "last_bytes": int(points[-1][1]),
        "peak_bytes": int(peak),
        "quality": _quality(last),
        "line_bytes": line_bytes,
        "fds": _number(last.get("fds")),
        "fd_limit": _number(last.get("fd_limit")),
    }
    span = recent[-1][0] - recent[0][0]
    if len(recent) >= LEAST and span > 0:
        found["slope_bytes_per_s"] = int((recent[-1][1] - recent[0][1]) / span)
        found["slope_seconds"] = round(span, 3)
    return found


def words(found: dict[str, Any] | None, end: float | None = None) -> list[str]:
    """The same in sentences. `end`: wall time of the run's end, None while it lives."""
    if not found:
        return []
    mark = {"upper-bound": "at most ", "approximate": "about "}.get(str(found["quality"]), "")
    last, peak, span = size(found["last_bytes"]), size(found["peak_bytes"]), duration(found["seconds"])
    looks = "1 look" if found["count"] == 1 else f"{found['count']} looks in {span}"
    before = f", {duration(end - found['last_at'])} before its end" if end and end - found["last_at"] >= 0.05 else ""
    said = [f"memory: {mark}{last} at the last look{before}; peak {peak} of {looks}"]
    slope, over = found.get("slope_bytes_per_s"), found.get("slope_seconds")
    if slope is not None and over is not None:
        if abs(slope) * over < FLAT * found["peak_bytes"]:
            said.append(f"memory was flat over its last {duration(over)}")
        else:
            way = "grew" if slope > 0 else "shrank"
            said.append(f"memory {way} by {size(abs(slope))} a second over its last {duration(over)}")
    return said


def recorded(layout: Layout, service: str, run: str, until: float | None) -> list[Any]:
    """The run's rows on disk, as far as the ring still has them. A row holds until the next one, or until the last
    look: while a number stands still none is written. `until`: wall time of the run's end, None while it lives."""
    from midwatch.record import series

    number = run.rpartition(".")[2]
    fast, slow = series.read(layout.home / FOLDER, service)
    mine = [row for row in fast if str(row.run) == number]
    first = mine[0].at if mine else float("inf")
    spans = [span for span in slow if str(span.run) == number and span.at + series.SLOW_SECONDS <= first]
    # The first one may have begun with the run before.
    found: list[dict[str, Any]] = [{"at": span.at, "held": span.high, "fds": span.fds} for span in spans[1:]]
    found += [{"at": row.at, "held": row.held, "quality": row.quality, "fds": row.fds, "fd_limit": row.fd_limit}
              for row in mine]  # fmt: skip
    looked = series.seen(layout.home / FOLDER)
    ends = [at for at in (until, looked) if at is not None]
    if mine and looked is not None and min(ends) > mine[-1].at + 1.0:
        found.append({**found[-1], "at": min(ends)})
    return found


def _point(one: Any) -> tuple[float | None, float | None]:
    if not isinstance(one, dict):
        return None, None
    held = one.get("held")
    if isinstance(held, dict):
        held = held.get("value")
    return _number(one.get("at")), _number(held if held is not None else one.get("held_bytes"))


def _quality(one: dict[str, Any]) -> str:
    held = one.get("held")
    return str((held.get("quality") if isinstance(held, dict) else one.get("quality")) or "")


def _number(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
