"""The table of a live Mac on packed layouts: rows, footprints, bounded arguments, what another user's shows."""

from __future__ import annotations

import struct

from midwatch.inspect.sources import Sources, macopen, macprocs
from midwatch.machine.macos.libproc import Libproc
from midwatch.model.look import Proc


def info(pid: int, ppid: int, device: int = 0) -> bytes:
    head = struct.pack("=12I", 0, 2, 0, pid, ppid, 501, 20, 501, 20, 501, 20, 0)
    names = b"claude".ljust(16, b"\0") + b"claude".ljust(32, b"\0")
    return head + names + struct.pack("=5Ii2Q", 12, pid, 0, device, 0, 0, 1_780_000_000, 5)


class Lib(Libproc):
    """libproc out of tables."""

    def __init__(self) -> None:
        super().__init__(library=object())
        self.rows = {5: info(5, 1, 0x10000003), 6: info(6, 5), 7: b""}

    def pids(self) -> list[int]:
        return list(self.rows)

    def bsdinfo(self, pid: int) -> bytes | None:
        return self.rows[pid] or None

    def rusage(self, pid: int) -> bytes | None:
        values = [0] * 64
        values[0], values[7] = 2 * 10**9, 9 << 20
        return bytes(16) + struct.pack("=64Q", *values) if pid == 5 else None

    def arguments(self, pid: int) -> bytes | None:
        words = [b"claude", b"--resume", b"x" * 9000, b"late"]
        strings = b"".join(word + b"\0" for word in words)
        return struct.pack("=i", len(words)) + b"/bin/claude\0\0\0" + strings if pid == 5 else None

    def timebase(self) -> bytes:
        return struct.pack("=2I", 1, 1)

    def descriptors(self, pid: int) -> bytes | None:
        return struct.pack("=6i", 0, 1, 1, 1, 2, 2) if pid == 5 else None

    def vnode_path(self, pid: int, fd: int) -> bytes | None:
        return bytes(176) + (b"/dev/ptmx" if fd else b"/h/s.db-wal").ljust(1024, b"\0")


def test_the_table_of_a_mac() -> None:
    """Footprint is exact for our own; another user's memory is absent, and how many is said; the dead are left out."""
    table = macprocs.table(Lib())
    assert set(table.procs) == {5, 6}
    mine, other = table.procs[5], table.procs[6]
    assert (mine.ppid, mine.uid, mine.name, mine.tty) == (1, 501, "claude", "ttys003")
    assert (mine.held, mine.quality, mine.cpu_s) == (9 << 20, "exact", 2.0)
    assert (mine.start, mine.started) == (1_780_000_000_000_005, 1_780_000_000.000005)
    assert mine.argv[:2] == ("claude", "--resume")
    assert sum(map(len, mine.argv)) <= 4096
    assert (other.held, other.quality, other.argv) == (None, "absent", ())
    assert table.hidden == (
        "memory and arguments of 1 processes of other users are not readable without root",
    )


def test_its_open_files() -> None:
    """By libproc: counts, terminals and write-ahead logs; lsof is never run on a live Mac (FDW-2)."""

    class Mac:
        recorded = False

        def run(self, argv: tuple[str, ...], seconds: float = 5.0) -> object:
            assert argv[0] == "launchctl"
            raise FileNotFoundError(2, "no", argv[0])

    mac: Sources = Mac()  # type: ignore[assignment]
    rows = list(macopen._asked(Lib(), [Proc(5, 1, 1, 5, 5, 501, "claude")], 1e18))
    assert rows == [(5, "/h/s.db-wal"), (5, "/dev/ptmx"), (5, "")]
    assert macopen.soft_limit(mac) is None
