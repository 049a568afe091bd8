"""Which project the caller stands in: the nearest `midwatch.toml` from the current folder upward.

A name without a project means that project's service there. Must not read anything of the file but the
project's name. Tests: tests/front/test_names.py.
"""

from __future__ import annotations

import os
from pathlib import Path

FILE_NAME = "midwatch.toml"


def find(start: Path | None = None) -> Path | None:
    """The configuration file of the caller's folder, or None."""
    try:
        folder = Path.cwd() if start is None else start
    except FileNotFoundError:  # the current folder has been removed
        return None
    for candidate in (folder, *folder.parents):
        if (candidate / FILE_NAME).is_file():
            return candidate / FILE_NAME
    return None


def current() -> str | None:
    """The caller's project, or None outside of one."""
    path = find()
    return None if path is None else name_of(path)


def name_of(path: Path) -> str | None:
    """The project's name as the file gives it; None when it is not TOML: then names mean all."""
    from midwatch.config import ConfigError, project_of

    try:
        return project_of(path)
    except ConfigError:
        return None


def given(file: str | None) -> Path:
    """The file to use: the one given, else the nearest one."""
    from midwatch.front.cli.declare import Failure

    if file is not None:
        try:
            return Path(file).absolute()
        except FileNotFoundError:
            raise Failure(
                f"cannot find {file} from {_here()} nothing was done; change to a folder that exists", 78
            ) from None
    path = find()
    if path is None:
        raise Failure(
            f"there is no {FILE_NAME} in {_here()} or above; nothing was done; "
            "make one, name one with -f FILE, or use 'midwatch run -- CMD' for a single command",
            78,
        )
    return path


def _here() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "the current folder, which has been removed,"
