"""The connections to one store: a writer and at most two readers, opened when needed, safe across fork.

SQLite must not be carried across fork: a child that inherits its tables of locks believes to hold locks that it does
not. So before a fork (os.fork, multiprocessing) every connection is closed, after it each side opens its own. A fork
by foreign C code cannot be seen and is not covered. No transaction lasts longer than one batch. Must not know tables.
Tests: tests/bounded/sessions/test_connect.py.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

from midwatch.bounded.sessions.errors import Busy, Closed, Unwritable, told
from midwatch.policy import defaults_sessions as d

_OPEN: weakref.WeakSet[Connections] = weakref.WeakSet()
_HELD: list[Connections] = []
_INHERITED: list[tuple[sqlite3.Connection | None, ...]] = []  # never closed: closing would empty the parent's log


class Connections:
    """`transaction` to write, `reader` to read; both are short and give typed errors."""

    def __init__(self, path: str, *, readonly: bool = False) -> None:
        self.path = path
        self.readonly = readonly
        self.wrote = time.monotonic()
        self.committed: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._pool = threading.Condition()
        self._writer: sqlite3.Connection | None = None
        self._idle: list[sqlite3.Connection] = []
        self._readers = 0
        self._closed = False
        _OPEN.add(self)

    @contextmanager
    def transaction(self, doing: str) -> Iterator[sqlite3.Connection]:
        """One IMMEDIATE transaction. Raises Busy after 5 s, and then nothing was written."""
        if self.readonly:
            raise Unwritable(f"{doing}: session store {self.path} was opened for reading. Open it without readonly")
        with self.writer(doing) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self.wrote = time.monotonic()
        self.committed()

    @contextmanager
    def writer(self, doing: str) -> Iterator[sqlite3.Connection]:
        """The writing connection, for pragmas and checkpoints; nobody else in this process has it meanwhile."""
        if not self._lock.acquire(timeout=d.BUSY_S):
            raise Busy(f"{doing}: session store {self.path}: another thread writes for {d.BUSY_S:g} s. Try again")
        try:
            self._check()
            with told(self.path, doing):
                if self._writer is None:
                    self._writer = connect(self.path, d.WRITER_CACHE, readonly=self.readonly)
                yield self._writer
        finally:
            self._lock.release()

    @contextmanager
    def reader(self, doing: str) -> Iterator[sqlite3.Connection]:
        """A connection for one query: fetch what it gives before the block ends, so that no read lasts."""
        connection = self._take(doing)
        try:
            with told(self.path, doing):
                yield connection
        finally:
            with self._pool:
                self._idle.append(connection)
                self._pool.notify()

    def close(self) -> None:
        """Close all; the last one of all processes empties the log. May be called twice."""
        with self._lock, self._pool:
            self._closed = True
            self._drop()
        _OPEN.discard(self)

    def _take(self, doing: str) -> sqlite3.Connection:
        with self._pool:
            self._check()
            if not self._pool.wait_for(lambda: self._idle or self._readers < d.READERS, d.READER_WAIT):
                raise Busy(f"{doing}: session store {self.path}: {d.READERS} readers are at work. Try again")
            self._check()
            if self._idle:
                return self._idle.pop()
            with told(self.path, doing):
                connection = connect(self.path, d.READER_CACHE, readonly=True)
            self._readers += 1
            return connection

    def _check(self) -> None:
        if self._closed:
            raise Closed(f"session store {self.path} is closed. Open it again with sessions.open")

    def _drop(self) -> None:
        """Close what is not in use. Both locks are held."""
        for connection in [*self._idle, self._writer]:
            if connection is not None:
                connection.close()
        self._readers -= len(self._idle)
        self._idle.clear()
        self._writer = None

    def before_fork(self) -> bool:
        """Nobody is inside a transaction, nothing is open. False when a thread would not let go in time."""
        if not self._lock.acquire(timeout=d.BUSY_S):
            return False
        self._pool.acquire()
        if not self._pool.wait_for(lambda: len(self._idle) == self._readers, d.BUSY_S):
            self._pool.release()
            self._lock.release()
            return False
        self._drop()
        return True

    def after_fork(self) -> None:
        """In parent and child: who forked holds both locks."""
        self._pool.release()
        self._lock.release()

    def left_behind(self) -> None:
        """In a child that was forked while a thread was inside: these connections must not be touched, nor closed."""
        _INHERITED.append((self._writer, *self._idle))
        self._lock, self._pool = threading.Lock(), threading.Condition()
        self._writer, self._closed = None, True
        self._idle.clear()


def is_open(path: str) -> str:
    """The path by which this process has the same file open, "" if it has not."""
    try:
        facts = os.stat(path)
    except OSError:
        return ""
    for one in list(_OPEN):
        try:
            if os.path.samestat(os.stat(one.path), facts):
                return one.path
        except OSError:
            continue
    return ""


def connect(path: str, cache: int, *, readonly: bool) -> sqlite3.Connection:
    """One connection with the settings that are not kept in the file. Never creates one."""
    mode = "ro" if readonly else "rw"
    connection = sqlite3.connect(
        f"file:{quote(path)}?mode={mode}", uri=True, timeout=d.BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        for pragma in (
            f"cache_size = -{cache // 1024}", "mmap_size = 0", "temp_store = FILE", "foreign_keys = ON",
            "synchronous = NORMAL", f"wal_autocheckpoint = {d.WAL_PAGES}", f"journal_size_limit = {d.WAL_LIMIT}",
            "secure_delete = FAST", "recursive_triggers = OFF",
        ):  # fmt: skip
            connection.execute(f"PRAGMA {pragma}")
        if not readonly:
            connection.execute("PRAGMA journal_mode = WAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _before() -> None:
    _HELD.extend(one for one in list(_OPEN) if one.before_fork())


def _after() -> None:
    while _HELD:
        _HELD.pop().after_fork()


def _after_in_child() -> None:
    for one in list(_OPEN):
        if one not in _HELD:
            one.left_behind()
    _after()


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
