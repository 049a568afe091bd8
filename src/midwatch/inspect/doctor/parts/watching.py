"""What changes in a tree while one looks: polled sizes and times, because a look must not use up watches itself.

Bounded in files and time; folders that nobody rebuilds from (.git, node_modules, .venv ...) are left out. Must not
judge. Tests: tests/inspect/doctor/test_watchers.py.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from midwatch.inspect.doctor.check import Context
from midwatch.policy import defaults_inspect as figures

_LEFT_OUT = frozenset({".git", "node_modules", ".venv", "venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".hg",
                       ".pytest_cache", ".tox", ".nox", ".cache", ".next", "target"})  # fmt: skip

State = dict[str, tuple[int, float]]


class Changes(NamedTuple):
    """`most`: how often the same file changed; `again`: those that changed most; `cut`: not all files were seen."""

    seconds: float
    events: int
    most: int
    again: list[str]
    cut: bool


def watch(ctx: Context, roots: list[str]) -> dict[str, Changes]:
    """Look at all of them for ctx.window seconds."""
    counts: dict[str, Counter[str]] = {root: Counter() for root in roots}
    cut: dict[str, bool] = {}
    before: dict[str, State] = {}
    for root in roots:
        before[root], cut[root] = _state(ctx, root)
    began = ctx.clock()
    while ctx.clock() - began < ctx.window:
        ctx.pause(figures.STORM_LOOK)
        for root in roots:
            now, _ = _state(ctx, root)
            old = before[root]
            counts[root].update(path for path, seen in now.items() if old.get(path) != seen)
            counts[root].update(path for path in old if path not in now)
            before[root] = now
    seconds = max(ctx.clock() - began, 0.001)
    return {root: _changes(found, seconds, cut[root]) for root, found in counts.items()}


def _changes(found: Counter[str], seconds: float, cut: bool) -> Changes:
    top = found.most_common(5)
    return Changes(seconds, sum(found.values()), top[0][1] if top else 0, [path for path, _ in top], cut)


def _state(ctx: Context, root: str) -> tuple[State, bool]:
    found: State = {}
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            names = ctx.sources.names(folder, figures.STORM_FILES + 1)
        except NotADirectoryError:
            _add(ctx, folder, found)
            continue
        except OSError:
            continue
        for name in names:
            if name in _LEFT_OUT:
                continue
            if len(found) + len(waiting) >= figures.STORM_FILES:
                return found, True
            waiting.append(f"{folder}/{name}")
    return found, False


def _add(ctx: Context, path: str, found: State) -> None:
    try:
        found[path] = ctx.sources.size(path)
    except OSError:
        return
