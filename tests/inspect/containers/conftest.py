"""A toy engine, named by DOCKER_HOST so that no other engine of the machine is asked."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.inspect.containers.engine import Engine, serving


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    pytest.importorskip("docker", reason="the docker SDK is not installed")
    folder = Path(tempfile.mkdtemp(prefix="mw-", dir="/tmp"))  # short: a Unix socket's path
    for name in ("CONTAINER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    with serving(folder / "e.sock") as made:
        monkeypatch.setenv("DOCKER_HOST", made.address)
        yield made
    shutil.rmtree(folder, ignore_errors=True)
