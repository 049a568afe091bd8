"""What the leak watch says: growths, silences with their reason, structural signs; and what it looks at.

Values are bytes or descriptors (`Tier.unit`), rates per second, times awake seconds. None is "cannot be known": no
limit, or a slope that may be zero. Must not decide. Tests: tests/policy/leaks.
"""

from __future__ import annotations

import msgspec


class Tier(msgspec.Struct, frozen=True):
    """How one kind of number is watched: `count` floors of `bucket` seconds each, and what makes a growth of them."""

    name: str
    bucket: float
    count: int
    rise: float  # least rise over the window
    share: float  # the same as a share of its first floor; the larger of both holds
    record: float  # how far the newest floors have to be above everything before the window
    within: float  # seconds to the limit under which it is a warning
    notes: bool = True  # farther away it is a note; False: nothing at all
    unit: str = "bytes"

    @property
    def tail(self) -> int:
        """How many of the newest floors have to be above the record."""
        return self.count // 6


class Finding(msgspec.Struct, frozen=True):
    """A growth that is not load, warm-up or noise as far as floors can tell. `reasons`: one sentence a condition."""

    kind: str
    tier: str
    level: str  # note | warn | act
    words: str
    now: float  # the newest floor
    rate: float
    low: float
    high: float
    ttl: float | None  # to the limit, from the newest floor
    ttl_low: float | None
    ttl_high: float | None
    confirmed: int  # windows in a row
    reasons: tuple[str, ...]


class Silence(msgspec.Struct, frozen=True):
    """Why nothing is said: the first condition that failed, by name and in words."""

    kind: str
    tier: str
    failed: str  # buckets rise trend halves step record load limit confirm
    words: str


class Sign(msgspec.Struct, frozen=True):
    """A structural finding about descriptors: one look is enough. `rule`: S1..S7, ratio or low-limit."""

    rule: str
    level: str  # note | warn | act
    subject: str
    count: float
    words: str


class Shape(msgspec.Struct, frozen=True):
    """What ten minutes of counts look like: no alarm. `verdict`: rising-floor, gc-released or flat."""

    verdict: str
    floor: float
    peak: float
    per_unit: float | None  # growth per request or other unit of work
    words: str


class FdSnapshot(msgspec.Struct, frozen=True):
    """The open descriptors of one process at one moment. `half_closed`: inode -> (local, peer) of TCP CLOSE_WAIT."""

    at: float
    targets: tuple[tuple[str, str, int], ...]  # (target, kind, how many)
    half_closed: dict[int, tuple[str, str]] = {}
    deleted_bytes: int | None = None  # disk space that deleted files still take
    deleted_databases: tuple[str, ...] = ()
    orphan_pipes: int = 0  # one end here, the other with nobody that can be seen
    inherited: tuple[tuple[str, str], ...] = ()  # (child, target)

    def kinds(self) -> dict[str, int]:
        """How many of each kind."""
        found: dict[str, int] = {}
        for _, kind, count in self.targets:
            found[kind] = found.get(kind, 0) + count
        return found
