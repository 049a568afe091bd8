"""Open descriptors by kind (the list of FDW-3): what /proc/PID/fd says, without touching what it points to.

Nothing here can hang on a dead file server: a path is stat'ed only on a file system of this machine (mountinfo says
which), else the flags of the descriptor must do. Sockets get their state and queues from the process's own network
namespace. Must not judge a number. Tests: tests/machine/test_fds.py.
"""

from __future__ import annotations

import os
import stat
import time

import msgspec

from midwatch.machine.linux import files, procfs
from midwatch.machine.linux.procfs import TcpSocket

KINDS = (
    "sqlite-main", "sqlite-wal", "sqlite-shm", "sqlite-journal", "regular", "deleted file", "dir", "pipe",
    "unix socket", "tcp listen", "tcp established", "tcp close-wait", "tcp other", "udp", "socket", "pty", "device",
    "eventpoll", "inotify", "eventfd", "timerfd", "signalfd", "pidfd", "memfd", "other",
)  # fmt: skip
MOST = 100_000  # descriptors of one process

_TCP = {1: "tcp established", 8: "tcp close-wait", procfs.LISTEN: "tcp listen"}
_STATES = (
    "?", "established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2", "time-wait", "close", "close-wait",
    "last-ack", "listen", "closing", "new-syn-recv", "bound",
)  # fmt: skip
_ANONYMOUS = {"eventpoll", "inotify", "eventfd", "timerfd", "signalfd", "pidfd"}
_SIDES = (("-wal", "sqlite-wal"), ("-shm", "sqlite-shm"), ("-journal", "sqlite-journal"))
_DATABASES = (".db", ".db3", ".sqlite", ".sqlite3", ".s3db")
_GONE = " (deleted)"
_O_DIRECTORY = 0o200000 if os.uname().machine != "aarch64" else 0o40000
_LOCAL = frozenset(
    b"ext2 ext3 ext4 xfs btrfs tmpfs ramfs overlay devtmpfs devpts proc sysfs cgroup cgroup2 zfs f2fs vfat squashfs "
    b"rootfs mqueue hugetlbfs pipefs".split()
)


class Socket(msgspec.Struct, frozen=True, gc=False):
    """One socket of a process. `receive`: bytes it has not read, of a listener the connections not accepted;
    `send`: bytes its peer has not taken.
    """

    kind: str
    state: str = ""
    local: str = ""
    peer: str = ""
    receive: int = 0
    send: int = 0


class Fd(msgspec.Struct, frozen=True, gc=False):
    """One open descriptor. `target` is the kernel's name for it, raw; `db` the database a SQLite file belongs to."""

    fd: int
    kind: str
    target: str
    db: str = ""
    socket: Socket | None = None


class Table(msgspec.Struct, frozen=True):
    """The descriptors of a process at (nearly) one moment. `why`: what is left out, "" nothing."""

    fds: list[Fd]
    why: str = ""

    def kinds(self) -> dict[str, int]:
        """How many of each kind, in the order of KINDS, without the empty ones."""
        counts = dict.fromkeys(KINDS, 0)
        for fd in self.fds:
            counts[fd.kind] += 1
        return {kind: count for kind, count in counts.items() if count}

    def targets(self) -> list[tuple[str, str, int]]:
        """(target, kind, count), the most frequent first. Sockets count by where they lead, pipes by themselves."""
        counts: dict[tuple[str, str], int] = {}
        for fd in self.fds:
            name = fd.target if fd.socket is None else f"{fd.socket.local} -> {fd.socket.peer}"
            if fd.socket is not None and fd.socket.state == "listen":
                name = fd.socket.local
            key = (name, fd.kind)
            counts[key] = counts.get(key, 0) + 1
        most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return [(target, kind, count) for (target, kind), count in most]


class Sockets:
    """Socket tables, read once for each network namespace."""

    def __init__(self) -> None:
        self._known: dict[str, dict[int, Socket]] = {}

    def of(self, pid: int) -> dict[int, Socket]:
        """inode -> socket, as this process's namespace shows them."""
        try:
            space = os.readlink(f"/proc/{pid}/ns/net")
        except OSError:
            space = f"of {pid}"
        if space not in self._known:
            self._known[space] = _table(f"/proc/{pid}/net")
        return self._known[space]


def _table(folder: str) -> dict[int, Socket]:
    found: dict[int, Socket] = {}
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for row in procfs.tcp(files.read_or_none(f"{folder}/{name}") or b""):
            found[row.inode] = _internet(row, name)
    for line in (files.read_or_none(f"{folder}/unix") or b"").splitlines()[1:]:
        fields = line.split(None, 7)
        if len(fields) >= 7 and fields[6].isdigit():
            path = fields[7].decode("utf-8", "backslashreplace") if len(fields) > 7 else ""
            state = "listen" if fields[3] == b"00010000" else ""
            found[int(fields[6])] = Socket("unix socket", state, path)
    found.pop(0, None)  # connections that nobody has accepted yet
    return found


def _internet(row: TcpSocket, name: str) -> Socket:
    from midwatch.machine.linux.sockets import shown  # sockets.py needs nothing of this file at import time

    peer = shown(row.peer, row.peer_port) if row.peer else ""
    kind = "udp" if name.startswith("udp") else _TCP.get(row.state, "tcp other")
    state = "" if kind == "udp" else _STATES[row.state] if row.state < len(_STATES) else "?"
    return Socket(kind, state, shown(row.address, row.port), peer, row.waiting, row.backlog or 0)


def table(pid: int, sockets: Sockets, until: float) -> Table | None:
    """The descriptors of a process; None when they may not be looked at or it is gone. Ends at awake time `until`."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return None
    local = _local_mounts(pid)
    seen: list[tuple[int, str]] = []
    why = f"only {MOST} of {len(names)} descriptors" if len(names) > MOST else ""
    for name in names[:MOST]:
        if not len(seen) % 256 and time.monotonic() > until:
            why = f"only {len(seen)} of {len(names)} descriptors: out of time"
            break
        try:
            seen.append((int(name), os.readlink(f"{folder}/{name}")))
        except OSError:
            continue
    by_inode = sockets.of(pid) if any(target.startswith("socket:[") for _, target in seen) else {}
    bases = databases({target for _, target in seen})
    fds: list[Fd] = []
    for number, target in sorted(seen):
        known = by_inode.get(int(target[8:-1])) if target.startswith("socket:[") else None
        kind, db = classify(target, bases)
        if known is not None:
            kind = known.kind
        elif kind == "regular" and time.monotonic() < until:
            kind = _file_kind(pid, number, local)
        fds.append(Fd(number, kind, target, db, known))
    return Table(fds, why)


def databases(targets: set[str]) -> set[str]:
    """SQLite databases whatever their names: -wal and -shm are open, or it is open itself beside its -journal."""
    wal, shm, journal = ({t.removesuffix(side) for t in targets if t.endswith(side)} for side, _ in _SIDES)
    return (wal & shm) | (journal & targets)


def classify(target: str, bases: set[str]) -> tuple[str, str]:
    """(kind, database) from the name alone. `bases`: what `databases` found in the same process."""
    if not target.startswith("/"):
        return _nameless(target), ""
    if target.startswith("/memfd:"):
        return "memfd", ""
    path = target.removesuffix(_GONE)
    db = next((path[: -len(side)] for side, _ in _SIDES if path.endswith(side)), "")
    db = db if db.lower().endswith(_DATABASES) or db in bases else ""
    if path != target:
        return "deleted file", db or (path if path.lower().endswith(_DATABASES) else "")
    if db:
        return next(kind for side, kind in _SIDES if path.endswith(side)), db
    if target.lower().endswith(_DATABASES) or target in bases:
        return "sqlite-main", target
    if target.startswith(("/dev/pts/", "/dev/ptmx", "/dev/tty", "/dev/pty")):
        return "pty", ""
    return ("device" if target.startswith("/dev/") and not target.startswith("/dev/shm/") else "regular"), ""


def _nameless(target: str) -> str:
    """pipe:[N], socket:[N], anon_inode:[eventpoll], anon_inode:inotify, pidfd:[N], net:[N] ..."""
    head, _, rest = target.partition(":")
    if head in ("pipe", "socket"):
        return head
    name = rest.strip("[]") if head == "anon_inode" else head
    return name if name in _ANONYMOUS else "other"


def _file_kind(pid: int, fd: int, local: set[int]) -> str:
    """regular, dir, pipe (a FIFO with a name), device: by stat where that cannot hang."""
    info = files.read_record(f"/proc/{pid}/fdinfo/{fd}") or b""
    mount, flags = _number(info, b"mnt_id:", 10), _number(info, b"flags:", 8)
    if flags is not None and flags & _O_DIRECTORY:
        return "dir"
    if mount not in local:
        return "regular"
    try:
        mode = os.stat(f"/proc/{pid}/fd/{fd}").st_mode
    except OSError:
        return "regular"
    if stat.S_ISDIR(mode):
        return "dir"
    if stat.S_ISFIFO(mode):
        return "pipe"
    return "device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "regular"


def _number(data: bytes, key: bytes, base: int) -> int | None:
    for line in data.splitlines():
        if line.startswith(key):
            try:
                return int(line[len(key) :], base)
            except ValueError:
                return None
    return None


def _local_mounts(pid: int) -> set[int]:
    """The mounts of a process whose files are on this machine."""
    found: set[int] = set()
    for line in (files.read_or_none(f"/proc/{pid}/mountinfo") or b"").splitlines():
        left, _, right = line.partition(b" - ")
        number, kind = left.split(None, 1)[0], right.split(None, 1)[:1]
        if kind and kind[0] in _LOCAL and number.isdigit():
            found.add(int(number))
    return found


def watches(pid: int, fd: int) -> int:
    """How many things an inotify descriptor watches."""
    return (files.read_or_none(f"/proc/{pid}/fdinfo/{fd}") or b"").count(b"inotify wd:")
