"""`Limits`: how much one call may keep, show, write and how long it may take. Every one is a bound; none can be off.

A value that is no bound (0, negative, unlimited) is refused when the object is made, so nobody downstream has to check.
Must not measure anything. Tests: tests/bounded/test_limits.py.
"""

from __future__ import annotations

import math

import msgspec

from midwatch.policy import defaults_bounded as d


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of a call. Bytes and seconds."""

    inline_cap: int = d.INLINE_CAP  # the whole text given back, its notice included
    line_cap: int = d.LINE_CAP
    lines_cap: int = d.LINES_CAP
    spool_cap: int = d.SPOOL_CAP  # three quarters from the start, a ring of one quarter at the end
    output_kill: int = d.OUTPUT_KILL
    spool_quota: int = d.SPOOL_QUOTA
    spool_free: int = d.SPOOL_FREE
    spool_age: float = d.SPOOL_AGE
    timeout_most: float = d.TIMEOUT_MOST
    item_inline: int = d.ITEM_INLINE
    payload_chunk: int = d.PAYLOAD_CHUNK
    ctx_bytes: int = d.CTX_BYTES
    ctx_items: int = d.CTX_ITEMS

    def __post_init__(self) -> None:
        """Raises ValueError with the name of the value, what it is, and what it may be."""
        for field in msgspec.structs.fields(self):
            positive(field.name, getattr(self, field.name), whole=isinstance(field.default, int))
        if self.inline_cap < d.INLINE_LEAST:
            raise ValueError(f"inline_cap is {self.inline_cap}: at least {d.INLINE_LEAST} bytes, or no preview fits")
        if self.line_cap > self.inline_cap:
            raise ValueError(f"line_cap is {self.line_cap}: more than the whole text may have ({self.inline_cap})")
        if self.line_cap < 64:
            raise ValueError(f"line_cap is {self.line_cap}: at least 64 bytes, or a cut line shows nothing")

    @property
    def head(self) -> int:
        """Bytes shown from the start of an output that is cut."""
        return int(self.inline_cap * d.HEAD_SHARE)

    @property
    def tail(self) -> int:
        """Bytes shown from its end."""
        return int(self.inline_cap * d.TAIL_SHARE)

    @property
    def spool_head(self) -> int:
        """Bytes of a spool that hold the start of the output."""
        return int(self.spool_cap * d.SPOOL_HEAD)

    @property
    def spool_tail(self) -> int:
        """Bytes of a spool that hold its end, in a ring."""
        return self.spool_cap - self.spool_head


def positive(name: str, value: object, *, whole: bool = False) -> None:
    """Raises ValueError unless `value` is a number above 0 and finite."""
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:  # type: ignore[arg-type,operator]
        kind = "whole number" if whole else "number"
        raise ValueError(f"{name} is {value!r}: it must be a {kind} above 0; there is no 'unlimited'")


def checked_timeout(name: str, value: float, limits: Limits) -> float:
    """A time limit as asked for, refused when it is none or longer than any may be."""
    positive(name, value)
    if value > limits.timeout_most:
        raise ValueError(f"{name} is {value:g} s: at most {limits.timeout_most:g} s; make what lasts a service")
    return float(value)


DEFAULTS = Limits()
