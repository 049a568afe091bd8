"""What this Linux can do: found out once, shown by `ps` and `check`, and a refusal where we cannot run at
all.

Each rung of the ladder is "yes" or the reason why not. Must not try anything that changes the machine.
"""

from __future__ import annotations

import os

from midwatch.machine.linux import files, procfs
from midwatch.machine.linux.cgroup import Cgroups
from midwatch.machine.linux.counters import Counters
from midwatch.machine.ports import Host

_CAP_SYS_PTRACE = 19
OLDEST = (5, 3)  # pidfd_open; with 5.1's pidfd_send_signal the two on which every exit and signal rests


def boot_id() -> str:
    """The kernel's boot id, "" where /proc does not say."""
    return (files.read_or_none("/proc/sys/kernel/random/boot_id") or b"").decode("ascii", "replace").strip()


def probe(cgroups: Cgroups, boot: str) -> Host:
    """Look at everything once."""
    release = os.uname().release
    version = procfs.kernel_version(release)
    pidfd = _pidfd()
    refusal = None
    if not os.path.exists("/proc/self/stat"):
        refusal = "midwatch needs /proc: mount it (mount -t proc proc /proc) and try again"
    elif version < OLDEST or pidfd != "yes":
        lacks = "pidfd_open (Linux 5.3)" if version < OLDEST else f"pidfd_open ({pidfd})"
        refusal = f"midwatch cannot run on this kernel ({release}): it lacks {lacks}; use Linux 5.3 or newer"
    rungs = {
        "pidfd": pidfd,
        "cgroup": cgroups.kill_why or "yes",
        "cgroup.kill": cgroups.kill_why
        or ("yes" if version >= (5, 14) else "needs Linux 5.14; freeze and KILL instead"),
        "memory limit": cgroups.memory_why or "yes",
        "oom evidence": "yes"
        if os.access("/dev/kmsg", os.R_OK) or not cgroups.memory_why
        else "/dev/kmsg not readable",
        "pressure": "yes"
        if files.read_record("/proc/pressure/memory")
        else "/proc/pressure is not there (boot with psi=1)",
        "subreaper": "yes",
        "exit of adopted runs": "yes"
        if version >= (6, 15)
        else "only while the zombie is there (Linux < 6.15)",
        "tracing": tracing(),
        "memory counters": Counters(version).quality(None)[1] or "yes",
    }
    return Host(release, boot, refusal, rungs)


def tracing() -> str:
    """May we look into another process of ours? Yama's word on it; a process may also have forbidden it itself."""
    scope = (files.read_record("/proc/sys/kernel/yama/ptrace_scope") or b"0").strip()
    if scope == b"0" or (scope in (b"1", b"2") and _capable(_CAP_SYS_PTRACE)):
        return "yes"
    if scope == b"1":
        return "only of services with trace = true (kernel.yama.ptrace_scope = 1)"
    return f"not permitted (kernel.yama.ptrace_scope = {scope.decode('ascii', 'replace')})"


def _capable(number: int) -> bool:
    status = files.read_or_none("/proc/self/status") or b""
    words = status.partition(b"\nCapEff:")[2].split(None, 1)
    return bool(words and int(words[0], 16) & 1 << number)


def _pidfd() -> str:
    if not hasattr(os, "pidfd_open"):
        return "this Python has no os.pidfd_open"
    try:
        os.close(os.pidfd_open(os.getpid()))
        return "yes"
    except OSError as error:
        return error.strerror or "refused"
