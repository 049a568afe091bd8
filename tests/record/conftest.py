"""What the record's tests share: a journal with plain settings, real small and read-only file systems.

The file systems are tmpfs mounts (root only, skipped with the reason elsewhere) and are always unmounted.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from midwatch.record.journal import Journal

Mount = Callable[[str], Path]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mount a tmpfs with these options on a new folder; returns the folder."""
    mounted: list[Path] = []

    def make(options: str) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="mw-disk-", dir="/tmp"))
        if os.geteuid() != 0:
            folder.rmdir()
            pytest.skip("needs root: mounting a tmpfs")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "midwatch-test", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            folder.rmdir()
            pytest.skip(f"this machine does not let us mount a tmpfs: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    try:
        yield make
    finally:
        for folder in mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)
            folder.rmdir()


@pytest.fixture
def remount() -> Callable[[Path, str], None]:
    """Change a mounted tmpfs: "ro", "rw"."""

    def change(folder: Path, option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)

    return change


class Desk:
    """A journal and what it complained about."""

    def __init__(self) -> None:
        self.troubles: list[str] = []
        self.snapshots = 0
        self.state: dict[str, Any] = {}
        self.open: list[Journal] = []

    def journal(self, folder: Path, **more: Any) -> Journal:
        settings: dict[str, Any] = {"weeks": 8, "max_bytes": 1 << 30, "file_bytes": 1 << 20, **more}
        journal = Journal(folder, snapshot=self._snapshot, on_trouble=self.troubles.append, **settings)
        self.open.append(journal)
        return journal

    def _snapshot(self) -> dict[str, Any]:
        self.snapshots += 1
        return dict(self.state)


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Makes journals and closes them."""
    found = Desk()
    yield found
    for journal in found.open:
        journal.close()
