"""The table of processes of a live Linux machine, read from /proc as anybody may read it.

Four small files a process and nothing else (about 60 us), so 600 processes take 40 ms and 10,000 less than a second.
A process that vanishes between two reads is left out or keeps what was read; one that may not be read is counted, and
the table says so. Whatever a program calls itself, and however long its arguments are, it is one bounded row. Must not
judge a process. `proc` may be a folder that looks like /proc. Tests: tests/inspect/test_procs.py.
"""

from __future__ import annotations

import os
import time
from typing import Any

from midwatch.inspect.sources import Table
from midwatch.machine.linux import files, procfs
from midwatch.machine.linux.counters import Counters
from midwatch.model.look import Proc
from midwatch.model.sample import Quality

ARGV_BYTES = 4096  # of one process's arguments: what follows is prompts and lists of files
_TICKS = os.sysconf("SC_CLK_TCK")
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD in field 9 of stat
_PTS, _TTY, _TTYS = range(136, 144), 4, 64  # device majors; tty and ttyS share one


def table(
    proc: str = "/proc", counters: Counters | None = None, found: dict[int, Proc] | None = None
) -> Table:
    """Everybody who can be seen now; `found` is filled as it goes, for who cannot wait until the end."""
    counters = counters or Counters(procfs.kernel_version(os.uname().release))
    at = time.time()
    booted = at - time.clock_gettime(time.CLOCK_BOOTTIME)
    found = {} if found is None else found
    denied = 0
    for pid in _pids(proc):
        try:
            row = one(proc, pid, booted, counters)
        except PermissionError:
            denied += 1
            continue
        except OSError:
            continue  # it has ended
        if row is not None:
            found[pid] = row
    return Table(found, at, _hidden(proc, found, denied))


def _pids(proc: str) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(proc) if name.isdigit())
    except OSError:
        return []


def one(proc: str, pid: int, booted: float, counters: Counters) -> Proc | None:
    """One process; None when its row is torn. Raises OSError."""
    folder = f"{proc}/{pid}"
    data = files.read(f"{folder}/stat", 4096)
    end = data.rfind(b")")
    fields = data[end + 2 :].split(None, 20)
    try:
        ppid, pgid, sid, device, flags = (int(fields[at]) for at in (1, 2, 3, 4, 6))
        ticks, threads, start = int(fields[11]) + int(fields[12]), int(fields[17]), int(fields[19])
    except (ValueError, IndexError):
        return None
    known: dict[str, Any] = {
        "pid": pid, "start": start, "ppid": ppid, "pgid": pgid, "sid": sid, "name": procfs.comm(data),
        "started": booted + start / _TICKS, "state": fields[0].decode("ascii", "replace"), "tty": _terminal(device),
        "cpu_s": ticks / _TICKS, "threads": threads,
    }  # fmt: skip
    if flags & _KERNEL_THREAD:
        return Proc(uid=0, held=0, quality="exact", rss=0, **known)
    status = _maybe(f"{folder}/status")
    held, quality, rss = memory(status, threads, counters)
    return Proc(
        uid=_uid(status, folder),
        argv=arguments(_maybe(f"{folder}/cmdline", ARGV_BYTES)),
        held=held,
        quality=quality,
        rss=rss,
        cgroup=leaf(_maybe(f"{folder}/cgroup")),
        **known,
    )


def memory(status: bytes, threads: int, counters: Counters) -> tuple[int | None, Quality, int | None]:
    """(held, its quality, resident) of /proc/PID/status. No VmRSS at all: a zombie, it holds nothing."""
    if not status:
        return None, "absent", None
    rss = procfs.kib(status, b"\nVmRSS:")
    if rss is None:
        return 0, "exact", 0
    held = procfs.held(status).total
    if held is None:
        return rss, "upper-bound", rss  # Linux before 4.5 does not tell files from memory
    return held, counters.quality(threads)[0], rss


def arguments(data: bytes) -> tuple[str, ...]:
    """The words of /proc/PID/cmdline; a program that wrote a title over them has one word."""
    if not data:
        return ()
    words = data.rstrip(b"\0").split(b"\0")
    return tuple(word.decode("utf-8", "backslashreplace") for word in words)


def leaf(data: bytes) -> str:
    """The path of its cgroup: the unified one, else systemd's, else the memory controller's."""
    groups = procfs.own_cgroups(data)
    for name in ("", "name=systemd", "memory", "pids"):
        path = groups.get(name, "")
        if path not in {"", "/"}:
            return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return ""


def _terminal(device: int) -> str:
    major, minor = (device >> 8) & 0xFFF, (device & 0xFF) | ((device >> 12) & 0xFFF00)
    if major in _PTS:
        return f"pts/{minor + 256 * (major - _PTS.start)}"
    if major == _TTY:
        return f"tty{minor}" if minor < _TTYS else f"ttyS{minor - _TTYS}"
    return f"device {major}:{minor}" if device else ""


def _uid(status: bytes, folder: str) -> int:
    at = status.find(b"\nUid:")
    words = status[at + 5 : status.find(b"\n", at + 1)].split() if at >= 0 else []
    if len(words) > 1 and words[1].isdigit():
        return int(words[1])  # the effective one
    try:
        return os.stat(folder).st_uid
    except OSError:
        return -1


def _maybe(path: str, most: int = 1 << 16) -> bytes:
    try:
        return files.read(path, most)
    except OSError:
        return b""


def _hidden(proc: str, found: dict[int, Proc], denied: int) -> tuple[str, ...]:
    said = []
    if not found:
        said.append(f"{proc} is not readable: no process can be seen")
    if denied:
        said.append(f"{denied} processes may not be read (permission denied): run as their user or as root")
    if found and 1 not in found and not denied:
        said.append("/proc hides other users' processes (hidepid): run as root to see them")
    return tuple(said)
