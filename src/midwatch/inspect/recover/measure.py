"""How short memory is now, and how many bytes would end it. DOC-1 judges; this only asks it and counts.

Must not act. Tests: tests/inspect/test_recover.py.
"""

from __future__ import annotations

from midwatch.inspect.doctor.check import Context, Missing
from midwatch.inspect.doctor.pressure import CHECK
from midwatch.inspect.recover.plan import Level, Pressure
from midwatch.inspect.sources import Sources
from midwatch.policy.defaults_inspect import MEMORY_LEFT, RECOVER_MAC_FREE

_UNTOLD = 1  # short, but not in bytes: the first step that frees anything, then another look


def measure(sources: Sources) -> Pressure:
    """Never raises: what cannot be read is "unknown", and nothing is needed then."""
    try:
        told = next(iter(CHECK.run(Context(sources))))
    except (Missing, OSError) as error:
        return Pressure("unknown", 0, f"memory pressure cannot be read: {error}")
    levels: dict[str, Level] = {"pass": "pass", "warn": "warn", "fail": "fail"}
    level = levels.get(told.status, "unknown")
    total, available = told.evidence.get("total_bytes"), told.evidence.get("available_bytes")
    if sources.platform == "darwin":
        total = _size(sources)
        free = told.evidence.get("free_percent")
        available = total * int(free) // 100 if total and free is not None else None
    need = 0
    if level in ("warn", "fail"):
        share = RECOVER_MAC_FREE if sources.platform == "darwin" else MEMORY_LEFT[0]
        need = _UNTOLD
        if total and available is not None:
            need = max(_UNTOLD, int(total * share) - available)
    return Pressure(level, need, told.message, available, total)


def _size(sources: Sources) -> int | None:
    try:
        text = sources.sysctl("hw.memsize")
    except OSError:
        return None
    return int(text) if text.isdigit() else None
