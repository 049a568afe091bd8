"""The accepted services on disk: what a new engine starts from.

Holds environment values, hence 0600. Written whole and renamed, so that a torn write never replaces a good file. Must not
be shown to anyone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from midwatch.model.service import ServiceSpec


class Accepted(msgspec.Struct, frozen=True):
    """The file's content."""

    version: int
    specs: list[ServiceSpec]


def save_specs(path: Path, specs: Iterable[ServiceSpec]) -> None:
    """Replace the file. Raises OSError and leaves the old one in place."""
    body = msgspec.json.encode(Accepted(version=1, specs=list(specs)))
    draft = path.with_suffix(".new")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        done = 0
        while done < len(body):
            done += os.write(fd, body[done:])
    finally:
        os.close(fd)
    os.rename(draft, path)


def load_specs(path: Path) -> tuple[list[ServiceSpec], str]:
    """The stored services and, when the file cannot be read, why (in words)."""
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return [], ""
    except OSError as error:
        return [], f"cannot read {path}: {error.strerror}"
    try:
        return msgspec.json.decode(body, type=Accepted).specs, ""
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        return [], f"{path} is damaged ({error}); run `midwatch up` again to replace it"
