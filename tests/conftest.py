"""What every test gets: a home of its own, a check that it left no process behind, and honest skips.

`home` is a fresh instance folder under /tmp with a short path (a Unix socket's path ends at 107 bytes) and is
in the environment as MIDWATCH_HOME. Everything outside tests/model and tests/policy is watched: a test that
leaves a process it started fails, and the process is ended. Must not hold helpers for one subject only.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest

from midwatch.config.environment import of_outer
from midwatch.host.detect import OPT_IN

TESTS = Path(__file__).parent
PURE = (TESTS / "model", TESTS / "policy")
PATIENCE = 5.0  # seconds that what a test has started may take to be gone; ends early

# Who runs the tests is no part of them: a build machine's agent is itself a systemd service.
for _name in [name for name in os.environ if of_outer(name) or name == OPT_IN]:
    del os.environ[_name]

hypothesis.settings.register_profile("midwatch", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("midwatch")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name in ("system", "real"):
            if item.path.is_relative_to(TESTS / name):
                item.add_marker(getattr(pytest.mark, name))


def pytest_runtest_setup(item: pytest.Item) -> None:
    is_root = os.geteuid() == 0
    for name, wanted in (("root", True), ("unprivileged", False)):
        mark = item.get_closest_marker(name)
        if mark and is_root is not wanted:
            pytest.skip(f"needs {'root' if wanted else 'an unprivileged user'}: {mark.args[0]}")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An instance folder of this test alone, named in MIDWATCH_HOME."""
    path = Path(tempfile.mkdtemp(prefix="mw-", dir=os.environ.get("MIDWATCH_TEST_ROOT", "/tmp")))
    monkeypatch.setenv("MIDWATCH_HOME", str(path))
    yield path
    left = _end(lambda: _named(path))
    shutil.rmtree(path, ignore_errors=True)
    if left:
        pytest.fail("left running with this test's MIDWATCH_HOME: " + "; ".join(left))


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(autouse=True)
def _no_children_left(request: pytest.FixtureRequest) -> Iterator[None]:
    if any(request.path.is_relative_to(folder) for folder in PURE):
        yield
        return
    before = set(_children())
    yield
    left = _end(lambda: [child for child in _children() if child not in before])
    if left:
        pytest.fail("left running by this test: " + "; ".join(left))


def _children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if _alive(child)]


def _named(home: Path) -> list[psutil.Process]:
    """Every process that carries this home in its environment, whoever its parent is by now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("MIDWATCH_HOME") == str(home):
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if _alive(process)]


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _end(look: Callable[[], list[psutil.Process]]) -> list[str]:
    """Wait for what `look` finds to be gone; after `PATIENCE` end it and say what it was."""
    deadline = time.monotonic() + PATIENCE
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    words = []
    for process in left:
        try:
            words.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
            process.kill()  # psutil checks pid and start time first
        except psutil.Error:
            continue
    return words
