"""Reading a session's items: its own and, for a branch, those it shares with its parents, page by page by key.

A branch is a row with its parent's number and the last position it shares; no item is copied. Each function fetches
one bounded page and leaves no query open. There is none that gives a whole session. Must not write. Tests:
tests/bounded/sessions/test_store.py, test_branch.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from midwatch.bounded.sessions import schema
from midwatch.bounded.sessions.connect import Connections
from midwatch.bounded.sessions.errors import Missing
from midwatch.bounded.sessions.values import Item
from midwatch.policy import defaults_sessions as d

_END = 1 << 62


class Range(NamedTuple):
    """Positions `after` < pos <= `to` are rows of session number `session`."""

    session: int
    after: int
    to: int


Parts = list[Range]


def lineage(connections: Connections, session: str) -> Parts:
    """Where a session's history lies, the newest part first. Raises Missing."""
    found: Parts = []
    with connections.reader("read a session") as connection:
        row = connection.execute(
            "SELECT id, parent, fork FROM session WHERE ref = ? AND deleted = 0", (session,)
        ).fetchone()
        if row is None:
            raise Missing(f"no session {session!r} in {connections.path}. 'midwatch sessions list' names them")
        to = _END
        while row is not None:
            fork = min(row[2] or 0, to)
            found.append(Range(row[0], fork, to))
            to = fork
            if row[1] is None:
                break
            row = connection.execute("SELECT id, parent, fork FROM session WHERE id = ?", (row[1],)).fetchone()
    return found


def page_after(
    connections: Connections, session: str, after: int, limit: int, *, parts: Parts | None = None
) -> list[Item]:
    """Up to `limit` items behind a position, oldest first. `parts`: its lineage, when that was asked for before."""
    found: list[Item] = []
    for part in reversed(parts or lineage(connections, session)):
        low = max(part.after, after)
        if low < part.to and len(found) < limit:
            where = "i.session = ? AND i.pos > ? AND i.pos <= ? ORDER BY i.pos"
            found += _items(connections, session, where, (part.session, low, part.to), limit - len(found), True)
    return found


def page_before(
    connections: Connections, session: str, before: int, limit: int, *, parts: Parts | None = None
) -> list[Item]:
    """Up to `limit` items in front of a position, newest first, without their bodies."""
    found: list[Item] = []
    for part in parts or lineage(connections, session):
        high = min(part.to, before - 1)
        if high > part.after and len(found) < limit:
            where = "i.session = ? AND i.pos > ? AND i.pos <= ? ORDER BY i.pos DESC"
            found += _items(connections, session, where, (part.session, part.after, high), limit - len(found), False)
    return found


def anchor(connections: Connections, session: str, kind: str, *, last: bool, parts: Parts | None = None) -> Item | None:
    """The first or last item of a kind (system, user, summary), found by an index."""
    parts = parts or lineage(connections, session)
    for part in parts if last else reversed(parts):
        where = f"i.session = ? AND i.kind = '{kind}' AND i.pos > ? AND i.pos <= ? ORDER BY i.pos" + " DESC" * last
        if found := _items(connections, session, where, part, 1, False):
            return found[0]
    return None


def anchors(
    connections: Connections, session: str, kind: str, limit: int, *, parts: Parts | None = None
) -> list[Item]:
    """The last `limit` items of a kind, oldest first."""
    found: list[Item] = []
    for part in parts or lineage(connections, session):
        where = f"i.session = ? AND i.kind = '{kind}' AND i.pos > ? AND i.pos <= ? ORDER BY i.pos DESC"
        found += _items(connections, session, where, part, limit - len(found), False)
        if len(found) >= limit:
            break
    return found[::-1]


def one(connections: Connections, session: str, pos: int, *, parts: Parts | None = None) -> Item:
    """One item, with its body if that is short. Raises Missing."""
    found = page_after(connections, session, pos - 1, 1, parts=parts)
    if not found or found[0].pos != pos:
        raise Missing(f"no item {pos} in session {session!r} of {connections.path}: deleted, or never there")
    return found[0]


def each(connections: Connections, session: str, after: int, limit: int) -> Iterator[Item]:
    """All items behind a position, a page in memory at a time."""
    while page := page_after(connections, session, after, limit):
        yield from page
        after = page[-1].pos


def _items(
    connections: Connections, session: str, where: str, values: tuple[int, ...], limit: int, bodies: bool
) -> list[Item]:
    body = "i.body" if bodies else "NULL"
    query = f"SELECT {schema.ITEM}, {body} FROM item i WHERE {where} LIMIT ?"  # noqa: S608  no words of a caller
    with connections.reader("read a session") as connection:
        rows = connection.execute(query, (*values, min(limit, d.BATCH_ROWS))).fetchall()
    return [_item(session, row) for row in rows]


def _item(session: str, row: tuple[Any, ...]) -> Item:
    pos, kind, role, agent, name, calls, mime, tokens, size, wide, at, covers, more, payload, upto, body = row
    return Item(
        session=session, pos=pos, kind=kind, role=role, agent=agent, name=name, mime=mime, tokens=tokens, size=size,
        calls=tuple(calls.split("\n")) if calls else (), wide=wide, at=at, covers=covers, payload=payload, upto=upto,
        more=None if more is None else json.loads(more), body=body,
    )  # fmt: skip
