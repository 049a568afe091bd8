"""Where the caller's instance is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from midwatch.record import place


def test_midwatch_home_names_the_instance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Relative names are made absolute."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIDWATCH_HOME", "other")
    assert place.home() == tmp_path / "other"


def test_the_default_does_not_follow_home_and_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """cron, launchd and sudo set these differently."""
    monkeypatch.delenv("MIDWATCH_HOME", raising=False)
    before = place.home()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert place.home() == before
    assert str(place.home()).startswith("/")
    if os.geteuid() == 0 and sys.platform != "darwin":
        assert place.home() == Path("/var/lib/midwatch")
