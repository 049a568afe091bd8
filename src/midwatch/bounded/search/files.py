"""Search a tree of files: bounded in time, files, memory and in what comes back.

The first 200 matches are the answer; when there are more, all of them are in a spool. Our own folders are never
searched. Must not walk or match itself: that is the worker's. Tests: tests/bounded/test_search.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from midwatch.bounded.search import result, running
from midwatch.bounded.search.result import Hit, SearchError, SearchResult
from midwatch.policy import defaults_bounded as d
from midwatch.record import place

if TYPE_CHECKING:
    from midwatch.bounded.spool.meta import SpoolInfo
    from midwatch.bounded.spool.store import Store
    from midwatch.bounded.spool.writer import Writer

PATTERN_MOST = 4096  # characters


def search(
    root: str | Path,
    pattern: str,
    *,
    regex: bool = False,
    ignore_case: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    big: Literal["skip", "stream"] = "skip",
    timeout: float = d.SEARCH_WALL,
    files: int = d.SEARCH_FILES,
    most: int = d.MATCHES,
    store: Store | None = None,
    own: Sequence[str | Path] = (),
) -> SearchResult:
    """Lines below `root` that contain `pattern`.

    `include` and `exclude` are globs of names. `store`: where more matches than `most` go (None: nowhere). `own`:
    further folders that are not searched, besides the instance's and the store's. Raises SearchError.
    """
    if not pattern or len(pattern) > PATTERN_MOST or "\n" in pattern:
        raise SearchError(f"a pattern has 1 to {PATTERN_MOST:,} characters and no newline")
    if big not in ("skip", "stream"):
        raise SearchError(f"big is {big!r}: 'skip' or 'stream'")
    for name, value in (("timeout", timeout), ("files", files), ("most", most)):
        if isinstance(value, bool) or not value > 0 or value == float("inf"):
            raise SearchError(f"{name} is {value!r}: it must be above 0; there is no 'unlimited'")
    taking = _Taking(pattern, str(root), [regex, ignore_case, list(include), list(exclude), big], most, store)
    began = time.monotonic()
    folder = os.path.abspath(root)
    task = {
        "pattern": pattern, "regex": regex, "ignore_case": ignore_case, "most": d.MATCHES_MOST,
        "root": os.fsencode(folder).decode("latin-1"), "own": _own(folder, own, store), "big": d.SEARCH_BIG,
        "stream": big == "stream", "files": files, "include": list(include), "exclude": list(exclude), "wall": timeout,
        "cpu_most": timeout,
    }  # fmt: skip
    try:
        died = running.run(task, taking.take)
    except OSError as error:
        taking.writer_off()
        raise SearchError(f"the search could not be started: {error.strerror}") from None
    return taking.finish(died, int((time.monotonic() - began) * 1000))


def _own(root: str, more: Sequence[str | Path], store: Store | None) -> list[list[int]]:
    """Folders that are not searched, by identity; but who asks for one of them by name gets it."""
    folders = [place.home(), *(Path(one) for one in more), *([store.folder] if store else [])]
    found = []
    for folder in folders:
        try:
            one = os.stat(folder)
            if not os.path.samestat(one, os.stat(root)):
                found.append([one.st_dev, one.st_ino])
        except OSError:
            continue
    return found


class _Taking:
    """The worker's lines become a result."""

    def __init__(self, pattern: str, root: str, options: list[Any], most: int, store: Store | None) -> None:
        self._pattern, self._root, self._most, self._store = pattern, root, most, store
        self._same = f"search {os.path.abspath(root)} {pattern!r} {options!r}"
        self._hits: list[Hit] = []
        self._matches = 0
        self._path = ""
        self._last: dict[str, Any] = {}
        self._writer: Writer | None = None
        self._earlier: SpoolInfo | None = None
        self._lines: list[str] = []

    def take(self, line: Any) -> None:
        if isinstance(line, list):
            number, offset, column, raw = line
            hit = Hit(self._path, number, column, offset, result.excerpt(raw.encode("latin-1")))
            self._matches += 1
            if len(self._hits) < self._most:
                self._hits.append(hit)
            else:
                self._spool(hit)
        elif "path" in line:
            path = result.from_path(line["path"])
            root = os.path.abspath(self._root)
            self._path = path if self._root.startswith("/") else os.path.join(self._root, os.path.relpath(path, root))
        else:
            self._last = line

    def _spool(self, hit: Hit) -> None:
        if self._store is None:
            return
        if self._writer is None:
            self._earlier = self._store.recent(self._same)
            self._writer = self._store.begin(kind="search", command=("search", self._pattern), same=self._same)
            self._lines = [str(one) for one in self._hits]
        self._lines.append(str(hit))
        if len(self._lines) >= 256:
            self._flush()

    def _flush(self) -> None:
        if self._writer is not None and self._lines:
            self._writer.write("".join(f"{line}\n" for line in self._lines).encode())
        self._lines = []

    def writer_off(self) -> None:
        """Nothing came of it."""
        if self._writer is not None:
            self._writer.discard()

    def finish(self, died: str, duration: int) -> SearchResult:
        why = died or self._last.get("end", "")
        if why.startswith(("bad pattern", "cannot be searched")):
            self.writer_off()
            raise SearchError(f"{self._root}: {why}" if "searched" in why else f"{self._pattern[:200]!r}: {why}")
        ref, whole = None, None
        if self._writer is not None:
            self._flush()
            ref = self._writer.ref
            whole = self._writer.close({"matches": self._matches, "why": why}).complete if ref else None
        skipped = [
            result.Skipped(reason, count, tuple(result.from_path(path) for path in paths))
            for reason, count, paths in self._last.get("skipped", [])
        ]
        return SearchResult(
            root=self._root, pattern=self._pattern, hits=tuple(self._hits), matches=self._matches, complete=not why,
            why=why, files=self._last.get("files", 0), folders=self._last.get("folders", 0),
            bytes_read=self._last.get("bytes", 0), skipped=tuple(sorted(skipped, key=lambda one: -one.count)),
            spool=ref, spool_complete=whole, earlier=self._earlier.ref if self._earlier else None, duration_ms=duration,
        )  # fmt: skip
