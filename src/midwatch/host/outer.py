"""What the daemon needs to know about whoever runs it: where to report, how often, how long a stop may take.

An inherited NOTIFY_SOCKET is somebody else's: STOPPING=1 or WATCHDOG=1 of ours would lie about that service. So only
the manager's own child reports (SVC-7), or one that was told so by MIDWATCH_FOREGROUND. Pure; must not send.
"""

from __future__ import annotations

import msgspec

from midwatch.host.detect import Facts, Manager


class Outer(msgspec.Struct, frozen=True):
    """The hook-up. `notify`: a path or "@name". `patience`: seconds between TERM and KILL where the manager tells
    (launchd; systemd and supervisord keep it to themselves). `hint`: one line for a person, or nothing.
    """

    manager: Manager
    notify: str | None = None
    watchdog_usec: int | None = None
    patience: float | None = None
    hint: str = ""


def outer(manager: Manager, facts: Facts) -> Outer:
    """What follows from the verdict."""
    notify = facts.notify if manager.strong and facts.notify else None
    return Outer(
        manager=manager,
        notify=notify,
        watchdog_usec=_watchdog(facts) if notify else None,
        patience=facts.launchd_timeout if manager.name == "launchd" and manager.strong else None,
        hint=_hint(manager, facts),
    )


def _watchdog(facts: Facts) -> int | None:
    """Microseconds; None: nobody waits for us. WATCHDOG_PID of another process means that it is asked, not us."""
    usec, pid = facts.environ.get("WATCHDOG_USEC", ""), facts.environ.get("WATCHDOG_PID", "")
    if pid not in ("", str(facts.pid)) or not (usec.isascii() and usec.isdigit()):
        return None
    return int(usec) if 0 < int(usec) < 1 << 63 else None


def _hint(manager: Manager, facts: Facts) -> str:
    """Weak evidence, in words. At a terminal nobody is in doubt, and its shell inherits the evidence for ever."""
    if manager.confidence != "weak" or facts.tty:
        return ""
    told = "" if not facts.notify else ", and nothing is reported to it"
    return (
        f"{manager.reasons[0]}: not taken for a child of {manager.name}{told}; "
        "set MIDWATCH_FOREGROUND=1 if it is one"
    )
