"""Which spools go, and when: by age, by number, and for room; never one that is written, pinned or just made.

Ended ones whose owner has died go before those of an owner that lives; the oldest first. Called with the folder's lock
held. Must not know where bytes lie. Tests: tests/bounded/test_spool_retention.py.
"""

from __future__ import annotations

import msgspec

from midwatch.bounded.limits import Limits
from midwatch.bounded.spool import shelf
from midwatch.bounded.spool.meta import SpoolInfo, owner_lives
from midwatch.policy import defaults_bounded as d


class Swept(msgspec.Struct, frozen=True):
    """What one sweep did."""

    remains: int = 0  # files of a writer that died before its spool had a meta file
    lost: int = 0  # spools whose writer had died
    aged: int = 0
    freed: int = 0  # bytes
    forgotten: int = 0  # lines about spools that are gone


def sweep(folder: int, limits: Limits, now: float) -> Swept:
    """Bring the folder in order."""
    remains = lost = aged = freed = forgotten = 0
    gone: list[tuple[float, str]] = []
    ended: list[tuple[bool, float, str, SpoolInfo]] = []
    for name, info in list(shelf.everything(folder)):
        if info is None:
            since = shelf.remains(folder, name)
            if since is None or now - since > limits.spool_age:  # damaged: kept as long as any other
                shelf.forget(folder, name)
                remains += 1
            continue
        shelf.unneeded(folder, name, info)
        if info.state == "gone":
            gone.append((_age_mark(info), name))
        elif info.state == "lost" and not info.ended:
            shelf.settle(folder, name, info)
            lost += 1
        elif info.state != "running" and not info.pinned:
            if now - _age_mark(info) > limits.spool_age:
                freed += shelf.drop_data(folder, name, info, because(now, f"older than {_days(limits.spool_age)}"))
                aged += 1
            else:
                ended.append((owner_lives(info), _age_mark(info), name, info))
    for _, _, name, info in sorted(ended)[: max(0, len(ended) - d.SPOOL_COUNT)]:
        freed += shelf.drop_data(folder, name, info, because(now, f"more than {d.SPOOL_COUNT} spools"))
        aged += 1
    for _, name in sorted(gone)[: max(0, len(gone) - d.SPOOL_GONE)]:
        shelf.forget(folder, name)
        forgotten += 1
    return Swept(remains, lost, aged, freed, forgotten)


def evict(folder: int, wanted: int, now: float) -> int:
    """Make room for so many bytes; how many there are now."""
    candidates = []
    for name, info in list(shelf.everything(folder)):
        if info is None or info.state not in ("done", "lost") or info.pinned:
            continue
        if now - (info.ended or info.created) < d.SPOOL_YOUNG:
            continue
        candidates.append((owner_lives(info), _age_mark(info), name, info))
    freed = 0
    for _, _, name, info in sorted(candidates, key=lambda one: one[:3]):
        if freed >= wanted:
            break
        freed += shelf.drop_data(folder, name, info, because(now, "newer spools needed its room"))
    return freed


def _age_mark(info: SpoolInfo) -> float:
    return info.ended or info.created


def because(now: float, why: str) -> str:
    """What is told about a spool that is gone."""
    from time import gmtime, strftime

    return f"removed at {strftime('%Y-%m-%d %H:%M:%SZ', gmtime(now))}: {why}"


def _days(seconds: float) -> str:
    return f"{seconds / 86_400:g} days" if seconds >= 86_400 else f"{seconds:g} s"
