"""A real dockerd and a real podman of the tests' own, started once; what a test makes in them is removed after it.

Skips with the reason where the machine lacks something. Must not hold a claim.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "engine"
IMAGE = "localhost/bb:1"
PATIENCE = 30.0  # seconds for anything to become true on a loaded machine; ends early
KINDS = ("docker", "podman")


class Real:
    """One engine, and the docker SDK's own client to make things in it."""

    def __init__(self, kind: str, folder: Path) -> None:
        import docker

        self.kind = kind
        self.folder = folder
        self.address = f"unix://{folder}/{kind}.sock"
        self.sdk: Any = docker.DockerClient(base_url=self.address, timeout=60)

    def run(self, name: str, *command: str, **options: Any) -> Any:
        """A container of the test image; without network."""
        return self.sdk.containers.run(
            IMAGE, list(command), name=name, detach=True, network_mode="none", **options
        )

    def until(self, name: str, met: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        """Wait for the engine to say so of a container."""
        deadline = time.monotonic() + PATIENCE
        while not met(found := self.sdk.api.inspect_container(name)):
            assert time.monotonic() < deadline, f"waited in vain until {name} {what}: {found['State']}"
            time.sleep(0.05)
        return dict(found)

    def ended(self, name: str) -> dict[str, Any]:
        """Wait for its end."""
        return self.until(name, lambda one: one["State"]["Status"] in ("exited", "stopped"), "ended")

    def freeze(self, on: bool) -> None:
        """Stop or let go the engine's own process."""
        os.kill(int((self.folder / "pid").read_text()), signal.SIGSTOP if on else signal.SIGCONT)

    def clear(self) -> None:
        """Remove what a test has made."""
        for one in self.sdk.containers.list(all=True):
            one.remove(force=True, v=True)
        for volume in self.sdk.volumes.list():
            volume.remove(force=True)


@pytest.fixture(scope="session")
def _engines() -> Iterator[dict[str, Real | str]]:
    """By kind: the engine, or the reason why there is none. Started when first asked for, so in this fixture lazily."""
    made: dict[str, Real | str] = {}
    yield made
    for real in made.values():
        if isinstance(real, Real):
            real.sdk.close()
            subprocess.run(
                [str(SCRIPT), "stop", real.kind, str(real.folder)],
                capture_output=True,
                timeout=120,
                check=False,
            )
            shutil.rmtree(real.folder, ignore_errors=True)


def _start(kind: str) -> Real | str:
    told = subprocess.run(
        [str(SCRIPT), "missing", kind], capture_output=True, text=True, timeout=30, check=False
    )
    if told.stdout.strip():
        return told.stdout.strip()
    folder = Path(tempfile.mkdtemp(prefix="mw-eng-", dir="/tmp"))
    done = subprocess.run(
        [str(SCRIPT), "start", kind, str(folder)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Real(kind, folder)


def _real(kind: str, engines: dict[str, Real | str], monkeypatch: pytest.MonkeyPatch) -> Real:
    pytest.importorskip("docker", reason="the docker SDK is not installed")
    if kind not in engines:
        engines[kind] = _start(kind)
    real = engines[kind]
    if isinstance(real, str):
        pytest.skip(f"no {kind}: {real}")
    for name in ("CONTAINER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", real.address)
    return real


@pytest.fixture(params=KINDS)
def real(
    request: pytest.FixtureRequest, _engines: dict[str, Real | str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Real]:
    """Each engine in turn."""
    made = _real(request.param, _engines, monkeypatch)
    yield made
    made.clear()


@pytest.fixture
def docker(_engines: dict[str, Real | str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Real]:
    """For what podman cannot do here."""
    made = _real("docker", _engines, monkeypatch)
    yield made
    made.clear()


@pytest.fixture
def podman(_engines: dict[str, Real | str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Real]:
    """For what only podman does."""
    made = _real("podman", _engines, monkeypatch)
    yield made
    made.clear()
