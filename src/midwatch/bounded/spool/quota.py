"""How much more a spool may take: the folder's quota, and what of the disk stays for others.

A writer reserves a few MiB ahead by making its file longer (no blocks are used by that), so that what others have been
promised can be seen by stat, by any process, also after a kill. Called with the folder's lock held. Must not write
data. Tests: tests/bounded/test_spool_quota.py.
"""

from __future__ import annotations

import os

from midwatch.bounded.limits import Limits
from midwatch.bounded.spool import retention, shelf
from midwatch.policy import defaults_bounded as d


def reserve(folder: int, fd: int, needed: int, most: int, limits: Limits, now: float) -> tuple[int, str]:
    """Make the file behind `fd` at least `needed` bytes long, rather a step more, at most `most`.

    Returns its new length and "", or its present length and why it may not grow. Raises OSError.
    """
    size = os.fstat(fd).st_size
    if needed <= size:
        return size, ""
    wished = min(most, max(needed, size + d.SPOOL_STEP))
    why = ""
    for target in (wished, needed):
        why = _refusal(folder, target - size, limits)
        if not why:
            break
    else:  # others go only for what is needed now
        if retention.evict(folder, _missing(folder, needed - size, limits), now):
            why = _refusal(folder, needed - size, limits)
        target = needed
    if not why:
        os.ftruncate(fd, target)
        return target, ""
    return size, why


def quota(free: int, used: int, limits: Limits) -> int:
    """For all spools together; by what would be free without them, so that filling them does not lower it."""
    return min(limits.spool_quota, int(d.SPOOL_SHARE * (free + used)))


def _figures(folder: int, limits: Limits) -> tuple[int, int, int]:
    """Bytes taken, the quota, and what the disk has left above what must stay free."""
    taken = shelf.taken(folder)
    disk = os.fstatvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    return taken.size, quota(free, taken.size, limits), free - taken.promised - limits.spool_free


def _missing(folder: int, more: int, limits: Limits) -> int:
    size, allowed, room = _figures(folder, limits)
    return max(size + more - allowed, more - room)


def _refusal(folder: int, more: int, limits: Limits) -> str:
    size, allowed, room = _figures(folder, limits)
    if size + more > allowed:
        return f"the quota of all spools ({allowed:,} bytes) is used up"
    if more > room:
        return f"the disk would have less than {limits.spool_free:,} bytes free"
    return ""
