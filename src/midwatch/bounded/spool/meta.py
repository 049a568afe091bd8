"""What is written beside a spool's data: whose it is, how it ended, why something is missing. And who owns it.

`SpoolInfo` is both the file and what callers see. Must not know how data are laid out. Tests:
tests/bounded/test_spool_store.py.
"""

from __future__ import annotations

import os
from typing import Any, Literal

import msgspec

State = Literal["running", "done", "lost", "gone"]
META_MOST = 64 << 10  # bytes of a meta file; facts beyond that are left out
_WORDS_MOST = 2048


class SpoolInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One spool. `state`: running (somebody writes it), done, lost (its writer died), gone (its data were removed)."""

    ref: str
    state: State
    created: float  # wall clock
    kind: str = "exec"
    ended: float | None = None
    bytes_total: int = 0
    lines_total: int = 0
    bytes_stored: int = 0  # how far the output was stored; what is kept of it: `kept`
    kept: tuple[tuple[int, int], ...] = ()
    complete: bool = True  # is every byte of the output in the spool?
    why: str = ""  # why not; of a spool that is gone: since when and why
    sha256: str = ""
    turned: bool = False  # its ring has been put in order
    pinned: bool = False  # adopted by a session store: neither age nor quota removes it
    command: tuple[str, ...] = ()
    cwd: str = ""
    facts: dict[str, Any] = {}
    pid: int = 0
    start: int = 0
    scope: str = ""
    same: str = ""
    schema_version: int = 1

    @property
    def bytes_kept(self) -> int:
        """Bytes that can be read."""
        return sum(end - begin for begin, end in self.kept)


_DECODER = msgspec.json.Decoder(SpoolInfo)


def encode(info: SpoolInfo) -> bytes:
    """As a file's content, bounded whatever the facts are."""
    data = msgspec.json.encode(info)
    if len(data) > META_MOST:
        left_out = {"left_out": f"{len(data)} bytes of facts"}
        data = msgspec.json.encode(msgspec.structs.replace(info, facts=left_out, command=info.command[:1]))
    return data


def decode(data: bytes) -> SpoolInfo | None:
    """None: not one of ours, or damaged."""
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def told(words: tuple[str, ...]) -> tuple[str, ...]:
    """A command as it is kept: secrets hidden, not endless."""
    if not words:
        return ()
    from midwatch.record.redact import redact_value

    short = [word[:_WORDS_MOST].encode("utf-8", "replace").decode() for word in words[:64]]
    return tuple(str(word) for word in redact_value(short))


def start_of(pid: int) -> int:
    """When a process started, in its kernel's ticks; 0: there is none, or that is not told here."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read(4096).rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def owner_lives(info: SpoolInfo) -> bool:
    """Is the process that made it still there?"""
    if not info.pid:
        return False
    if info.start:
        return start_of(info.pid) == info.start
    try:
        os.kill(info.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
