"""Which containers the kernel has killed a process of for lack of memory, by its own log.

The log names the cgroup, the cgroup the container: it proves what an engine does not notice, a killed child, and what
podman denies. `covers` tells whether silence means anything. Must not judge. Tests:
tests/inspect/containers/test_kernellog.py, tests/real/engines.
"""

from __future__ import annotations

import re

import msgspec

from midwatch.inspect.sources import Sources

_ID = r"[0-9a-f]{64}"
_LINE = re.compile(r"^(?:<\d+>)?\[\s*(\d+\.\d+)\][^\n]*?oom-kill:([^\n]*)", re.MULTILINE)
_STAMP = re.compile(r"^(?:<\d+>)?\[\s*(\d+\.\d+)\]", re.MULTILINE)
_NAMED = re.compile(rf"(?:oom_memcg|task_memcg)=[^,]*?({_ID})")
_VICTIM = re.compile(r"task=([^,]*),pid=(\d+)")
_SLACK = 5.0  # s by which the log's clock and the engine's may differ
_WAYS = (("dmesg",), ("journalctl", "-k", "-b", "-o", "short-monotonic", "--no-pager", "-n", "8000"))


class Kill(msgspec.Struct, frozen=True):
    """One process of a container. `whole`: the machine ran out, not the container's own limit."""

    container: str
    at: float
    name: str
    pid: int
    whole: bool


class Log(msgspec.Struct, frozen=True):
    """The kills in it. `since`: nothing before is known; None: nothing can be told at all, `why` says it."""

    kills: tuple[Kill, ...] = ()
    since: float | None = None
    why: str = ""

    def of(self, container: str, started: float | None) -> list[Kill]:
        """Those in this life of a container."""
        begin = (started or 0.0) - _SLACK
        return [one for one in self.kills if one.container == container and one.at >= begin]

    def covers(self, started: float | None) -> bool:
        """Would it show a kill in a life that began then?"""
        return self.since is not None and started is not None and self.since <= started + _SLACK


def read(sources: Sources) -> Log:
    """Never raises: a log that may not be read is a log with a `why`."""
    why = "the kernel's log may not be read here (sudo dmesg)"
    for argv in _WAYS:
        try:
            ran = sources.run(argv)
            begin = sources.now() - float(sources.read("/proc/uptime", 64).split()[0])
        except (OSError, ValueError, IndexError):
            continue
        if ran.late or ran.code or not ran.out.strip():
            continue
        if ran.cut:
            why = "the kernel's log is larger than what is read of it"
            continue
        return _parse(ran.out, begin)
    return Log(why=why)


def _parse(text: str, begin: float) -> Log:
    kills = []
    for stamp, rest in _LINE.findall(text):
        victim = _VICTIM.search(rest)
        for container in dict.fromkeys(_NAMED.findall(rest)):
            name, pid = (victim[1], int(victim[2])) if victim else ("?", 0)
            kills.append(Kill(container, begin + float(stamp), name, pid, "CONSTRAINT_MEMCG" not in rest))
    first = _STAMP.search(text)
    return Log(
        tuple(kills), begin + float(first[1]) if first else None, "" if first else "the log has no times"
    )
