"""Reading processes from /proc, and ending exactly those that the benchmark started.

A process is a pid with its start time; nothing is signalled before that pair is checked through a pidfd.
Knows nothing of peers or measures. Linux only.
"""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Proc:
    """One process, safe against a recycled pid."""

    pid: int
    start: int


@dataclass(frozen=True)
class Memory:
    """Sums in bytes. RssAnon is the fair column: RSS and PSS depend on who else maps the same files."""

    rss: int = 0
    anon: int = 0
    pss: int = 0

    def __add__(self, other: Memory) -> Memory:
        return Memory(self.rss + other.rss, self.anon + other.anon, self.pss + other.pss)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command name: index 0 is field 3 (state)."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2 :].split()


def identify(pid: int) -> Proc | None:
    """The process that has this pid now; None when there is none, or only its zombie."""
    try:
        fields = _stat(pid)
    except (OSError, ValueError):
        return None
    return None if fields[0] in "ZX" else Proc(pid, int(fields[19]))


def alive(proc: Proc) -> bool:
    """Whether exactly this process still runs."""
    return identify(proc.pid) == proc


def command(pid: int) -> str:
    """The command line with blanks; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def tree(roots: list[int], without: set[int]) -> list[int]:
    """The roots and all their descendants, leaving out the subtrees of `without`."""
    children: dict[int, list[int]] = {}
    for pid in _all_pids():
        try:
            children.setdefault(int(_stat(pid)[1]), []).append(pid)
        except (OSError, ValueError):
            continue
    found: list[int] = []
    todo = list(roots)
    while todo:
        pid = todo.pop()
        if pid in without or pid in found or identify(pid) is None:
            continue
        found.append(pid)
        todo.extend(children.get(pid, ()))
    return found


def mentioning(text: str) -> list[int]:
    """Processes with `text` (a folder made for one session) in their command line, us excepted."""
    return [pid for pid in _all_pids() if pid != os.getpid() and text in command(pid)]


def other_pythons(own: list[int]) -> int:
    """How many Python processes beside `own` are alive: they share the interpreter's pages and lower PSS."""
    count = 0
    for pid in set(_all_pids()) - set(own):
        try:
            count += os.path.basename(os.readlink(f"/proc/{pid}/exe")).startswith("python")
        except OSError:
            continue
    return count


def memory(pid: int) -> Memory:
    """RSS, RssAnon and PSS of one process; zeros when it is gone."""
    want = {"VmRSS": 0, "RssAnon": 0, "Pss": 0}
    for name in ("status", "smaps_rollup"):
        try:
            lines = Path(f"/proc/{pid}/{name}").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            key, _, rest = line.partition(":")
            if key in want:
                want[key] = int(rest.split()[0]) * 1024
    return Memory(want["VmRSS"], want["RssAnon"], want["Pss"])


def rss(pids: list[int]) -> int:
    """Resident bytes of some processes, by the cheapest reading."""
    total = 0
    for pid in pids:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        except (OSError, IndexError):
            continue
    return total


def cpu_seconds(pid: int) -> float:
    """On-CPU time of a process: all its threads, ended ones too; plus reaped children (10 ms steps)."""
    try:
        own = time.clock_gettime_ns((~pid << 3) | 2) / 1e9  # as clock_getcpuclockid(3) makes it
        fields = _stat(pid)
    except (OSError, ValueError):
        return 0.0
    return own + (int(fields[13]) + int(fields[14])) / TICK


def send(proc: Proc, signum: int) -> bool:
    """Signal exactly this process; False when it is gone."""
    try:
        fd = os.pidfd_open(proc.pid)
    except OSError:
        return False
    try:
        if not alive(proc):
            return False
        signal.pidfd_send_signal(fd, signum)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def wait_gone(procs: list[Proc], seconds: float) -> list[Proc]:
    """Wait until they are gone, at most `seconds`; returns what is left. Our own children are reaped."""
    deadline = time.monotonic() + seconds
    left = list(procs)
    while left:
        for proc in left:
            reap(proc.pid)
        left = [proc for proc in left if alive(proc)]
        if not left or time.monotonic() >= deadline:
            break
        time.sleep(0.02)
    return left


def reap(pid: int) -> None:
    """Take the exit status of a direct child that ended; harmless for anything else."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except OSError:
        pass


def end(procs: list[Proc], grace: float) -> list[Proc]:
    """TERM, then KILL what is left after `grace` seconds; returns what survived even that."""
    for proc in procs:
        send(proc, signal.SIGTERM)
    left = wait_gone(procs, grace)
    for proc in left:
        send(proc, signal.SIGKILL)
    return wait_gone(left, 5.0)


def readable(pidfd: int, seconds: float) -> bool:
    """Whether the process behind a pidfd ended within `seconds`."""
    return bool(select.select([pidfd], [], [], seconds)[0])
