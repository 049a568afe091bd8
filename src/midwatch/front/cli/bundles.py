"""The evidence of a run on disk, for `why`: which folders, what is in them, and what could not be captured.

A bundle's manifest is written first, so a capture that was cut short says so. Older bundles have none. Reads only; what
was captured means is for people to say. Tests: tests/front/test_why_evidence.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from midwatch.front.cli.render import duration

MANIFEST, FACTS, SAMPLES = "manifest.json", "facts.json", "samples.json"
LARGEST = 4 << 20  # bytes of one file that are read
MOST = 20  # newest bundles of one run
_DOINGS = frozenset({"pause", "stood still"})
_PAUSED = "stood still"  # not something captured, but how long the run stood still for it


def of_run(home: Path, run: str, paths: list[str]) -> list[dict[str, Any]]:
    """Every bundle of a run, oldest first: the journalled ones, and those whose capture nobody lived to journal."""
    found = {Path(path): None for path in paths}
    try:
        there = sorted((home / "evidence").glob(f"{run}-*"), key=lambda path: path.stat().st_mtime)
    except OSError:
        there = []
    for path in there:
        if path.is_dir() and path not in found and _belongs(path, run):
            found[path] = None
    return [_bundle(path) for path in list(found)[-MOST:]]


def _belongs(path: Path, run: str) -> bool:
    """shop.web.1-health-1 is of shop.web.1; the manifest decides where there is one."""
    named = (_read(path / MANIFEST) or {}).get("run_id") or (_read(path / FACTS) or {}).get("run_id")
    return bool(named == run)


def _bundle(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        return {"path": str(path), "state": "gone", "got": [], "failed": []}
    manifest, facts = _read(path / MANIFEST), _read(path / FACTS)
    collectors = [c for c in (manifest or {}).get("collectors") or [] if isinstance(c, dict)]
    failed = [{"name": str(c.get("name")), "problem": str(c["problem"])} for c in collectors if c.get("problem")]
    failed += [{"name": "", "problem": str(words)} for words in (facts or {}).get("missing") or []]
    known = manifest or facts or {}
    state = known.get("state") if manifest else "done" if facts else "cut short"
    return {
        "path": str(path),
        "reason": known.get("reason"),
        "stage": known.get("stage"),
        "at": known.get("at"),
        "state": "cut short" if state == "open" else state or "done",
        "files": sorted(entry.name for entry in path.iterdir() if entry.is_file()),
        "got": [str(c.get("name")) for c in collectors if not c.get("problem") and c.get("name") not in _DOINGS],
        "paused_ms": next((c.get("ms") for c in collectors if c.get("name") == _PAUSED), None),
        "failed": failed,
    }


def words(bundle: dict[str, Any]) -> str:
    """One bundle in one sentence, its folder first."""
    if bundle["state"] == "gone":
        return f"{bundle['path']}: no longer there, newer ones took its place"
    pieces = []
    if bundle["got"]:
        pieces.append(f"has {', '.join(bundle['got'])}")
    elif bundle["files"]:
        pieces.append(f"has {', '.join(name for name in bundle['files'] if name != MANIFEST)}")
    if bundle.get("paused_ms"):
        pieces.append(f"it stood still for {duration(bundle['paused_ms'] / 1000)}")
    if bundle["state"] == "cut short":
        pieces.append("was cut short")
    pieces += [f"not {one['name']}: {one['problem']}" if one["name"] else f"not {one['problem']}"
               for one in bundle["failed"]]  # fmt: skip
    return f"{bundle['path']}: {'; '.join(pieces) or 'empty'}"


def samples(bundle: dict[str, Any]) -> list[Any]:
    """The last samples that were kept with the evidence, oldest first."""
    if bundle["state"] == "gone":
        return []
    found = _json(Path(bundle["path"]) / SAMPLES)
    if isinstance(found, dict):
        found = found.get("samples")
    return found if isinstance(found, list) else []


def with_pid(home: Path, pid: int) -> tuple[str, float | None] | None:
    """The newest bundle that shows this process as one of a run's tree: (run id, when)."""
    try:
        folders = sorted((home / "evidence").iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return None
    for path in folders:
        facts = _read(path / FACTS) or {}
        processes = facts.get("processes")
        rows = processes.values() if isinstance(processes, dict) else processes or []
        if any(isinstance(row, dict) and row.get("pid") == pid for row in rows):
            at = facts.get("at")
            return str(facts.get("run_id")), float(at) if isinstance(at, int | float) else None
    return None


def _read(path: Path) -> dict[str, Any] | None:
    found = _json(path)
    return found if isinstance(found, dict) else None


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > LARGEST:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
