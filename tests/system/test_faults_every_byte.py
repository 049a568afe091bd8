"""State files torn at every byte, read by their own loaders: nothing raises, nothing half-read is believed. The run
records, the journal and the jobs have the same in tests/record and tests/engine (E5, ORP-7)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.plain import default_logs, default_rules

from midwatch.config.problems import Settings
from midwatch.engine.boot import Boot
from midwatch.engine.layout import Layout
from midwatch.engine.specs import load_specs, save_specs
from midwatch.model.service import Launch, ServiceSpec
from midwatch.record.lock import InstanceLock

SPEC = ServiceSpec("p", "a", Launch(argv=("/bin/a",), cwd="/"), default_rules(), default_logs())


def test_specs(tmp_path: Path) -> None:
    """With its copy every cut yields the services and says so; without, none and words what to do."""
    path = tmp_path / "specs.json"
    save_specs(path, [SPEC], {"p": Settings(log_total=1 << 30, journal_weeks=9, journal_bytes=1 << 30)})
    whole = path.read_bytes()
    copy = path.with_suffix(".copy")
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        accepted, problem = load_specs(path)
        assert accepted.specs == [SPEC], length
        assert "its copy is used" in problem
        path.write_bytes(whole[:length])
        copy.write_bytes(whole[: length // 2])
        accepted, problem = load_specs(path)
        assert accepted.specs == [], length
        assert "midwatch up" in problem
        copy.write_bytes(whole)


def test_lock(tmp_path: Path) -> None:
    """Whatever stands there, the kernel's lock decides: it is taken, written anew, and its reader never fails."""
    path = tmp_path / "lock"
    whole = json.dumps({"pid": 4242, "since": 1.7e9, "what": "up shop", "version": "1"}).encode()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        assert InstanceLock(path).holder() is None
        lock = InstanceLock(path)
        lock.acquire({"pid": 1})
        path.write_bytes(whole[:length])  # damaged while it is held
        assert InstanceLock(path).holder() in ({}, json.loads(whole)), length
        lock.release()


@pytest.mark.parametrize("name", ["request.json", "keeper.json"])
def test_launch_files(home: Path, name: str) -> None:
    """What the launch left for the engine: a cut one means no request, and no outer manager."""

    async def read() -> None:
        boot = Boot(Layout.for_home(home), "detached")
        whole = json.dumps({"project": "p", "source": "f", "specs": [], "by": "t", "notify": "/x"}).encode()
        for length in range(len(whole)):
            (home / name).write_bytes(whole[:length])
            assert boot._request() is None, length
            assert boot._plan() == {}, length

    asyncio.run(read())
