"""The end of a keeper whose engine is another program: when that hangs up, nothing of its services may stay.

TERM to every run's process group and to every orphan, GRACE seconds, then KILL until nobody is left. Must not decide
when.
"""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from midwatch.keeper.main import Keeper

GRACE, LAST, LOOK = 5.0, 5.0, 50  # s, s, ms; LAST: what does not die in that time hangs in the kernel


def wind_up(keeper: Keeper) -> None:
    """Called again and again until the keeper has an exit code."""
    now = time.monotonic()
    left = [*keeper.pids, *keeper.strays()]
    if not left or (keeper.ending and now > keeper.ending + LAST):
        keeper.exit_code = 0
    elif not keeper.ending:
        keeper.ending = now + GRACE
        end(left, signal.SIGTERM)
    elif now > keeper.ending:
        end(left, signal.SIGKILL)


def end(pids: list[int], number: int) -> None:
    """Each with the group it leads. They are unreaped children of ours, or watched: no number is a stranger's."""
    for pid in pids:
        for kill in (os.killpg, os.kill):
            try:
                kill(pid, number)
                break
            except OSError:
                continue
