"""rlimits, nice and oom_score_adj of a process that waits in its gate.

What is not permitted does not stop the run: it goes on with what it has, and one warning names what was
asked for and what is in effect (H15). Must not know why a number was chosen.
"""

from __future__ import annotations

import os
import resource

from midwatch.machine.linux import files
from midwatch.model.service import Launch


def prepare(pid: int, launch: Launch) -> list[str]:
    """Set them all; returns the warnings. A process that is gone gives one warning."""
    warnings: list[str] = []
    try:
        for name, (soft, hard) in launch.rlimits.items():
            warning = _rlimit(pid, name, soft, hard)
            if warning:
                warnings.append(warning)
        if launch.oom_score_adj is not None:
            warnings += _oom_score_adj(pid, launch.oom_score_adj)
        if launch.nice is not None:
            warnings += _nice(pid, launch.nice)
    except ProcessLookupError:
        warnings.append(f"limits not set: process {pid} is gone")
    return warnings


def _nice(pid: int, asked: int) -> list[str]:
    try:
        os.setpriority(os.PRIO_PROCESS, pid, asked)
        return []
    except PermissionError:
        effective = os.getpriority(os.PRIO_PROCESS, pid)
    return [f"nice: requested {asked}, effective {effective}: needs root or CAP_SYS_NICE"]


def _oom_score_adj(pid: int, asked: int) -> list[str]:
    path = f"/proc/{pid}/oom_score_adj"
    try:
        files.write(path, str(asked))
        return []
    except FileNotFoundError:
        raise ProcessLookupError from None
    except OSError as error:
        effective = (files.read_or_none(path) or b"?").decode().strip()
        return [f"oom_score_adj: requested {asked}, effective {effective}: {error.strerror}"]


def _rlimit(pid: int, name: str, soft: int | None, hard: int | None) -> str | None:
    """Set one limit; where the hard limit cannot be raised, come as near as possible."""
    which = getattr(resource, "RLIMIT_" + name.upper(), None)
    if which is None:
        return f"rlimit {name}: this system has no such limit, ignored"
    wanted = (_number(soft), _number(hard))
    try:
        resource.prlimit(pid, which, wanted)
        return None
    except (PermissionError, ValueError) as error:
        reason = (
            "soft is above hard"
            if isinstance(error, ValueError)
            else "the hard limit can only be raised by root"
        )
    try:
        _, ceiling = resource.prlimit(pid, which)
        nearest = (_least(wanted[0], ceiling), _least(wanted[1], ceiling))
        nearest = (_least(*nearest), nearest[1])
        resource.prlimit(pid, which, nearest)
        now = resource.prlimit(pid, which)
    except (PermissionError, ValueError):
        return f"rlimit {name}: requested {_words(*wanted)}, not permitted, unchanged"
    return f"rlimit {name}: requested {_words(*wanted)}, effective {_words(*now)}: {reason}"


def _number(value: int | None) -> int:
    return resource.RLIM_INFINITY if value is None else value


def _least(one: int, other: int) -> int:
    if resource.RLIM_INFINITY in (one, other):
        return other if one == resource.RLIM_INFINITY else one
    return min(one, other)


def _words(soft: int, hard: int) -> str:
    return ":".join("unlimited" if value == resource.RLIM_INFINITY else str(value) for value in (soft, hard))
