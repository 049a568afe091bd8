"""Which processes of this machine are ours: from the daemons' answers and the records, for whoever looks at strangers.

Must not judge and must not change anything. Tests: tests/front/test_owning.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from midwatch.engine.layout import Layout
from midwatch.front.cli import instances
from midwatch.inspect.ours import Instance, Ours


def gather(picture: instances.Picture) -> Ours:
    """Everything known of ours. What cannot be read is left out: its mark then belongs to an unknown instance, and
    nobody touches those.
    """
    keepers: dict[int, int] = {}
    engines: dict[int, int] = {}
    runs: dict[int, tuple[int, str]] = {}
    known: dict[str, Instance] = {}
    protected: list[str] = []
    for layout in _layouts(picture.home, picture):
        records = _records(layout)
        alive = instances.locked(layout)
        known[layout.instance] = Instance(str(layout.home), alive, frozenset(run for run, _, _ in records))
        runs.update({pid: (start, run) for run, pid, start in records if pid})
        protected += [
            f"{spec.get('project')}/{spec.get('name')}"
            for spec in instances.accepted(layout.specs)
            if (spec.get("rules") or {}).get("priority") == "protected"
        ]
    for daemon, rows in _answers(picture):
        keepers.update({int(daemon["keeper_pid"]): 0} if daemon.get("keeper_pid") else {})
        engines.update({int(daemon["pid"]): 0} if daemon.get("pid") else {})
        runs.update({int(row["pid"]): (0, str(row.get("run_id"))) for row in rows if row.get("pid")})
    return Ours(keepers, engines, runs, tuple(picture.ids()), tuple(protected), known)


def _layouts(home: Layout, picture: instances.Picture) -> list[Layout]:
    found = {layout.home: layout for layout in (home, *home.foregrounds(), *picture.layouts())}
    return list(found.values())


def _answers(picture: instances.Picture) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    rows = [known.row for known in picture.services if known.row is not None]
    return [(picture.daemon or {}, rows)]


def _records(layout: Layout) -> list[tuple[str, int, int]]:
    """(run, pid, start) of every run record of this instance; 0: not spawned yet."""
    found = []
    for path in sorted(Path(layout.runs).glob("*.json"))[:10_000]:
        try:
            record = json.loads(path.read_bytes())
            found.append((str(record["run"]), int(record.get("pid") or 0), int(record.get("start") or 0)))
        except (OSError, ValueError, KeyError, TypeError):
            found.append((path.stem, 0, 0))  # torn: its run exists all the same
    return found
