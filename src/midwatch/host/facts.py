"""Collects what detect.py judges, from this process: variables, processes above, cgroup, descriptors.

Everything is one small read; only on macOS a program is asked (ps, and launchctl when XPC_SERVICE_NAME names a job).
What cannot be seen is left empty: a missing fact can only make the verdict weaker. Must not judge.
"""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Mapping

from midwatch.host.detect import NEAR, Ancestor, Facts
from midwatch.machine.linux import files, procfs

ADDRESS_MOST = 107  # bytes of a Unix socket's address
ASK_PATIENCE = 2.0  # s that ps or launchctl may take
_MOST = 1 << 20
_MARKS = ("/.dockerenv", "/run/.containerenv")


def collect(environ: Mapping[str, str]) -> Facts:
    """The facts of this very process."""
    darwin = sys.platform == "darwin"
    label = environ.get("XPC_SERVICE_NAME", "").strip()
    job = job_numbers(_launchctl(label)) if darwin and "." in label else {}
    return Facts(
        pid=os.getpid(),
        environ=dict(environ),
        ancestors=_mac_ancestors() if darwin else _ancestors(os.getpid()),
        cgroup=leaf(files.read_or_none("/proc/self/cgroup") or b""),
        tty=os.isatty(0),
        streams=tuple(filter(None, (_identity(fd) for fd in (1, 2)))),
        notify=listening(environ.get("NOTIFY_SOCKET", "")),
        container=_container(environ),
        darwin=darwin,
        launchd_pid=job.get("pid"),
        launchd_timeout=job.get("exit timeout"),
    )


def listening(address: str) -> str:
    """The address when a datagram socket is bound there that we may write to, else nothing (SVC-7).

    A path or "@name"; connecting a datagram socket sends nothing.
    """
    if not address or address[0] not in "/@" or len(os.fsencode(address)) > ADDRESS_MOST or "\0" in address:
        return ""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            probe.connect("\0" + address[1:] if address[0] == "@" else address)
    except (OSError, ValueError):
        return ""
    return address


def leaf(data: bytes) -> str:
    """The last part of our cgroup's path: the unified hierarchy's, or that of systemd's own v1 hierarchy."""
    named = {}
    for line in data.decode("utf-8", "surrogateescape").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        named[controllers or number] = path.rpartition("/")[2]
    return named.get("name=systemd") or named.get("0", "")


def job_numbers(text: str) -> dict[str, int]:
    """The whole numbers in what `launchctl print` says about a job: its own lines, not what is nested in them."""
    found: dict[str, int] = {}
    depth = 0
    for line in text.splitlines():
        name, equals, value = line.strip().partition(" = ")
        if depth == 1 and equals and value.isascii() and value.isdigit() and len(value) < 19:
            found.setdefault(name, int(value))
        depth += line.rstrip().endswith("{") - (line.strip() == "}")
    return found


def _identity(fd: int) -> str:
    try:
        facts = os.fstat(fd)
    except OSError:
        return ""
    return f"{facts.st_dev}:{facts.st_ino}" if stat.S_ISSOCK(facts.st_mode) else ""


def _ancestors(pid: int) -> tuple[Ancestor, ...]:
    """Parent first. Ends at what is outside of our pid namespace."""
    found: list[Ancestor] = []
    while len(found) < NEAR:
        data = files.read_record(f"/proc/{pid}/stat")
        facts = procfs.stat(data) if data else None
        if facts is None or facts.ppid <= 0:
            break
        pid = facts.ppid
        name = procfs.comm(files.read_record(f"/proc/{pid}/stat") or b"")
        line = files.read_or_none(f"/proc/{pid}/cmdline") or b""
        words = tuple(os.fsdecode(word) for word in line[:_MOST].split(b"\0")[:8])
        found.append(Ancestor(pid, name, words))
    return tuple(found)


def _mac_ancestors() -> tuple[Ancestor, ...]:
    """The same by ps."""
    found: list[Ancestor] = []
    pid = os.getppid()
    while pid > 0 and len(found) < NEAR:
        row = _ask("/bin/ps", "-o", "ppid=,args=", "-p", str(pid)).split(None, 2)
        if not row or not row[0].isdigit():
            found.append(Ancestor(pid, ""))
            break
        words = tuple(" ".join(row[1:]).split()[:8])
        found.append(Ancestor(pid, words[0].rpartition("/")[2] if words else "", words))
        pid = int(row[0])
    return tuple(found)


def _launchctl(label: str) -> str:
    """What launchd says about a job of this name in our domain."""
    domain = "system" if os.geteuid() == 0 else f"gui/{os.geteuid()}"
    return _ask("/bin/launchctl", "print", f"{domain}/{label}")


def _ask(*argv: str) -> str:
    import subprocess

    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=ASK_PATIENCE, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[:_MOST].decode("utf-8", "replace")


def _container(environ: Mapping[str, str]) -> str:
    """What says that this is a container, in words."""
    for mark in _MARKS:
        if os.path.exists(mark):
            return f"{mark} exists"
    if environ.get("container"):
        return f"container={environ['container'][:20]}"
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return "KUBERNETES_SERVICE_HOST is set"
    return ""
