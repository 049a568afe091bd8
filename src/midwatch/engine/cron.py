"""The times that a schedule names, as wall times: pure arithmetic over cronsim, which is imported with the first one.

cronsim reads expressions as Debian's cron does. A time that the clock skips in spring comes when the clock has
jumped; one that it shows twice in autumn comes once, unless its minute or hour field begins with a star: such a job
goes by the minutes that pass. Must not know what is done at a time, nor what time it is.
Tests: tests/engine/test_schedule.py.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from midwatch.model.service import Schedule

if TYPE_CHECKING:
    from datetime import tzinfo

LOCALTIME = "/etc/localtime"  # the machine's zone; never TZ: cron, launchd and a shell would differ
_LOOK_BACK = (3600.0, 86_400.0, 604_800.0, 5_356_800.0, 31_622_400.0, 252_979_200.0)  # seconds; 8 years: leap days


def slots(schedule: Schedule, after: float) -> Iterator[float]:
    """All times later than `after`, in order; ends when there is none within 50 years."""
    from datetime import datetime

    from cronsim import CronSim, CronSimError

    last = after
    try:
        for found in CronSim(schedule.cron, datetime.fromtimestamp(after, _zone(schedule.zone))):
            slot = found.timestamp()
            if slot > last:  # begun inside the repeated hour of autumn, cronsim names the hour's first pass again
                last = slot
                yield slot
    except (CronSimError, OverflowError, ValueError, OSError):
        return  # the end of the calendar, or a wall clock that no calendar knows


def next_slot(schedule: Schedule, after: float) -> float | None:
    """The first time later than `after`."""
    return next(slots(schedule, after), None)


def newest_slot(schedule: Schedule, after: float, until: float, most: int) -> tuple[float, int] | None:
    """The last time in (after, until] and how many were before it there, counted up to `most`; None: there is none."""
    first = list(islice(_up_to(schedule, after, until), most + 1))
    if len(first) <= most:
        return (first[-1], len(first) - 1) if first else None
    for back in _LOOK_BACK:  # far too many to walk through: from close before `until`
        last = deque(_up_to(schedule, max(after, until - back), until), maxlen=1)
        if last:
            return last[0], most
    return first[-1], most


def _up_to(schedule: Schedule, after: float, until: float) -> Iterator[float]:
    for slot in slots(schedule, after):
        if slot > until:
            return
        yield slot


def zone_stamp() -> tuple[int, ...]:
    """Changes when the machine is given another time zone."""
    try:
        found = os.stat(LOCALTIME)
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_mtime_ns)


def _zone(name: str | None) -> tzinfo:
    if name is None:
        return _local_zone(zone_stamp())
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # it was there when the configuration was read
        return _local_zone(zone_stamp())


@lru_cache(maxsize=2)
def _local_zone(stamp: tuple[int, ...]) -> tzinfo:
    from datetime import UTC
    from zoneinfo import ZoneInfo

    if not stamp:
        return UTC
    try:
        with open(LOCALTIME, "rb") as file:
            return ZoneInfo.from_file(file, key="localtime")
    except (OSError, ValueError):
        return UTC
