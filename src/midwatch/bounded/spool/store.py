"""`Store`: all spools of one folder, as callers use them. Several processes may use one folder at the same time.

A store made with a session's token gives and takes only that session's spools: a reference of another one is as unknown
as an invented one. Without a token it is the owner's view of everything. Must not render for a terminal. Tests:
tests/bounded/test_spool_store.py, tests/system/test_spool_many.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from midwatch.bounded.limits import DEFAULTS, Limits
from midwatch.bounded.spool import folder as f
from midwatch.bounded.spool import meta, refs, retention, shape, shelf
from midwatch.bounded.spool.errors import SpoolError
from midwatch.bounded.spool.meta import SpoolInfo
from midwatch.bounded.spool.writer import Writer
from midwatch.policy import defaults_bounded as d
from midwatch.record import place
from midwatch.record.files import write_all

if TYPE_CHECKING:
    from midwatch.bounded.spool.pages import Page
    from midwatch.bounded.spool.reader import SpoolSource
    from midwatch.bounded.spool.searching import SpoolMatches


class Adopted(NamedTuple):
    """A spool that belongs to somebody's store now."""

    path: Path
    size: int
    sha256: str


def default_folder() -> Path:
    """Where spools lie unless something else is said."""
    return place.home() / "spool"


class Store:
    """`folder`: default under the caller's instance. `session`: a token that scopes it."""

    def __init__(
        self, folder: Path | str | None = None, limits: Limits = DEFAULTS, *, session: str | None = None
    ) -> None:
        self.folder = Path(folder).absolute() if folder is not None else default_folder()
        self.limits = limits
        self._home = f.Folder(self.folder)
        self._scope = "" if session is None else refs.digest("session", session)
        self._swept = 0.0

    def begin(
        self, *, kind: str = "exec", command: Sequence[str] = (), cwd: str = "", same: str = ""
    ) -> Writer:
        """A new spool. Never raises because of the disk or the folder: the writer's `why` says what is wrong.

        `same`: a key of what is being run or searched, for `recent`.
        """
        now = time.time()
        info = SpoolInfo(
            ref=refs.fresh(), state="running", created=now, kind=kind, command=meta.told(tuple(command)),
            cwd=cwd[:4096], same=refs.digest("same", same) if same else "", scope=self._scope, pid=os.getpid(),
            start=meta.start_of(os.getpid()),
        )  # fmt: skip
        name = refs.name_of(info.ref)
        assert name is not None
        try:
            with self._home.opened(make=True) as folder, f.locked(folder):
                self._tidy(folder, now)
                fds = self._make(folder, name, info)
        except (SpoolError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            return Writer.none(self._home, self.limits, f"no spool could be made: {why}")
        return Writer(self._home, self.limits, info, name, fds)

    def _make(self, folder: int, name: str, info: SpoolInfo) -> tuple[int, int]:
        made = shape.Shape(self.limits.spool_head, self.limits.spool_tail)
        fds: list[int] = []
        try:
            fds.append(f.create(folder, name + shelf.DATA))
            f.claim(fds[0])
            fds.append(f.create(folder, name + shelf.INDEX))
            header = shape.Header(head=made.head, ring=made.ring).pack()
            write_all(fds[1], header + bytes(made.index_bytes - len(header)))  # its space is taken now
            f.replace_file(folder, name + shelf.META, meta.encode(info))
        except OSError:
            for fd in fds:
                os.close(fd)
            shelf.forget(folder, name)
            raise
        return fds[0], fds[1]

    def _tidy(self, folder: int, now: float) -> None:
        if now - self._swept >= d.SPOOL_SWEEP or now < self._swept:
            self._swept = now
            retention.sweep(folder, self.limits, now)

    def sweep(self) -> retention.Swept:
        """What `begin` does at most once a minute: age, number, remains of writers that died."""
        if not self._home.exists():
            return retention.Swept()
        with self._home.opened() as folder, f.locked(folder):
            return retention.sweep(folder, self.limits, time.time())

    def info(self, ref: str) -> SpoolInfo:
        """What is known of a spool, also while it is written and after its data have gone. Raises SpoolError."""
        with self._home.opened() as folder:
            return self._known(folder, ref)[1]

    def _known(self, folder: int, ref: str) -> tuple[str, SpoolInfo]:
        name = refs.name_of(ref)
        if name is None:
            raise SpoolError("unknown", f"{str(ref)[:80]!r} is no spool reference: that is 32 hex digits")
        info = shelf.look(folder, name)
        if info is None and self._half_there(folder, name) and not self._scope:
            raise SpoolError("damaged", f"spool {ref}: what is known about it cannot be read")
        if info is None or (self._scope and info.scope != self._scope) or info.ref != ref:
            raise SpoolError("unknown", f"no spool {ref} here")
        return name, info

    @staticmethod
    def _half_there(folder: int, name: str) -> bool:
        try:
            os.stat(name + shelf.META, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return False
        return True

    def list(self) -> list[SpoolInfo]:
        """All spools that may be seen, newest first."""
        if not self._home.exists():
            return []
        with self._home.opened() as folder:
            found = [info for _, info in shelf.everything(folder) if info is not None]
        mine = [info for info in found if not self._scope or info.scope == self._scope]
        return sorted(mine, key=lambda info: -info.created)

    def recent(self, same: str, within: float = d.REPEAT_WITHIN) -> SpoolInfo | None:
        """The newest spool of the same thing that can still be read."""
        key = refs.digest("same", same)
        since = time.time() - within
        for info in self.list():
            if info.created >= since and info.same == key and info.state != "gone":
                return info
        return None

    def release(self, ref: str) -> int:
        """Remove a spool's data; how many bytes that freed. One that is being written cannot be released."""
        with self._home.opened() as folder, f.locked(folder):
            name, info = self._known(folder, ref)
            if info.state == "running":
                raise SpoolError("busy", f"spool {ref} is still being written; end its command first")
            if info.state == "gone":
                return 0
            return shelf.drop_data(folder, name, info, retention.because(time.time(), "released"))

    def adopt(self, ref: str, into: Path | None = None) -> Adopted:
        """Give a spool to a session store: the file, its size and sha256. Raises SpoolError.

        From now on neither age nor quota removes it, only `release`. With `into` (a path that must not exist, on the
        same file system) the store gets a hard link of its own and the spool's life goes on as before.
        """
        from midwatch.bounded.spool import adopting

        with self._home.opened() as folder, f.locked(folder, d.SPOOL_ADOPT):
            name, info = self._known(folder, ref)
            if info.state not in ("done", "lost"):
                raise SpoolError("busy" if info.state == "running" else "gone", f"spool {ref}: {info.why}")
            info = adopting.prepare(folder, name, info)
            path = self.folder / shelf.data_name(name, info)
            if into is not None:
                os.link(shelf.data_name(name, info), into, src_dir_fd=folder)
                path = into
            else:
                info = msgspec.structs.replace(info, pinned=True)
            f.replace_file(folder, name + shelf.META, meta.encode(info))
        return Adopted(path, info.bytes_kept, info.sha256)

    def read(
        self,
        ref: str,
        *,
        offset: int | None = None,
        line: int | None = None,
        length: int | None = None,
        count: int | None = None,
        column: int = 0,
        raw: bool = False,
    ) -> Page:
        """One page, at most `inline_cap` bytes. See pages.read. Raises SpoolError."""
        from midwatch.bounded.spool import pages

        return self._shown(
            ref,
            lambda source: pages.read(
                source, self.limits, offset=offset, line=line, length=length, count=count, column=column, raw=raw
            ),
        )

    def tail(self, ref: str, lines: int = d.SPOOL_TAIL_LINES) -> Page:
        """The last lines that fit. Raises SpoolError."""
        from midwatch.bounded.spool import pages

        return self._shown(ref, lambda source: pages.tail(source, self.limits, lines))

    def _shown(self, ref: str, make: Callable[[SpoolSource], Page]) -> Page:
        """A page; of a spool whose writer is faster than we are in one of several tries."""
        from midwatch.bounded.spool import reader

        for left in range(d.SPOOL_TRIES - 1, -1, -1):
            try:
                with self._home.opened() as folder:
                    name, info = self._known(folder, ref)
                    with reader.opened(folder, name, info) as source:
                        return make(source)
            except reader.Overtaken:
                if not left:
                    raise
        raise AssertionError("unreachable")

    def search(
        self,
        ref: str,
        pattern: str,
        *,
        regex: bool = True,
        ignore_case: bool = False,
        before: int = 0,
        after: int = 0,
        most: int = d.MATCHES,
    ) -> SpoolMatches:
        """Lines that match. In a worker process with 2 s of CPU time. Raises SpoolError."""
        from midwatch.bounded.spool import reader, searching

        with self._home.opened() as folder:
            name, info = self._known(folder, ref)
            with reader.opened(folder, name, info) as source:
                return searching.search(
                    source, pattern, regex=regex, ignore_case=ignore_case, before=before, after=after,
                    most=most,
                )  # fmt: skip
