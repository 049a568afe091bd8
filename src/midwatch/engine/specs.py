"""The accepted services on disk: what a new engine starts from.

Holds environment values, hence 0600. Written whole and renamed, so that a torn write never replaces a good
file. Must not be shown to anyone.
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
                launch=replace(spec.launch, env=once(spec.launch.env), ambient=once(spec.launch.ambient)))
        for spec in specs
    ]  # fmt: skip


def save_specs(path: Path, specs: Iterable[ServiceSpec], settings: dict[str, Settings]) -> None:
    """Replace the file. Raises OSError and leaves the old one in place."""
    body = msgspec.json.encode(Accepted(specs=list(specs), settings=settings))
    draft = path.with_suffix(".new")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        done = 0
        while done < len(body):
            done += os.write(fd, body[done:])
    finally:
        os.close(fd)
    os.rename(draft, path)


def load_specs(path: Path) -> tuple[Accepted, str]:
    """The stored services and settings and, when the file cannot be read, why (in words)."""
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return Accepted(), ""
    except OSError as error:
        return Accepted(), f"cannot read {path}: {error.strerror}"
    try:
        accepted = msgspec.json.decode(body, type=Accepted)
        return Accepted(specs=share(accepted.specs), settings=accepted.settings), ""
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        return Accepted(), f"{path} is damaged ({error}); run `midwatch up` again to replace it"


def strictest(settings: Iterable[Settings]) -> Settings:
    """One instance, many projects: the tightest of each bound holds for all."""
    tables = list(settings)
    reserves = [table.disk_reserve for table in tables if table.disk_reserve is not None]
    return Settings(
        log_total=min((table.log_total for table in tables), default=defaults.LOG_TOTAL),
        journal_weeks=min((table.journal_weeks for table in tables), default=defaults.JOURNAL_WEEKS),
        journal_bytes=min((table.journal_bytes for table in tables), default=defaults.JOURNAL_BYTES),
        disk_reserve=max(reserves, default=None),
    )
