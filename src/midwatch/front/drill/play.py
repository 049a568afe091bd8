"""Plays scenes one after the other, each on a stage of its own that is always torn down. Must not print.

Tests: tests/system/test_drill.py, tests/front/test_drill.py.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from midwatch.front.drill import scenes_memory, scenes_program, scenes_world
from midwatch.front.drill.scene import Outcome, Scene
from midwatch.front.drill.stage import Lost, Missing, Stage

_ALL = (*scenes_memory.SCENES, *scenes_program.SCENES, *scenes_world.SCENES)
ORDER = ("leak", "explosion", "hang", "files", "crash-loop", "fork-bomb", "disk", "port", "own-death", "clock")
SCENES: dict[str, Scene] = {name: next(scene for scene in _ALL if scene.name == name) for name in ORDER}


def play(scene: Scene) -> Outcome:
    """One scene, from an empty folder to nothing left. Only an interruption gets out, after the clean-up."""
    began = time.monotonic()
    stage = Stage(Path(tempfile.mkdtemp(prefix="midwatch-drill-")))
    survived: bool | None = False
    left: list[str] = []
    did = "was interrupted"
    try:
        did = scene.play(stage)
        survived = True
    except Missing as missing:
        survived, did = None, str(missing)
    except Lost as lost:
        did = str(lost)
    except subprocess.TimeoutExpired as late:
        did = f"a command did not end within {late.timeout:g} s"
    except (OSError, ValueError, KeyError) as error:
        did = f"the drill itself failed: {type(error).__name__}: {error}"
    finally:
        left = stage.close()
    if left and survived is not None:
        survived, did = False, f"{did}; left running and ended by the drill: {'; '.join(left)}"
    facts = {name: value for name, value in stage.facts.items() if not name.startswith("_")}
    return Outcome(scene.name, scene.injected, did, time.monotonic() - began, survived, tuple(left), facts)
