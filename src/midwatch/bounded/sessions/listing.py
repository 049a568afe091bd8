"""The list of sessions and the numbers of a store: from counters that triggers keep, by an index, a page at a time.

Nothing is counted and nothing sorted. Must not read items. Tests: tests/bounded/sessions/test_store.py.
"""

from __future__ import annotations

import os
from typing import Any

from midwatch.bounded.sessions import schema, upkeep
from midwatch.bounded.sessions.connect import Connections
from midwatch.bounded.sessions.errors import Missing
from midwatch.bounded.sessions.values import Info, Listing, Stats
from midwatch.policy import defaults_sessions as d

_FROM = f"SELECT {schema.INFO} FROM session s LEFT JOIN session p ON p.id = s.parent WHERE s.deleted = 0"  # noqa: S608


def sessions(connections: Connections, after: str | None, limit: int) -> Listing:
    """The newest first; `after` is what the page before gave."""
    most = max(1, min(limit, d.BATCH_ROWS))
    where, values = "", tuple[float | int, ...]()
    if after is not None:
        updated, _, number = after.partition(":")
        try:
            where, values = " AND (s.updated, s.id) < (?, ?)", (float.fromhex(updated), int(number))
        except ValueError:
            raise ValueError(f"list: after is {after!r}: give what the page before gave, or nothing") from None
    with connections.reader("list sessions") as connection:
        rows = connection.execute(
            f"{_FROM}{where} ORDER BY s.updated DESC, s.id DESC LIMIT ?", (*values, most)
        ).fetchall()
    more = f"{float(rows[-1][4]).hex()}:{rows[-1][12]}" if len(rows) == most else None
    return Listing([_info(row) for row in rows], more)


def info(connections: Connections, session: str) -> Info:
    """One session's counters. Raises Missing."""
    with connections.reader("read a session") as connection:
        row = connection.execute(f"{_FROM} AND s.ref = ?", (session,)).fetchone()
    if row is None:
        raise Missing(f"no session {session!r} in {connections.path}. 'midwatch sessions list' names them")
    return _info(row)


def stats(connections: Connections) -> Stats:
    """Sizes and counters; reads one small row a session."""
    with connections.reader("read the store's numbers") as connection:
        count, items, size = connection.execute(
            "SELECT COUNT(*), TOTAL(items), TOTAL(bytes) FROM session WHERE deleted = 0"
        ).fetchone()
        free = connection.execute("PRAGMA freelist_count").fetchone()[0]
        page = connection.execute("PRAGMA page_size").fetchone()[0]
        drafts = connection.execute("SELECT COUNT(*) FROM (SELECT DISTINCT session, stream FROM draft)").fetchone()[0]
        orphans = connection.execute("SELECT COUNT(*) FROM payload WHERE refs = 0").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    return Stats(
        path=connections.path, sessions=count, items=int(items), bytes=int(size), free_bytes=free * page,
        file_bytes=os.stat(connections.path).st_size, wal_bytes=upkeep.log_bytes(connections.path), drafts=drafts,
        orphans=orphans, version=version,
    )  # fmt: skip


def _info(row: tuple[Any, ...]) -> Info:
    ref, title, agent, created, updated, items, size, tokens, last, parent, fork, inherited, _ = row
    return Info(
        id=ref, title=title, agent=agent, created=created, updated=updated, items=items, bytes=size, tokens=tokens,
        last=last, parent=parent, fork=fork, inherited=inherited,
    )  # fmt: skip
