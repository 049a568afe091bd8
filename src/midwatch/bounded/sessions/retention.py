"""What a store forgets: sessions by age, number and bytes, the oldest items of a session that is too long.

A session that is deleted is out of the list at once; its rows go in short transactions, also after a crash in
between. What a branch shares stays until the last branch is gone. `plan` only looks, `prune` does it. Must not know
bodies; what they leave is swept by payload.py. Tests: tests/bounded/sessions/test_retention.py.
"""

from __future__ import annotations

import time

import msgspec

from midwatch.bounded.limits import positive
from midwatch.bounded.sessions.connect import Connections
from midwatch.bounded.sessions.errors import Missing
from midwatch.policy import defaults_sessions as d


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds; None: this one is not asked about. Age in seconds since the last change; the newest session always
    stays."""

    age: float | None = None
    sessions: int | None = None
    bytes: int | None = None  # of all sessions together
    session_bytes: int | None = None
    session_items: int | None = None

    @classmethod
    def usual(cls) -> Retention:
        """What `midwatch sessions prune` proposes: not used for 90 days."""
        return cls(age=d.KEEP_AGE)

    def __post_init__(self) -> None:
        """Raises ValueError for a bound that is none."""
        for field in self.__struct_fields__:
            if (value := getattr(self, field)) is not None:
                positive(field, value, whole=field != "age")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What would go. `bytes`: of items, before sharing; `trimmed`: sessions that lose their oldest items."""

    deleted: list[str]
    trimmed: list[str]
    bytes: int


class _Row(msgspec.Struct, frozen=True):
    number: int
    ref: str
    updated: float
    items: int
    bytes: int


def plan(connections: Connections, keep: Retention, now: float | None = None) -> Plan:
    """From counters only. Keeps one small row a session in memory."""
    with connections.reader("plan what to forget") as connection:
        rows = connection.execute(
            "SELECT id, ref, updated, items, bytes FROM session WHERE deleted = 0 ORDER BY updated DESC, id DESC"
        ).fetchall()
    clock = time.time() if now is None else now
    gone: list[str] = []
    trimmed: list[str] = []
    total = freed = 0
    for place, row in enumerate(_Row(*one) for one in rows):
        total += row.bytes
        too_old = keep.age is not None and clock - row.updated > keep.age
        too_many = keep.sessions is not None and place >= keep.sessions
        if place and (too_old or too_many or (keep.bytes is not None and total > keep.bytes)):
            gone.append(row.ref)
            freed += row.bytes
        elif (keep.session_items is not None and row.items > keep.session_items) or (
            keep.session_bytes is not None and row.bytes > keep.session_bytes
        ):
            trimmed.append(row.ref)
            freed += max(0, row.bytes - (keep.session_bytes or row.bytes))
    return Plan(deleted=gone, trimmed=trimmed, bytes=freed)


def delete(connections: Connections, session: str) -> None:
    """Out of the list at once; its rows follow. Raises Missing."""
    with connections.transaction("delete a session") as connection:
        done = connection.execute("UPDATE session SET deleted = 1 WHERE ref = ? AND deleted = 0", (session,)).rowcount
    if not done:
        raise Missing(f"delete: no session {session!r} in {connections.path}. It may be gone already")


def finish(connections: Connections) -> bool:
    """One step of what was begun: 200 rows of a deleted session that no branch needs. False: nothing is left to do."""
    with connections.transaction("remove a session's rows") as connection:
        rows = connection.execute("SELECT id FROM session WHERE deleted = 1 ORDER BY id DESC").fetchall()
        for (number,) in rows:
            shared = connection.execute("SELECT MAX(fork) FROM session WHERE parent = ?", (number,)).fetchone()[0]
            gone = connection.execute(
                "DELETE FROM item WHERE id IN (SELECT id FROM item WHERE session = ? AND pos > ? LIMIT ?)",
                (number, -1 if shared is None else shared, d.BATCH_ROWS),
            ).rowcount
            gone += connection.execute("DELETE FROM draft WHERE session = ?", (number,)).rowcount
            if shared is None and gone < d.BATCH_ROWS:
                connection.execute("DELETE FROM session WHERE id = ?", (number,))
                return True
            if gone:
                return True
    return False


def trim(connections: Connections, session: str, keep: Retention) -> int:
    """Remove the oldest items of a session beyond its bounds, but not its first request, prompts and summaries, nor
    what a branch shares. Returns how many went."""
    gone = 0
    while step := _trim_step(connections, session, keep):
        gone += step
    return gone


def _trim_step(connections: Connections, session: str, keep: Retention) -> int:
    with connections.transaction("trim a session") as connection:
        row = connection.execute(
            "SELECT id, items, bytes FROM session WHERE ref = ? AND deleted = 0", (session,)
        ).fetchone()
        if row is None:
            return 0
        number, items, size = row
        shared = connection.execute("SELECT MAX(fork) FROM session WHERE parent = ?", (number,)).fetchone()[0]
        over_items = items - keep.session_items if keep.session_items is not None else 0
        over_bytes = size - keep.session_bytes if keep.session_bytes is not None else 0
        rows = connection.execute(
            "SELECT id, size FROM item WHERE session = ? AND pos > ? AND kind NOT IN ('system', 'summary') AND pos <> "
            "COALESCE((SELECT MIN(pos) FROM item WHERE session = ? AND kind = 'user'), -1) ORDER BY pos LIMIT ?",
            (number, shared or 0, number, d.BATCH_ROWS),
        ).fetchall()
        gone = []
        for key, bytes_ in rows:
            if over_items <= 0 and over_bytes <= 0:
                break
            gone.append((key,))
            over_items, over_bytes = over_items - 1, over_bytes - bytes_
        connection.executemany("DELETE FROM item WHERE id = ?", gone)
    return len(gone)
