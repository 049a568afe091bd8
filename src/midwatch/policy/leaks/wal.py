"""What the size of a write-ahead log means, and what helps (WAL-2 to WAL-6).

Large is not starved: a log that grew once and is folded in keeps its size until somebody truncates it. Which of both it
is SQLite's own answer tells: frames in the log that are not folded in, not `busy`, which is 0 while a reader pins them
all. Nothing here ever advises to leave WAL mode. Must not open a file. Tests: tests/engine/test_guard_wal.py.
"""

from __future__ import annotations

from itertools import pairwise

import msgspec

from midwatch.model.units import format_bytes
from midwatch.policy import defaults


class Sizes(msgspec.Struct, frozen=True):
    """One look at one database. `free`: bytes of its disk that are free; None: cannot be told. `remote`: the type of a
    file system that is not this machine's."""

    path: str
    db: int
    wal: int
    free: int | None
    remote: str = ""


class Probe(msgspec.Struct, frozen=True, omit_defaults=True):
    """SQLite's answer to a passive checkpoint: frames in the log, and how many of them are folded in."""

    busy: int = 0
    log: int = 0
    done: int = 0
    error: str = ""

    @property
    def starved(self) -> bool:
        """Something keeps frames from being folded in at this moment."""
        return self.done < self.log

    @property
    def words(self) -> str:
        """For a person."""
        if self.error:
            return f"SQLite could not be asked: {self.error}"
        if not self.starved:
            return f"all {self.log} frames are folded in: the log's size is only disk space"
        pinned = f"{self.done} of {self.log} frames are folded in"
        return f"{pinned}: an open read, or a write under way, keeps the rest (busy {self.busy} does not tell)"


def read_probe(code: int | None, output: bytes) -> Probe:
    """The answer of the probing process. `code` None: it was ended at its deadline."""
    words = output.decode("utf-8", "replace").strip()
    numbers = words.split()
    if code == 0 and len(numbers) == 3 and all(number.lstrip("-").isdigit() for number in numbers):
        busy, log, done = (int(number) for number in numbers)
        return Probe(busy, max(log, 0), max(done, 0))
    return Probe(error=words[:200] or ("no answer in time" if code is None else f"exit code {code}"))


def judge(now: Sizes, before: list[int], pinned: bool = False) -> tuple[str, str]:
    """(level, words) of a log; level is "", warn or act. `before`: its sizes in the looks before, the newest last.
    `pinned`: SQLite itself said that something keeps frames from being folded in."""
    wal, db = now.wal, now.db
    share = wal / db if db else 1.0
    of = f"its write-ahead log holds {format_bytes(wal)}, the database {format_bytes(db)}"
    if now.remote:
        return "act", f"it is in WAL mode on {now.remote}: other machines do not see its shared memory, and it breaks"
    if now.free is not None and wal >= defaults.WAL_DISK * now.free:
        return "act", f"{of}: that is {wal / max(now.free, 1):.0%} of what is free on its disk"
    least, most = defaults.WAL_LEAST, defaults.WAL_MOST
    if wal >= most or (share >= defaults.WAL_SHARES[1] and wal >= least[1]):
        return "act", of
    if starved(now, before):
        return "warn", f"{of}, and it has grown {defaults.WAL_LOOKS} looks in a row: a reader starves its checkpoints"
    if wal >= defaults.WAL_WARN or (share >= defaults.WAL_SHARES[0] and wal >= least[0]):
        why = "not truncated, which does no harm until the disk is full"
        return "warn", f"{of}: {'an open read or write keeps it from being folded in' if pinned else why}"
    return "", of


def starved(now: Sizes, before: list[int]) -> bool:
    """WAL-3: growing in all of the last looks."""
    rising = [*before, now.wal][-defaults.WAL_LOOKS - 1 :]
    steps = [new > old for old, new in pairwise(rising)]
    return len(steps) == defaults.WAL_LOOKS and all(steps) and now.wal >= defaults.WAL_LEAST[0]


def advice(now: Sizes, level: str, pinned: bool) -> list[str]:
    """WAL-5: what its program can do; the worst first."""
    if not level:
        return []
    if now.remote:
        return [f"put {now.path} on a disk of the machine that runs the service; others ask the service, not the file"]
    found = []
    if pinned or level == "act":
        found.append("keep reads short: finish statements, fetch all or close the cursor, end transactions at once")
        found.append("close connections: with closing(sqlite3.connect(...)); `with connect()` alone does not close one")
    found.append(f"PRAGMA journal_size_limit = {defaults.WAL_WARN}: SQLite then cuts the log back after a checkpoint")
    return found
