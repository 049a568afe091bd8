"""A fresh store for each test, closed again. Must not hold what only one test needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from midwatch import sessions


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.db"


@pytest.fixture
def store(path: Path) -> Iterator[sessions.Store]:
    """Without its thread: what is done while idle is called for by the test."""
    with sessions.open(path, upkeep=False) as one:
        yield one


@pytest.fixture
def talk(store: sessions.Store) -> sessions.Session:
    return store.create(id="talk", title="a talk")
