"""`midwatch drill` with its real faults: each scene survived or skipped with a reason, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.system.conftest import Instance, wait_for

from midwatch.front.drill.play import SCENES
from midwatch.front.drill.stage import TOYS

BOUND = 150.0  # seconds for one scene on a loaded machine; each takes two to five


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A short folder for the stages; whatever the drill left running fails the test and is ended."""
    folder = tmp_path_factory.mktemp("d")
    yield folder
    left = toys(folder)
    for process in left:
        process.kill()
    assert not left, f"left running: {left}"


def toys(folder: Path) -> list[psutil.Process]:
    """Living processes whose environment, command line or working folder names this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.environ().get("MIDWATCH_HOME", ""), process.cwd()]
            alive = process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
            if alive and any(str(folder) in word for word in words):
                found.append(process)
        except psutil.Error:
            continue
    return found


def drill(place: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "midwatch", "drill", *words], env={**os.environ, "TMPDIR": str(place)}, text=True,
        cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_is_survived_and_leaves_nothing(place: Path, name: str) -> None:
    """The fault is injected, midwatch deals with it, the folder and every process are gone."""
    with drill(place, name, "--json") as running:
        out, err = running.communicate(timeout=BOUND)
    found = json.loads(out)
    [row] = found["scenes"]
    assert not list(place.iterdir())
    assert found["left_over"] == []
    if row["survived"] is None:
        assert running.returncode == 1
        pytest.skip(row["did"])
    assert row["survived"], row["did"] + err
    assert running.returncode == 0
    assert row["did"]
    FACTS.get(name, lambda _: True)(row["facts"])


def _within(facts: dict[str, Any]) -> None:
    """It drained above its soft line and far below its hard one."""
    assert facts["cause"] == "drain"
    assert 64 << 20 <= facts["held_bytes"] < 256 << 20


def _ended(facts: dict[str, Any]) -> None:
    """Both explosions ended far below what the toy could have held; our own kill left evidence."""
    for name in ("burst", "polled"):
        found = facts[name]
        assert found["cause"] in ("memory-guard", "oom")
        assert found["peak_bytes"] is None or found["peak_bytes"] < 400 << 20
        assert found["evidence"] or found["cause"] == "oom"
    assert facts["polled"]["cause"] == "memory-guard"


def _all_lines(facts: dict[str, Any]) -> None:
    assert facts["lines"] > 3


def _simulated(facts: dict[str, Any]) -> None:
    assert facts["simulated"]
    assert facts["decisions"] >= 6


FACTS: dict[str, Any] = {"leak": _within, "explosion": _ended, "own-death": _all_lines, "clock": _simulated}


def _spawned(place: Path) -> bool:
    return any(b'"run.spawned"' in path.read_bytes() for path in place.glob("*/home/journal/*.jsonl"))


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_drill_leaves_nothing(place: Path, signum: int) -> None:
    """In the middle of a scene, with daemon and toys alive: exit 130, all of them gone, the folder too."""
    with drill(place, "fork-bomb", "hang") as running:
        wait_for(lambda: _spawned(place), "a toy runs")
        running.send_signal(signum)
        _, err = running.communicate(timeout=BOUND)
    assert running.returncode == 130, err
    assert "everything it had started was ended" in err
    assert not list(place.iterdir())


@pytest.mark.root("to mount a small disk")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_drill_that_is_interrupted_inside_its_namespace_leaves_nothing(place: Path, signum: int) -> None:
    """The full disk is another drill in another mount namespace: it and all of its own go, too."""
    with drill(place, "disk") as running:

        def sleeper() -> bool:
            return running.poll() is not None or any("sleep" in " ".join(_words(one)) for one in toys(place))

        wait_for(sleeper, "the inner drill's services run")
        running.send_signal(signum)
        running.communicate(timeout=BOUND)
    if running.returncode != 130:
        pytest.skip("it was over, or could not be played, before it was interrupted")
    assert not toys(place)
    assert not list(place.iterdir())


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def test_a_drill_beside_a_daemon_leaves_it_alone(instance: Instance, place: Path) -> None:
    """Somebody's own instance, daemon and service are the same processes afterwards; nothing is in their journal."""
    instance.up('[service.mine]\ncommand = ["sleep", "1000"]\n')
    before, daemon, lines = instance.ps()["mine"], instance.daemon(), len(instance.journal())
    with drill(place, "own-death", "port") as running:
        running.communicate(timeout=BOUND)
    assert running.returncode == 0
    assert instance.ps()["mine"]["pid"] == before["pid"]
    assert (instance.daemon()["pid"], instance.daemon()["keeper_pid"]) == (daemon["pid"], daemon["keeper_pid"])
    assert len(instance.journal()) == lines


def test_a_toy_ends_by_itself(place: Path) -> None:
    """Each has an alarm: whatever becomes of the drill, none outlives it for long."""
    with subprocess.Popen([sys.executable, "-I", "-S", str(TOYS), "chatter", "8"], stdout=subprocess.DEVNULL) as toy:
        time.sleep(0.5)
        assert toy.poll() is None
        toy.send_signal(signal.SIGALRM)
        assert toy.wait(10) == -signal.SIGALRM
