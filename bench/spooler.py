"""The program behind measures/spool.py: one task with midwatch's spool or search, timed from inside; JSON on stdout.

A process of its own, so that imports, caches and memory are only its own. Must not know the tools it is compared with.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from midwatch.bounded.limits import Limits
from midwatch.bounded.search import search
from midwatch.bounded.spool import Store

MIB = 1 << 20
BUFFER = 256 << 10


def main() -> None:
    """`spooler.py FOLDER write|line|search|text|regex [ARGUMENTS]`"""
    folder, task, *words = sys.argv[1:]
    store = Store(Path(folder) / "spool", Limits(spool_free=MIB, spool_age=3600.0))
    print(json.dumps(TASKS[task](store, *words)))


def write(store: Store, source: str, times: str) -> dict[str, float]:
    """What a reader of a pipe does with each buffer, without the pipe."""
    data = bytearray(Path(source).read_bytes())
    pieces = [data[at : at + BUFFER] for at in range(0, len(data), BUFFER)]
    began = time.perf_counter()
    writer = store.begin()
    for _ in range(int(times)):
        for piece in pieces:
            writer.write(piece)
    info = writer.close()
    took = time.perf_counter() - began
    store.release(info.ref)
    return {"mb_per_s": info.bytes_total / 1e6 / took}


def line(store: Store, source: str) -> dict[str, Any]:
    """Line 700,000 of 800,000, a fresh store each time; then a column of an endless line; then a search in it."""
    writer = store.begin()
    writer.write(Path(source).read_bytes())
    lines = writer.close().ref
    writer = store.begin()
    for _ in range(300):
        writer.write(b"x" * MIB)
    endless = writer.close().ref
    out: dict[str, Any] = {"line_ms": [], "column_ms": [], "search_s": []}
    for _ in range(10):
        fresh = Store(store.folder, store.limits)
        began = time.perf_counter()
        assert fresh.read(lines, line=700_000, count=100).text
        out["line_ms"].append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        assert fresh.read(endless, line=1, column=299 * MIB).text
        out["column_ms"].append((time.perf_counter() - began) * 1000)
    for _ in range(3):
        began = time.perf_counter()
        assert store.search(lines, r"ERR[O0]R 079\d99\d ").matches
        out["search_s"].append(time.perf_counter() - began)
    for ref in (lines, endless):
        store.release(ref)
    return out


def tree(store: Store, root: str, pattern: str, how: str) -> dict[str, Any]:
    """A search through files; the matches are counted so that both have found the same."""
    began = time.perf_counter()
    found = search(root, pattern, regex=how == "regex", store=store)
    took = time.perf_counter() - began
    if found.spool:
        store.release(found.spool)
    return {"took": took, "matches": found.matches, "complete": found.complete}


TASKS = {"write": write, "line": line, "tree": tree}

if __name__ == "__main__":
    main()
