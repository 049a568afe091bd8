"""The accepted services on disk: what a new engine starts from.

Holds environment values, hence 0600. Written whole and renamed, so that a torn write never replaces a good
file; a copy beside it is for what damages it from outside. Must not be shown to anyone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from midwatch.config.problems import Settings
from midwatch.model.service import ServiceSpec
from midwatch.policy import defaults
from midwatch.record.files import write_fresh


class Accepted(msgspec.Struct, frozen=True):
    """The file's content."""

    version: int = 1
    specs: list[ServiceSpec] = []
    settings: dict[str, Settings] = {}  # project -> its [midwatch] table


def share(specs: Iterable[ServiceSpec]) -> list[ServiceSpec]:
    """The same services with equal parts stored once: environments and rules are most of a service's 12 KB."""
    seen: dict[bytes, Any] = {}

    def once(part: Any) -> Any:
        return seen.setdefault(msgspec.json.encode(part), part)

    replace = msgspec.structs.replace
    return [
        replace(spec, rules=once(spec.rules), logs=once(spec.logs),
                project=once(spec.project),
                launch=replace(spec.launch, env=once(spec.launch.env), ambient=once(spec.launch.ambient),
                               cwd=once(spec.launch.cwd)))
        for spec in specs
    ]  # fmt: skip


def save_specs(path: Path, specs: Iterable[ServiceSpec], settings: dict[str, Settings]) -> None:
    """Replace the file and its copy. Raises OSError and leaves the old ones in place."""
    body = msgspec.json.encode(Accepted(specs=list(specs), settings=settings))
    drafts = [(place.with_name(place.name + ".new"), place) for place in (path, _copy_of(path))]
    try:
        for draft, _ in drafts:
            write_fresh(draft, body)
    except OSError:
        for draft, _ in drafts:
            draft.unlink(missing_ok=True)
        raise
    for draft, place in drafts:
        os.rename(draft, place)


def forget_environments(path: Path, specs: Iterable[ServiceSpec]) -> None:
    """A `run` is over: its record stays for `why`, the caller's whole environment does not."""
    bare = [msgspec.structs.replace(s, launch=msgspec.structs.replace(s.launch, env={}, ambient=())) for s in specs]
    try:
        save_specs(path, bare, {})
    except OSError:
        for place in (path, _copy_of(path)):
            place.unlink(missing_ok=True)


def _copy_of(path: Path) -> Path:
    return path.with_suffix(".copy")


def load_specs(path: Path) -> tuple[Accepted, str]:
    """The stored services and settings and, when the file cannot be read, why and what was done (in words)."""
    accepted, problem = _load(path)
    if accepted is not None:
        return accepted, ""
    accepted, _ = _load(_copy_of(path))
    if accepted is None:
        return Accepted(), f"{problem}; run `midwatch up` again to replace it" if problem else ""
    if not problem:
        problem = f"{path} is gone"
    try:
        save_specs(path, accepted.specs, accepted.settings)
    except OSError as error:
        problem += f" and cannot be written ({error.strerror})"
    return accepted, f"{problem}; its copy is used"


def _load(path: Path) -> tuple[Accepted | None, str]:
    """None and "" when there is no such file."""
    try:
        accepted = msgspec.json.decode(path.read_bytes(), type=Accepted)
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"cannot read {path}: {error.strerror}"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return None, f"{path} is damaged ({error})"
    return Accepted(specs=share(accepted.specs), settings=accepted.settings), ""


def strictest(settings: Iterable[Settings]) -> Settings:
    """One instance, many projects: the tightest of each bound holds for all."""
    tables = list(settings)
    reserves = [table.disk_reserve for table in tables if table.disk_reserve is not None]
    budgets = [table.memory_budget for table in tables if table.memory_budget is not None]
    kept_free = [table.reserve for table in tables if table.reserve is not None]
    return Settings(
        log_total=min((table.log_total for table in tables), default=defaults.LOG_TOTAL),
        journal_weeks=min((table.journal_weeks for table in tables), default=defaults.JOURNAL_WEEKS),
        journal_bytes=min((table.journal_bytes for table in tables), default=defaults.JOURNAL_BYTES),
        disk_reserve=max(reserves, default=None),
        memory_budget=min(budgets, default=None),
        reserve=max(kept_free, default=None),
    )
