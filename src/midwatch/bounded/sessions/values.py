"""The values that a store gives back: small, frozen, never a whole session.

An `Item` carries its body only when that is short; a longer one is read through its reference. Must not read or
write. Tests: tests/bounded/sessions/test_store.py.
"""

from __future__ import annotations

from typing import Any

import msgspec

KINDS = ("system", "user", "assistant", "tool_use", "tool_result", "summary", "note")
ROLES = {"system": "system", "user": "user", "assistant": "assistant", "tool_use": "assistant",
         "tool_result": "tool", "summary": "user", "note": "user"}  # fmt: skip


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a session. `size`: bytes of its body. `wide`: at most so many in JSON (None: not known, a spool).

    `body` is None when it is not in the row: read it with `Session.open(pos)` or page by page with `Session.read`.
    """

    session: str
    pos: int
    kind: str
    role: str
    agent: str = ""
    name: str = ""  # of the tool
    calls: tuple[str, ...] = ()  # ids that tie a tool's use to its result
    mime: str = "text/plain"
    tokens: int = 0
    size: int = 0
    wide: int | None = None
    at: float = 0.0  # seconds since 1970
    covers: int | None = None  # of a summary: the last position that it stands for
    more: dict[str, Any] | None = None
    body: bytes | None = None
    payload: int | None = None  # the store's own number
    upto: int = 0  # bytes of the history up to and with this item

    @property
    def ref(self) -> str:
        """How a model or a person names it: `Store.read(ref, ...)`."""
        return f"{self.session}/{self.pos}"

    @property
    def text(self) -> str | None:
        """The body as text when it is in the row."""
        return None if self.body is None else self.body.decode("utf-8", "replace")

    @property
    def picture(self) -> bool:
        return self.mime.startswith("image/")

    @property
    def textual(self) -> bool:
        return self.mime.startswith(("text/", "application/json", "application/xml"))


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """A session as the list shows it. `items`, `bytes`, `tokens`: its own; `inherited`: what it shares with its
    parent."""

    id: str
    title: str
    agent: str
    created: float
    updated: float
    items: int
    bytes: int
    tokens: int
    last: int  # its last position
    parent: str | None = None
    fork: int | None = None  # the last position that it shares
    inherited: int = 0  # bytes


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a body. `next` is the offset to go on with, None at the end."""

    ref: str
    text: str
    offset: int
    next: int | None
    size: int
    encoding: str = "text"  # or base64: what is no text


class Listing(msgspec.Struct, frozen=True):
    """A page of sessions, the newest first. `after` goes into the next call; None: that was all."""

    sessions: list[Info]
    after: str | None


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """The store in numbers, from counters and pragmas: no table is read."""

    path: str
    sessions: int
    items: int
    bytes: int
    file_bytes: int
    wal_bytes: int
    free_bytes: int  # inside the file, given back while idle
    drafts: int
    orphans: int  # payloads that nobody refers to, removed while idle
    version: int


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A streamed answer that was not finished."""

    stream: str
    kind: str
    role: str
    bytes: int
    at: float
