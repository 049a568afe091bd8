"""A session store: one SQLite file that several processes may share. Public through `midwatch.sessions`.

Opening checks whose file it is before anything touches it, brings an older one up to date with a backup, and never
puts an empty store in the place of one that it cannot read. Closing empties the log. Tests:
tests/bounded/sessions/test_store.py.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from midwatch.bounded.limits import DEFAULTS, Limits
from midwatch.bounded.sessions import files, listing, retention, schema
from midwatch.bounded.sessions.connect import Connections
from midwatch.bounded.sessions.errors import Missing, NotOurs, StoreError
from midwatch.bounded.sessions.live import Bus, Event, Subscription
from midwatch.bounded.sessions.retention import Plan, Retention
from midwatch.bounded.sessions.session import Session
from midwatch.bounded.sessions.upkeep import Upkeep, checkpoint
from midwatch.bounded.sessions.values import Listing, Page, Stats
from midwatch.policy import defaults_sessions as d

_ID = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")
_OPENING = threading.Lock()
Words = Callable[[str], None]


class Store:
    """Use it in a `with` block, or call `close`. Threads may share it; a forked child may go on with it."""

    def __init__(
        self, path: str, *, create: bool = True, readonly: bool = False, limits: Limits = DEFAULTS,
        count_tokens: Callable[[str], int] | None = None, upkeep: bool = True, on_warning: Words | None = None,
    ) -> None:  # fmt: skip
        if path in ("", ":memory:"):
            raise ValueError(f"open: a store is a file, so {path!r} is none; name a new one in a temporary folder")
        self.path = os.path.abspath(os.fspath(path))
        self.limits = limits
        self.count_tokens = count_tokens
        self.bus = Bus()
        self._on_warning = on_warning
        with _OPENING:
            header = files.prepare(self.path, create=create, readonly=readonly)
            if header.version != schema.VERSION:
                if readonly:
                    raise NotOurs(
                        f"open: {self.path} has version {header.version}; open it once for writing, which makes a "
                        f"backup and brings it up to {schema.VERSION}. It was left as it is"
                    )
                from midwatch.bounded.sessions import migrate  # rarely needed

                migrate.migrate(self.path, header.version, self._warn)
            self.connections = Connections(self.path, readonly=readonly)
        self.upkeep = Upkeep(self.connections, self._warn, thread=upkeep and not readonly)
        self.connections.committed = self.upkeep.committed
        self._readonly = readonly

    def create(self, *, title: str = "", agent: str = "", id: str = "") -> Session:  # noqa: A002
        """A new session. id: letters, digits, . _ and -, at most 100; by default one that nobody can guess."""
        name = self.fresh_id(id)
        for label, value in (("title", title), ("agent", agent)):
            if len(value.encode()) > d.FIELD_BYTES:
                raise StoreError(f"create: {label} has more than {d.FIELD_BYTES} bytes. Put long text into an item")
        now = time.time()
        try:
            with self.connections.transaction("create a session") as connection:
                connection.execute(
                    "INSERT INTO session (ref, created, updated, agent, title) VALUES (?, ?, ?, ?, ?)",
                    (name, now, now, agent, title),
                )
        except StoreError as error:
            if isinstance(error.__cause__, sqlite3.IntegrityError):
                raise StoreError(f"create: session {name!r} is in {self.path} already. Take another id") from None
            raise
        self.bus.publish(Event(kind="created", session=name, text=title))
        return Session(self, name)

    def session(self, id: str) -> Session:  # noqa: A002
        """A session that is there. Raises Missing."""
        listing.info(self.connections, id)
        return Session(self, id)

    def list(self, *, after: str | None = None, limit: int = 50) -> Listing:
        """A page of sessions, the last used first; at most 200. `after`: what the page before gave."""
        return listing.sessions(self.connections, after, limit)

    def read(self, ref: str, offset: int = 0, length: int = d.LEVELS[0], *, raw: bool = False) -> Page:
        """A stretch of what `ref` (`session/position`, as a context names it) leads to. Looked up, never a path."""
        session, _, pos = ref.rpartition("/")
        if not session or not pos.isdigit() or len(pos) > 18:
            raise Missing(f"read: {ref[:120]!r} is no reference; one looks like SESSION/7")
        return Session(self, session).read(int(pos), offset, length, raw=raw)

    def stats(self) -> Stats:
        """Sizes and counters."""
        return listing.stats(self.connections)

    def delete(self, id: str) -> None:  # noqa: A002
        """Out of the list at once; its bytes are given back while the store is idle. Branches of it stay."""
        retention.delete(self.connections, id)
        self.upkeep.freed()
        self.bus.publish(Event(kind="deleted", session=id))

    def prune(self, keep: Retention, *, dry_run: bool = True) -> Plan:
        """What `keep` would let go; with dry_run=False it goes."""
        plan = retention.plan(self.connections, keep)
        if not dry_run:
            for name in plan.deleted:
                try:
                    self.delete(name)
                except Missing:  # another process was quicker
                    pass
            for name in plan.trimmed:
                retention.trim(self.connections, name, keep)
            self.upkeep.freed()
        return plan

    def clean(self) -> None:
        """Do now what else is done while idle: remove what was deleted, orphans, free pages; empty the log."""
        while self.upkeep.step():
            pass
        checkpoint(self.connections, "TRUNCATE")

    def subscribe(self, session: str | None = None) -> Subscription:
        """Events of this process's writes: previews and references through a bounded queue. See `Subscription`."""
        return self.bus.subscribe(session)

    def close(self) -> None:
        """Write what drafts hold, empty the log, close every handle. May be called twice."""
        self.upkeep.close()
        if not self._readonly:
            try:
                checkpoint(self.connections, "TRUNCATE")
            except StoreError:  # another process is at work, or it was closed before
                pass
        self.connections.close()
        self.bus.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fresh_id(self, wanted: str) -> str:
        """`wanted` if it is a possible id, or a new one. Raises ValueError."""
        if wanted and not _ID.match(wanted):
            raise ValueError(f"session id {wanted[:120]!r}: letters, digits, '.', '_' and '-', at most 100 of them")
        return wanted or os.urandom(16).hex()

    def _warn(self, words: str) -> None:
        self.bus.publish(Event(kind="warning", text=words))
        if self._on_warning is not None:
            self._on_warning(words)


def open(  # noqa: A001  read as `sessions.open`
    path: str | os.PathLike[str], *, create: bool = True, readonly: bool = False, limits: Limits = DEFAULTS,
    count_tokens: Callable[[str], int] | None = None, upkeep: bool = True, on_warning: Words | None = None,
) -> Store:  # fmt: skip
    """Open a store, or make one.

    create: make it when there is none; a damaged, foreign or newer file is never replaced. readonly: look only.
    count_tokens: of a piece of text; by default a quarter of its bytes. upkeep: a thread that writes late drafts and
    cleans while idle; without it call `Store.clean` now and then. on_warning: gets sentences for a person.
    Raises Missing, NotOurs, TooNew, Corrupt, Unwritable, DiskFull, Busy; ValueError for a path that is none.
    """
    return Store(
        os.fspath(path), create=create, readonly=readonly, limits=limits, count_tokens=count_tokens, upkeep=upkeep,
        on_warning=on_warning,
    )  # fmt: skip
