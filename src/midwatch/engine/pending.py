"""The jobs that are not finished, on disk: `jobs.json`, replaced whole at each step, gone when nothing is under way.

Without it a `down` of several layers would end in the middle with the engine that ran it. Belongs to one boot. A torn
or foreign file means no jobs: the states themselves are in the journal. Must not run a job.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from midwatch.record.files import replace

StepVerb = Literal["start", "stop", "restart", "reset", "rules", "respawn"]


class Step(msgspec.Struct, frozen=True, array_like=True):
    """One request to one service; the last two verbs mean new rules, and new rules with a new run."""

    service: str
    verb: StepVerb
    by: str = ""
    now: bool = False
    signalled: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """How one service settled."""

    ok: bool
    message: str


class After(msgspec.Struct, frozen=True):
    """What follows the job: "remove" or "down" these services, "down_all" and "quit" end the daemon too."""

    kind: Literal["remove", "down", "down_all", "quit"]
    names: list[str] = []

    def without_end(self) -> After | None:
        """For a daemon that was started again meanwhile: it stays."""
        if self.kind == "quit":
            return None
        return After("down", self.names) if self.kind == "down_all" else self


class PendingJob(msgspec.Struct, frozen=True, omit_defaults=True):
    """`asked`: put and not settled; `layers`: still to be put."""

    id: str
    verb: str
    asked: list[Step] = []
    layers: list[list[Step]] = []
    results: dict[str, Outcome] = {}
    after: After | None = None


class _File(msgspec.Struct, frozen=True):
    boot: str
    jobs: list[PendingJob]


def save_jobs(path: Path, boot: str, jobs: list[PendingJob]) -> None:
    """Replace the file. A disk that refuses costs the jobs of an engine that dies before they end, nothing else."""
    try:
        if not jobs:
            os.unlink(path)
            return
        replace(path, msgspec.json.encode(_File(boot, jobs)))
    except OSError:
        pass


def load_jobs(path: Path, boot: str) -> list[PendingJob]:
    """The unfinished jobs of this boot."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    return found.jobs if found.boot == boot else []
