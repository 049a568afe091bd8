"""How a run ended: the raw facts, the closed set of causes, and the verdict on them.

Must not decide a cause (policy/classify.py) nor collect a fact (machine/, engine/).
"""

from __future__ import annotations

from typing import Literal

import msgspec

Cause = Literal[
    "requested",  # we stopped it because somebody asked
    "drain",  # it left by itself with its declared drain code
    "clean",  # exit 0
    "port-conflict",
    "permanent",  # a code that says: retrying cannot help (78, or configured)
    "oom",  # the kernel's OOM killer, with evidence
    "memory-guard",
    "fd-guard",
    "unhealthy",  # we stopped it because it was not ready in time, failed a health check or took too long
    "segfault",  # SIGSEGV, SIGBUS
    "abort",  # SIGABRT
    "killed",  # a signal we did not send (TERM, KILL, INT, HUP, QUIT)
    "crash",  # everything else: a non-zero code, any other signal
    "spawn-failed",  # it never started
    "lost",  # it ended while nobody could see how
]


class ExitFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known about the end of one run, before anybody judges it.

    `status` is the raw wait status as wait(2) gave it, or None when it could not be read.
    `oom_kills` is the rise of the run's own cgroup OOM counter; `kernel_oom` is the kernel log line that
    names a process of the run. Times are awake seconds.
    """

    status: int | None
    duration: float
    oom_kills: int = 0
    kernel_oom: str | None = None
    oom_by: str = ""  # a user-space OOM killer that has left its mark on the run's group, in words
    max_rss_bytes: int | None = None
    cpu_seconds: float | None = None
    strays: int = 0  # processes of the tree that outlived the main process
    heir: int | None = None  # pid of one of them that serves the service's port: the main process was a launcher
    port: int | None = None  # told with `heir` or `port_owner`
    port_owner: str = ""  # who else holds the service's port at that moment, in words; "": nobody
    unseen: float = 0.0  # status None: it died within so many seconds before it was found gone
    checked: tuple[str, ...] = ()  # what was looked at, so that its silence counts: "oom-counter", "kernel-log", "oomd"

    @property
    def code(self) -> int | None:
        """The exit code, or None when a signal ended it or the status is unknown."""
        if self.status is None or self.status & 0x7F:
            return None
        return (self.status >> 8) & 0xFF

    @property
    def signal(self) -> int | None:
        """The signal that ended it, or None."""
        if self.status is None:
            return None
        return self.status & 0x7F or None


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """Cause, how sure we are (0..1), and the reasons for and against, in words."""

    cause: Cause
    confidence: float
    because: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    do: tuple[str, ...] = ()
    reported_signal: int | None = None  # a code 128+N: reported by a wrapper, not received by us
