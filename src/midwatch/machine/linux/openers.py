"""Who has a file open, of all processes that may be looked at; and is a path on a file system of another machine?

One walk through /proc/*/fd by name, so nothing here can hang on a dead file server. Processes of other users are only
seen by root. Must not judge. Tests: tests/machine/test_openers.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from midwatch.machine.linux import files, pidfd, procfs, who
from midwatch.machine.ports import Opener

# File systems whose locks or shared memory are another machine's, or the host's of a virtual machine.
_NAMES = (
    "nfs nfs4 cifs smb3 smbfs 9p virtiofs ceph lustre beegfs gpfs glusterfs afs ocfs2 gfs2 vboxsf prl_fs drvfs "
    "fakeowner osxfs grpcfuse fuse.sshfs fuse.glusterfs fuse.s3fs fuse.rclone fuse.gcsfuse fuse.grpcfuse fuse.osxfs "
    "fuse.vmhgfs-fuse fuse.mergerfs"
)
REMOTE = frozenset(_NAMES.split())


def openers(paths: Iterable[str]) -> dict[str, list[Opener]]:
    """See ports."""
    found: dict[str, list[Opener]] = {path: [] for path in paths}
    wanted: dict[str, str] = {}
    for path in found:
        real = os.path.realpath(path)
        wanted |= {real: path, f"{real} (deleted)": path}
    for entry in os.listdir("/proc"):
        if entry[0] not in "123456789":
            continue
        for path, handles in _handles(entry, wanted).items():
            if (one := _opener(int(entry), handles)) is not None:
                found[path].append(one)
    return {path: sorted(rows, key=lambda row: (-row.age, row.pid)) for path, rows in found.items()}


def _handles(entry: str, wanted: dict[str, str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    folder = f"/proc/{entry}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return counts
    for name in names:
        try:
            path = wanted.get(os.readlink(f"{folder}/{name}"))
        except OSError:
            continue
        if path is not None:
            counts[path] = counts.get(path, 0) + 1
    return counts


def _opener(pid: int, handles: int) -> Opener | None:
    stat = pidfd.look(pid)
    return None if stat is None or stat.dead else Opener(pid, who.age(stat.start), who.command(pid), handles)


def remote(path: str) -> str:
    """See ports."""
    kind = mounted(files.read_or_none("/proc/self/mountinfo") or b"", os.path.realpath(path))
    return kind if kind in REMOTE else ""


def mounted(mountinfo: bytes, path: str) -> str:
    """The type of the file system that an absolute path without links is on; "" unknown."""
    best, kind = "", ""
    for line in mountinfo.decode("utf-8", "surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        mine, other = left.split(), right.split()
        if len(mine) < 5 or not other:
            continue
        point = procfs.unescape(mine[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # the later one of two at the same place covers the other
            best, kind = point, other[0]
    return kind
