"""What a store does while nobody asks: late drafts, checkpoints of its log, free pages given back, orphans removed.

One thread, asleep while there is nothing to do; every step is a short transaction, so that a writer never waits
longer than one. `tick` is the whole of it and can be called by hand (`Store.open(upkeep=False)`). Must not know
items. Tests: tests/bounded/sessions/test_upkeep.py.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable

from midwatch.bounded.sessions import adopting, payload, retention
from midwatch.bounded.sessions.connect import Connections
from midwatch.bounded.sessions.draft import Draft
from midwatch.bounded.sessions.errors import StoreError
from midwatch.bounded.sessions.holders import readers_of_log
from midwatch.policy import defaults_sessions as d

_LOOK_EVERY = 64  # commits between two looks at the log's size


class Upkeep:
    """`wake` after a commit or a delta; `tick` does what is due and says in how many seconds to come again."""

    def __init__(self, connections: Connections, warn: Callable[[str], None], *, thread: bool) -> None:
        self._connections = connections
        self._warn = warn
        self._threaded = thread
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._wake = threading.Condition()
        self._stopped = False
        self._drafts: weakref.WeakSet[Draft] = weakref.WeakSet()
        self._truncated = True
        self._clean = False  # nothing to sweep or to give back, as far as is known
        self._warned = False
        self._commits = 0
        self._tidying = 0
        self._asleep = False  # for longer than a new draft may wait
        self._pages = d.VACUUM_LEAST

    def follow(self, draft: Draft) -> None:
        """Write its deltas when they have waited for half a second."""
        self._drafts.add(draft)
        self.wake()

    def committed(self) -> None:
        """After every commit of this process."""
        self._truncated = False
        if self._tidying == threading.get_ident():
            return
        self._commits += 1
        if self._commits % _LOOK_EVERY == 0:
            self.look_at_log()
        self.wake()

    def before_payload(self) -> None:
        """A payload fills the log by itself: what is in it goes into the store first."""
        if log_bytes(self._connections.path) > d.WAL_BEFORE_PAYLOAD:
            checkpoint(self._connections, "PASSIVE")

    def freed(self) -> None:
        """Something was deleted: there may be orphans and free pages."""
        self._clean = False
        self.wake()

    def wake(self) -> None:
        if not self._threaded or self._stopped:
            return
        self._renew()
        if self._asleep:
            with self._wake:
                self._wake.notify_all()
        if self._thread is None:
            with self._wake:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="midwatch-sessions", daemon=True)
                    self._thread.start()

    def _renew(self) -> None:
        """In a forked child the thread is not there, and its lock may be held for ever."""
        if self._pid != os.getpid():
            self._pid, self._thread, self._wake = os.getpid(), None, threading.Condition()

    def close(self) -> None:
        self._renew()
        self._stopped = True
        with self._wake:
            self._wake.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2 * d.BUSY_S)

    def _run(self) -> None:
        while not self._stopped:
            try:
                pause = self.tick(time.monotonic())
            except StoreError as error:
                self._warn(f"upkeep: {error}")
                pause = 10.0
            with self._wake:
                if self._stopped:
                    return
                self._asleep = pause > d.IDLE_S  # first this, then the look: who comes between the two notifies
                idle = self._truncated and self._clean and not self._drafts
                self._wake.wait(pause if idle else min(pause, d.IDLE_S))
                self._asleep = False

    def tick(self, now: float) -> float:
        """What is due now. Returns seconds until the next look."""
        pauses = [d.DRAFT_LOOK for one in list(self._drafts) if self._written(one, now)]
        quiet = now - self._connections.wrote
        if quiet >= d.IDLE_S and not self._clean:
            self._tidy()
            pauses.append(d.CLEAN_EVERY)
        elif not self._clean:
            pauses.append(max(0.05, d.IDLE_S - quiet))
        if quiet >= d.TRUNCATE_S and not self._truncated:
            self._truncated = checkpoint(self._connections, "TRUNCATE")
        pauses.append(60.0 if self._truncated else d.IDLE_S)
        return min(pauses)

    def _written(self, draft: Draft, now: float) -> bool:
        """Look after a draft; False when it is done."""
        draft.due(now)
        if not draft.open:
            self._drafts.discard(draft)
        return draft.open

    def _tidy(self) -> None:
        """Short steps for a fifth of a second, until a writer comes: he waits for one of them at most."""
        wrote, commits = self._connections.wrote, self._commits
        end = time.monotonic() + d.CLEAN_S
        more = True
        try:
            self._tidying = threading.get_ident()
            while more and time.monotonic() < end and self._commits == commits:
                more = self.step()
        finally:
            self._tidying = 0
        self._clean = not more
        if self._commits == commits:
            self._connections.wrote = wrote  # our own steps are no activity

    def step(self) -> bool:
        """One short piece of cleaning. False: nothing is left to clean."""
        if retention.finish(self._connections) or payload.sweep(self._connections):
            return True
        adopting.sweep(self._connections)
        began = time.monotonic()
        more = vacuum(self._connections, self._pages)
        took = time.monotonic() - began  # a page costs more the more free ones there are: SQLite looks through them all
        if took > d.VACUUM_S:
            self._pages = max(d.VACUUM_LEAST, self._pages // 2)
        elif took < d.VACUUM_S / 4:
            self._pages = min(d.VACUUM_PAGES, self._pages * 2)
        return more

    def look_at_log(self) -> int:
        """Bytes of the log; checkpoints a large one, and says who keeps a very large one."""
        size = log_bytes(self._connections.path)
        if size > d.WAL_PASSIVE:
            checkpoint(self._connections, "PASSIVE")
        if size > d.WAL_WARN and not self._warned:
            self._warned = True
            who = readers_of_log(self._connections.path) or "a reader that cannot be seen from here"
            self._warn(
                f"the log of session store {self._connections.path} has {size:,} bytes, because a reader does not let "
                f"go: {who}. Nothing is lost; end that reader, then the log shrinks"
            )
        elif size < d.WAL_PASSIVE:
            self._warned = False
        return size


def checkpoint(connections: Connections, mode: str) -> bool:
    """PASSIVE waits for nobody; TRUNCATE empties the log, if nobody reads it. True: all of it is in the store."""
    with connections.writer("checkpoint") as connection:
        connection.execute(f"PRAGMA busy_timeout = {0 if mode == 'TRUNCATE' else int(d.BUSY_S * 1000)}")
        try:
            busy, in_log, done = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(d.BUSY_S * 1000)}")
    return not busy and in_log == done


def vacuum(connections: Connections, pages: int) -> bool:
    """Give some free pages back to the file system. False: there were none."""
    with connections.writer("give free pages back") as connection:
        if not connection.execute("PRAGMA freelist_count").fetchone()[0]:
            return False
        connection.executescript(f"PRAGMA incremental_vacuum({pages})")  # execute() would free one page only
        return True


def log_bytes(path: str) -> int:
    try:
        return os.stat(f"{path}-wal").st_size
    except OSError:
        return 0
