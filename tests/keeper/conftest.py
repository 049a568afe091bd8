"""A keeper of its own for each test, ended afterwards with everything it started."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.keeper.harness import Keeper

Make = Callable[..., Keeper]


@pytest.fixture
def make_keeper() -> Iterator[Make]:
    """Start keepers; the folder is short because AF_UNIX paths end at 107 bytes."""
    if not sys.platform.startswith("linux"):
        pytest.skip("looks into /proc")
    made: list[Keeper] = []
    with tempfile.TemporaryDirectory(prefix="mw-k", ignore_cleanup_errors=True) as folder:

        def make(**popen: Any) -> Keeper:
            where = Path(folder) / str(len(made))
            where.mkdir()
            os.chmod(where, 0o755)
            made.append(Keeper(where, **popen))
            return made[-1]

        os.chmod(folder, 0o755)
        yield make
        for keeper in made:
            keeper.cleanup()


@pytest.fixture
def keeper(make_keeper: Make) -> Keeper:
    return make_keeper()
