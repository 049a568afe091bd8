"""What the front passes on as ours: instances, keepers, engines, runs, protected services."""

from __future__ import annotations

import json
from pathlib import Path

from midwatch.engine.layout import Layout
from midwatch.front.cli.instances import Known, Picture
from midwatch.front.cli.owning import gather


def test_records_and_answers_are_put_together(home: Path) -> None:
    """A run record without a daemon, a torn one, a row of a daemon, a protected service."""
    layout = Layout.for_home(home)
    layout.runs.mkdir()
    (layout.runs / "p.s.1.json").write_text(json.dumps({"run": "p.s.1", "pid": 41, "start": 7}))
    (layout.runs / "p.s.2.json").write_text("{")
    layout.specs.write_text(json.dumps([{"project": "p", "name": "s", "rules": {"priority": "protected"}}]))
    row = {"project": "p", "name": "s", "pid": 42, "run_id": "p.s.3", "state": "up"}
    ours = gather(Picture({"pid": 9, "keeper_pid": 8}, [Known("p/s", layout, row)], layout))
    assert ours.keepers == {8: 0}
    assert ours.engines == {9: 0}
    assert ours.runs == {41: (7, "p.s.1"), 42: (0, "p.s.3")}
    assert ours.services == ("p/s",)
    assert ours.protected == ("p/s",)
    assert ours.instances[layout.instance].runs == {"p.s.1", "p.s.2"}
    assert not ours.instances[layout.instance].alive


def test_nothing_at_all(home: Path) -> None:
    """A machine that never had a daemon."""
    ours = gather(Picture(None, [], Layout.for_home(home)))
    assert (ours.keepers, ours.runs, ours.services) == ({}, {}, ())
