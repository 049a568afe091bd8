"""The machine's memory: MemAvailable, swap, pressure, and the limit that really holds for us.

/proc/meminfo and /proc/pressure/memory stay open (5 and 2 us). The limit is the smallest of MemTotal, our own cgroup
and all its ancestors that we can see: MemTotal alone is never the basis. In a container meminfo and pressure are the
whole host's, unless something like lxcfs stands in front of them, and the sample says which. Must not judge. Tests:
tests/machine/test_hostmem.py.
"""

from __future__ import annotations

import os

from midwatch.machine.linux import files, group, procfs
from midwatch.machine.linux.cgroup import own_group
from midwatch.machine.linux.handle import Budget
from midwatch.model.sample import HostSample

STALL_US, WINDOW_US = 200_000, 2_000_000  # without CAP_SYS_RESOURCE the window must be a multiple of 2 s
BASIS = 10.0  # seconds a limit is believed
_SMALL = 8192


class HostMemory:
    """What `host_sample`, `memory_basis` and `pressure` are made of. `proc` is /proc, or a recorded one in tests."""

    def __init__(self, proc: str = "/proc") -> None:
        """Opens the two files."""
        self._proc = proc
        self._meminfo = _open(f"{proc}/meminfo")
        self._psi = _open(f"{proc}/pressure/memory")
        self._own = _own_groups(proc)
        self._container = _device(f"{proc}/meminfo") != _device(proc)
        self._basis: tuple[int, str] = (0, "")
        self._limiting: group.Group | None = None
        self._basis_due = -1.0

    def sample(self, now: float) -> HostSample:
        """One look, about 15 us."""
        data = _read(self._meminfo)
        some, full = pressure_shares(_read(self._psi))
        limit, source = self._known_basis(now)
        used = self._limiting.read(now)[0] if self._limiting else None
        return HostSample(
            now, procfs.kib(data, b"MemTotal:"), procfs.kib(data, b"\nMemAvailable:"),
            procfs.kib(data, b"\nSwapTotal:"), procfs.kib(data, b"\nSwapFree:"),
            some, full, "container" if self._container else "host", limit or None, source, used,
        )  # fmt: skip

    def basis(self) -> tuple[int, str]:
        """The limit and where it comes from, found out anew."""
        total = procfs.kib(_read(self._meminfo), b"MemTotal:")
        where = "MemTotal of the container" if self._container else "MemTotal of the host"
        best, source, limiting = total or 0, where if total else "not readable", ""
        for path in self._own:
            value, name = _limit(path)
            if value is not None and (total is None or value < total) and (best == 0 or value < best):
                best, source, limiting = value, f"cgroup-limited: {path}/{name}", path
        self._watch(limiting)
        return best, source

    def _watch(self, path: str) -> None:
        """From now on this group's use is told beside its limit."""
        if self._limiting is not None:
            if self._limiting.directory == path:
                return
            self._limiting.close()
        self._limiting = group.Group(path, Budget(1)) if path else None

    def _known_basis(self, now: float) -> tuple[int, str]:
        if now >= self._basis_due:
            self._basis, self._basis_due = self.basis(), now + BASIS
        return self._basis

    def trigger(self, windows: tuple[int, ...] = (WINDOW_US,), stall_us: int = STALL_US) -> int | None:
        """A descriptor that polls POLLPRI when tasks stalled `stall_us` within a window, the first that the kernel
        accepts. None: no pressure here, or not for us: poll `sample` instead.
        """
        for window in windows:
            fd = _open(f"{self._proc}/pressure/memory", os.O_RDWR | os.O_NONBLOCK)
            if fd is None:
                return None
            try:
                os.write(fd, b"some %d %d\0" % (stall_us, window))
                return fd
            except OSError:  # EINVAL: this window needs a privilege; EOPNOTSUPP: psi=0
                os.close(fd)
        return None


def pressure_shares(data: bytes) -> tuple[float | None, float | None]:
    """(some, full) of the last 10 s in per cent from a pressure file."""
    return _avg10(data, b"some avg10="), _avg10(data, b"full avg10=")


def _avg10(data: bytes, key: bytes) -> float | None:
    at = data.find(key)
    end = data.find(b" ", at + len(key))
    if at < 0 or end < 0:
        return None
    try:
        return float(data[at + len(key) : end])
    except ValueError:
        return None


def _limit(path: str) -> tuple[int | None, str]:
    """The limit of one group: memory.max, or v1's limit over its whole ancestry."""
    data = (files.read_record(f"{path}/memory.max") or b"").strip()
    if data:
        return (int(data) if data.isdigit() else None), "memory.max"  # "max": none
    stat = files.read_or_none(f"{path}/memory.stat") or b""
    value = procfs.number(stat, b"hierarchical_memory_limit ")
    if value is not None:
        return value, "hierarchical_memory_limit"
    data = (files.read_record(f"{path}/memory.limit_in_bytes") or b"").strip()
    return (int(data) if data.isdigit() else None), "memory.limit_in_bytes"


def _own_groups(proc: str) -> tuple[str, ...]:
    """Our own memory groups and every ancestor up to the mount point, nearest first."""
    mounts = procfs.cgroup_mounts(files.read_or_none(f"{proc}/self/mountinfo") or b"")
    own = procfs.own_cgroups(files.read_or_none(f"{proc}/self/cgroup") or b"")
    found: list[str] = []
    for controller in ("", "memory"):
        path = own_group(mounts, own, controller)
        top = mounts[controller][0].rstrip("/") if path else ""
        while path and path.startswith(top):
            found.append(path)
            if path == top:
                break
            path = os.path.dirname(path)
    return tuple(found)


def _open(path: str, flags: int = os.O_RDONLY) -> int | None:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError:
        return None


def _read(fd: int | None) -> bytes:
    try:
        return os.pread(fd, _SMALL, 0) if fd is not None else b""
    except OSError:
        return b""


def _device(path: str) -> int:
    try:
        return os.stat(path).st_dev
    except OSError:
        return -1
