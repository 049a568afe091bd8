"""What is seen of a machine: processes, check results, leftovers. Values only, ready for JSON.

Bytes, seconds and wall-clock times unless a name says otherwise; None is "could not be told", never 0. Must not
decide and must not touch the system. Tests: tests/inspect.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from midwatch.model.sample import Quality

Status = Literal["pass", "warn", "fail", "skip"]


class Proc(msgspec.Struct, frozen=True):
    """One process at one moment. `start` with `pid` and the boot is its identity; `argv` is empty for kernel threads
    and where it may not be read; what only its owner may read is None or "" for others.
    """

    pid: int
    start: int  # field 22 of /proc/PID/stat (ticks since boot); macOS: microseconds since the epoch
    ppid: int
    pgid: int
    sid: int
    uid: int
    name: str
    argv: tuple[str, ...] = ()
    started: float = 0.0  # wall clock
    state: str = "S"
    tty: str = ""
    held: int | None = None
    quality: Quality = "absent"
    rss: int | None = None
    cpu_s: float | None = None
    threads: int | None = None
    cgroup: str = ""  # the unit or leaf it is in, as /proc/PID/cgroup says

    @property
    def command(self) -> str:
        """One line for a person, not redacted, control characters as they are: render escapes them."""
        return " ".join(self.argv) if self.argv else f"[{self.name}]"


class Offender(msgspec.Struct, frozen=True):
    """Who is meant: a process, container, file or unit. Named, never only counted (GEN-2)."""

    kind: str  # process | container | file | unit | volume | service
    name: str
    pid: int | None = None
    start: int | None = None
    detail: str = ""


class Checked(msgspec.Struct, frozen=True):
    """The result of one check (GEN-1). `hint` is the one command or edit that fixes it; a skip says why in `message`
    and how to make it run in `hint`. `fix` is an argv that `doctor --fix` may offer; None: only a person can do it.
    """

    id: str
    category: str
    status: Status
    message: str
    offenders: tuple[Offender, ...] = ()
    evidence: dict[str, Any] = {}
    hint: str = ""
    source: Literal["live", "file"] = "live"
    fix: tuple[str, ...] | None = None


class Leftover(msgspec.Struct, frozen=True):
    """A process that nobody owns any more, with the proof. `group`: what it is shown under (its lost session, or the
    living parent of a pile-up). `certain` False: offered apart, because somebody may still need it; a pile-up under a
    living parent `respawns`.
    """

    proc: Proc
    reason: str
    proof: tuple[str, ...]
    group: str = ""
    certain: bool = True
    respawns: str = ""  # who will start it again, in words
