"""The state folder of every release stays readable: specs, journal and run records as that version wrote them, killed
in the middle of its work. A folder is recorded once, when its version is released, and never edited afterwards.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine.conftest import Stagehand

from midwatch.machine.fake import FakeMachine

RELEASES = sorted(path.name for path in Path(__file__).parent.iterdir() if path.name[0].isdigit())


@pytest.fixture
def old(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stagehand]:
    """This version's engine on that version's folder, after a reboot."""
    monkeypatch.delenv("MIDWATCH_RUN", raising=False)
    made = Stagehand(home, FakeMachine(), monkeypatch)
    shutil.copytree(Path(__file__).parent / request.param, home, dirs_exist_ok=True)
    made.boot()
    made.pass_time(1)
    yield made
    made.close()


@pytest.mark.parametrize("old", RELEASES, indirect=True)
def test_an_old_state_folder_is_read_whole(old: Stagehand) -> None:
    """Every service is as it was left, budgets are kept, nothing is called damaged."""
    assert old.events("state.damaged", "config.refused") == []
    phases = {name.removeprefix("shop/"): service.state.phase for name, service in old.engine.services.items()}
    assert (phases["db"], phases["web"]) == ("up", "starting")  # web asks its ready probe, a real program
    assert (phases["once"], phases["off"]) == ("done", "stopped")
    assert phases["misconfigured"] in ("held", "up")  # what it is made of differs here: that is a reason to try
    crasher = old.engine.services["shop/crasher"].state
    assert crasher.crash_count == 5
    assert crasher.run_no == 6  # the next one after the boot
    assert old.engine.services["shop/db"].state.run == "shop.db.3"
