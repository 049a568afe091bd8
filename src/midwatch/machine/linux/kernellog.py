"""What the kernel has said about its OOM kills: who was killed, by which limit, and who had asked for memory.

/dev/kmsg is read once, record by record; the descriptor stays where the last call stopped. An OOM kill is several
records: "NAME invoked oom-killer", which names the one that asked and not the victim; "oom-kill:constraint=...", which
names the limit; then "Killed process PID". Only facility 0 counts: a program may write the rest. Must not judge. Tests:
tests/machine/test_kernellog.py.
"""

from __future__ import annotations

import os
import threading
import time

from midwatch.machine.linux import procfs

_MOST_RECORDS = 200_000  # per call
_MOST_KILLS = 64  # remembered
_FIRST_PIDS = "pid:[4026531836]"  # the machine's own pid namespace: the number is the kernel's


class Story:
    """The records before a kill, as far as they explain it."""

    def __init__(self) -> None:
        self._asker = ""
        self._limit = ""

    def hear(self, record: bytes) -> procfs.Killed | None:
        """One record; the kill it tells of, with what is known about it behind the kernel's own words."""
        head, _, body = record.partition(b";")
        level = head.split(b",", 1)[0]
        if not level.isdigit() or int(level) >= 8:
            return None
        text = body.split(b"\n", 1)[0].decode("utf-8", "backslashreplace")
        asker, invoked, _ = text.partition(" invoked oom-killer: ")
        if invoked:
            self._asker, self._limit = asker[:64], ""
        elif text.startswith("oom-kill:constraint="):
            self._limit = limit(text)
        kill = procfs.oom_line(record)
        if kill is None:
            return None
        # The constraint is told once for all who are killed for it; without it the line itself says as much.
        where = self._limit or ("a memory group" if kill.text.startswith("Memory cgroup") else "the whole machine")
        asked = f", {self._asker} asked for more" if self._asker else ""
        return procfs.Killed(kill.pid, kill.at, f"{kill.text} [out of memory: {where}{asked}]")


def limit(text: str) -> str:
    """Whose limit was reached, from an "oom-kill:constraint=..." record."""
    facts = dict(part.partition("=")[::2] for part in text.removeprefix("oom-kill:").split(","))
    if facts.get("constraint") == "CONSTRAINT_MEMCG":
        return f"memory group {facts.get('oom_memcg', '')}".rstrip()
    if facts.get("constraint") in ("CONSTRAINT_CPUSET", "CONSTRAINT_MEMORY_POLICY"):
        return "the memory nodes it may use"
    return "the whole machine"


class KernelLog:
    """The OOM kills in the kernel's log."""

    def __init__(self, path: str = "/dev/kmsg") -> None:
        """Opened at the first question."""
        self._path = path
        self._fd: int | None = None
        self._story = Story()
        self._kills: list[procfs.Killed] = []
        self._lock = threading.Lock()

    def oom(self, pids: set[int], since: float) -> str | None:
        """The line about one of these pids not before awake time `since`.

        The log's clock drifts against CLOCK_MONOTONIC (by up to 500 ppm of the uptime), hence the slack.
        """
        with self._lock:
            if not self._catch_up():
                return None
            slack = 5.0 + time.monotonic() * 0.0005
            for kill in reversed(self._kills):
                if kill.pid in pids and kill.at >= since - slack:
                    return kill.text
        return None

    def speaks(self) -> bool:
        """Was it readable when it was last asked, with the pids that we know? In a container they are others."""
        try:
            return self._fd is not None and os.readlink("/proc/self/ns/pid") == _FIRST_PIDS
        except OSError:
            return False

    def _catch_up(self) -> bool:
        if self._fd is None:
            try:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                return False
        for _ in range(_MOST_RECORDS):
            try:
                record = os.read(self._fd, 8192)
            except BlockingIOError:
                break
            except BrokenPipeError:
                continue  # records were overwritten before we came: go on with the oldest that is left
            except OSError:
                return False
            kill = self._story.hear(record) if record else None
            if kill:
                self._kills = [*self._kills[-_MOST_KILLS + 1 :], kill]
            if not record:
                break
        return True
