"""`Result`: everything about one bounded execution, as a program reads it, with the text that a model is given.

The fields of `exec --json` are these. Must not run anything. Tests: tests/bounded/test_result.py.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from midwatch.bounded.holders import Holder

State = Literal[
    "exited",  # by itself, with a code
    "signaled",  # by a signal that was not ours
    "timeout",
    "idle_timeout",
    "output_limit",
    "memory_limit",
    "cancelled",
    "failed",  # it could not be started
]
Quality = Literal["exact", "upper-bound", "absent"]
TIMED_OUT, NOT_FOUND, NOT_STARTED = 124, 127, 126  # what shells and timeout(1) say


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """One of two streams that were kept apart."""

    head: str
    tail: str
    bytes_total: int
    lines_total: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended, what it printed (head and tail, or all of it in head), where the rest is.

    `text` is what to give to a model: at most `inline_cap` bytes, with `notice` as its last line if there is one.
    """

    state: State
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""  # what ended it, if that was us: timeout, output_limit ...; of one that failed: its errno
    message: str = ""
    bytes_total: int = 0
    lines_total: int = 0
    bytes_omitted: int = 0
    head: str = ""
    tail: str = ""
    text: str = ""
    notice: str = ""
    binary: bool = False
    spool: str | None = None
    spool_complete: bool = True
    spool_why: str = ""
    duration_ms: int = 0
    max_rss_bytes: int | None = None
    max_rss_quality: Quality = "absent"
    holders: tuple[Holder, ...] = ()
    left: tuple[int, ...] = ()  # processes that could not be ended
    earlier: str | None = None  # spool of the same command, shortly before
    stdout: Stream | None = None
    stderr: Stream | None = None
    warnings: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    cwd: str = ""

    @property
    def ok(self) -> bool:
        """Did it end by itself with 0?"""
        return self.state == "exited" and self.exit_code == 0

    @property
    def duration(self) -> float:
        """Seconds from its start to the end of its output."""
        return self.duration_ms / 1000

    @property
    def code(self) -> int:
        """One number for a shell: the command's own, 128+N for a signal; never 0 for a command that we ended."""
        if self.state == "failed":
            return NOT_FOUND if self.reason == "ENOENT" else NOT_STARTED
        if self.signal is not None:
            return 128 + self.signal
        if self.state == "exited":
            return self.exit_code if self.exit_code is not None else 1
        return self.exit_code or TIMED_OUT
