"""Which journal files have to go: by age in weeks and by total bytes; never the current one.

When everything else would be too old at once the clock has probably jumped: then age removes nothing this
time (the next new file decides again), bytes still do. Must not know what the files hold. Tests:
tests/record/test_retention.py.
"""

from __future__ import annotations

import os
from pathlib import Path

from midwatch.record.weeks import WEEK_SECONDS, Part, parts, path_of

MOST_FILES = 2000  # a clock flapping over a week border must not fill the folder


def doomed(sizes: dict[Part, int], current: Part, weeks: int, max_bytes: int) -> list[Part]:
    """The parts to remove, oldest first."""
    others = sorted(part for part in sizes if part != current)
    oldest_kept = current.starts - weeks * WEEK_SECONDS
    out = [part for part in others if part.starts < oldest_kept]
    if len(out) == len(others):
        out = []
    total = sum(sizes.values()) - sum(sizes[part] for part in out)
    count = len(sizes) - len(out)
    for part in others:
        if part in out:
            continue
        if total <= max_bytes and count <= MOST_FILES:
            break
        out.append(part)
        total -= sizes[part]
        count -= 1
    return sorted(out)


def prune(folder: Path, current: Part, weeks: int, max_bytes: int) -> list[tuple[str, int]]:
    """Remove what has to go; returns (path, bytes) of each. A file that cannot be removed raises OSError at
    the end.
    """
    sizes: dict[Part, int] = {}
    for part in parts(folder):
        try:
            sizes[part] = os.lstat(path_of(folder, part)).st_size
        except OSError:
            continue  # vanished meanwhile
    removed: list[tuple[str, int]] = []
    problem: OSError | None = None
    for part in doomed(sizes, current, weeks, max_bytes):
        path = path_of(folder, part)
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            problem = error
            continue
        removed.append((path, sizes[part]))
    if problem is not None:
        raise problem
    return removed
