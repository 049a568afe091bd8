"""A branch: a session that shares another's items up to a position, as one row. Nothing is copied.

Positions go on behind the shared ones. The parent may be deleted; what is shared stays. Must not read bodies. Tests:
tests/bounded/sessions/test_branch.py.
"""

from __future__ import annotations

import time

from midwatch.bounded.sessions import history
from midwatch.bounded.sessions.connect import Connections
from midwatch.bounded.sessions.errors import Missing, StoreError, TooLarge
from midwatch.policy import defaults_sessions as d


def branch(connections: Connections, session: str, at: int, ref: str, title: str) -> None:
    """`ref` shares everything up to and with position `at`. Raises Missing, TooLarge (64 levels)."""
    parts = history.lineage(connections, session)
    if len(parts) >= d.DEPTH:
        raise TooLarge(f"branch: {session!r} has {len(parts)} levels of branches, {d.DEPTH} at most. Begin anew")
    place = next((part for part in parts if part.after < at), parts[-1])
    item = history.one(connections, session, at)
    now = time.time()
    with connections.transaction("branch a session") as connection:
        if connection.execute("SELECT 1 FROM session WHERE ref = ?", (ref,)).fetchone():
            raise StoreError(f"branch: there is a session {ref!r} already in {connections.path}. Take another name")
        there = connection.execute("SELECT 1 FROM item WHERE session = ? AND pos = ?", (place.session, at)).fetchone()
        if there is None:
            raise Missing(f"branch: item {at} of session {session!r} was deleted meanwhile")
        connection.execute(
            "INSERT INTO session (ref, parent, fork, created, updated, inherited, last, upto, agent, title) "
            "SELECT ?, id, ?, ?, ?, ?, ?, ?, agent, ? FROM session WHERE id = ?",
            (ref, at, now, now, item.upto, at, item.upto, title, place.session),
        )
