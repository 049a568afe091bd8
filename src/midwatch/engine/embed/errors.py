"""What can go wrong for a program that embeds a Supervisor. Every message says what, where and what to do."""

from __future__ import annotations

from typing import Any


class SupervisorError(Exception):
    """Midwatch cannot do what was asked, or supervision has ended."""


class UnknownService(SupervisorError, LookupError):
    """There is no service of that name; the message names the nearest."""


class AlreadyRunning(SupervisorError):
    """Somebody else supervises this home. `pid`: who, None when he does not say; `info`: what he says of himself."""

    def __init__(self, message: str, info: dict[str, Any]) -> None:
        super().__init__(message)
        self.info = info
        pid = info.get("pid")
        self.pid = pid if isinstance(pid, int) else None
