"""Evidence on disk, by the command line: with py-spy's stacks where it is there, and when its writer is killed."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.real.fast import daemon, end
from tests.system.conftest import Instance, alive, wait_for

from midwatch.engine import pyspy

HANGS = """
import signal, sys, time
def leave(*_):
    print("heard TERM", flush=True)
    sys.exit(0)
def a_function_that_hangs():
    while True:
        time.sleep(1000)
signal.signal(signal.SIGTERM, leave)
print("begun", flush=True)
a_function_that_hangs()
"""
SICK = 'health = { file = "never", every = "1s", timeout = "500ms", failures = 2 }\n'


def config(more: str = "") -> str:
    return f'[service.a]\ncommand = ["{sys.executable}", "-S", "hangs.py"]\n{SICK}{more}'


def begin(instance: Instance, text: str) -> None:
    (instance.folder / "hangs.py").write_text(HANGS)
    instance.up(text)


def manifest(line: dict[str, Any]) -> dict[str, Any]:
    found = json.loads((Path(line["path"]) / "manifest.json").read_text())
    assert isinstance(found, dict)
    return found


def spy(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something called py-spy that the daemon finds first, unless one is installed beside our Python."""
    folder.mkdir(exist_ok=True)
    (folder / "py-spy").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "py-spy").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_wedged_program_leaves_its_stacks(instance: Instance) -> None:
    """guards 10, stages 0 to 3: real processes; what py-spy could not do is said."""
    begin(instance, config("trace = true\n"))
    line = wait_for(lambda: instance.journal("evidence.captured"), "it was captured")[0]
    found = manifest(line)
    problems = {one["name"]: one["problem"] for one in found["collectors"]}
    assert found["state"] == "done"
    assert found["bytes"] < 1 << 20
    assert problems["processes"] == problems["output"] == problems["pause"] == ""
    still = next(one["ms"] for one in found["collectors"] if one["name"] == "stood still")
    assert 0 < still < 2500
    facts = json.loads((Path(line["path"]) / "facts.json").read_text())
    assert facts["processes"][0]["pid"] == found["pid"]
    if pyspy.program() is None:
        assert problems["python stacks"] == "py-spy is not installed"
    elif problems["python stacks"] == "":
        assert "a_function_that_hangs" in (Path(line["path"]) / "stacks.txt").read_text()
    wait_for(lambda: "heard TERM" in instance.cli("logs", "a").stdout, "it went on and heard TERM")


@pytest.mark.skipif(sys.platform != "linux", reason="frozen runs are looked at in /proc")
def test_keeper_and_engine_killed_in_a_capture_leave_nobody_standing(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """guards 10: the run stands still when both die; the next start lets it go, and the bundle is read as cut short."""
    if Path(sys.executable).with_name("py-spy").exists():
        pytest.skip("a real py-spy is quicker than this test")
    spy(tmp_path / "bin", "exec sleep 20", monkeypatch)
    begin(instance, config('stop = { grace = "20s" }\n'))
    home = instance.home / "evidence"
    mark = wait_for(lambda: next(iter(home.glob("*/paused")), None) if home.exists() else None, "it stands still")
    keeper, engine = daemon(instance)
    for pid in (keeper, engine):
        end(pid)
    wait_for(lambda: not alive(keeper) and not alive(engine), "both are gone")
    if not mark.exists():
        pytest.skip("the pause was over before they were killed")
    pid = json.loads(mark.read_text())["tree"]["main"]["pid"]
    assert alive(pid)
    time.sleep(0.1)
    assert "heard TERM" not in instance.cli("logs", "a").stdout
    assert json.loads((mark.parent / "manifest.json").read_text())["state"] == "open"
    instance.ok("up", "-d", "--no-wait")
    line = wait_for(lambda: instance.journal("evidence.captured"), "the torn bundle is told")[0]
    assert (line["state"], line["path"], line["reason"]) == ("cut short", str(mark.parent), "health")
    wait_for(lambda: "heard TERM" in instance.cli("logs", "a").stdout, "it went on and heard TERM")
    assert not mark.exists()
    assert manifest(line)["state"] == "cut short"
    assert str(mark.parent) in instance.cli("why", "p.a.1").stdout.replace("\n          ", "")
