"""The macOS adapter on the documented layouts of libproc: no Mac was there, so the bytes are packed by hand."""

from __future__ import annotations

import os
import signal
import socket
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.machine.macos import structs
from midwatch.machine.macos.adapter import MacMachine
from midwatch.machine.macos.libproc import Libproc
from midwatch.machine.ports import Containment, LaunchProblem, Tree
from midwatch.model.identity import ProcId


def bsdinfo(pid: int, ppid: int, pgid: int, start: tuple[int, int], status: int = 2) -> bytes:
    head = struct.pack("=12I", 0, status, 0, pid, ppid, 501, 20, 501, 20, 501, 20, 0)
    names = b"a) name".ljust(16, b"\0") + b"a longer name".ljust(32, b"\0")
    return head + names + struct.pack("=5Ii2Q", 12, pgid, 0, 0, 0, 0, *start)


def procargs(argv: list[bytes], env: list[bytes]) -> bytes:
    strings = b"".join(text + b"\0" for text in [*argv, *env])
    return struct.pack("=i", len(argv)) + b"/bin/x\0\0\0\0" + strings + b"\0ptr_munge=\0"


def rusage(footprint: int, most: int) -> bytes:
    values = list(range(1000, 1064))
    values[7], values[28] = footprint, most
    return bytes(range(16)) + struct.pack("=64Q", *values)


def listening(port: int, family: int) -> bytes:
    data = bytearray(structs.SOCKETINFO_SIZE)
    struct.pack_into("=i", data, 256, 2)
    struct.pack_into("=i", data, 268, socket.htons(port))
    data[288] = 1 if family == 4 else 2
    data[312:328] = b"\0" * 12 + b"\x7f\0\0\1" if family == 4 else b"\0" * 15 + b"\1"
    struct.pack_into("=i", data, 344, 1)
    return bytes(data)


class FakeLib(Libproc):
    """libproc answering from tables."""

    def __init__(self) -> None:
        super().__init__(library=object())
        self.table: dict[int, bytes] = {}
        self.args: dict[int, bytes] = {}

    def pids(self) -> list[int]:
        return list(self.table)

    def bsdinfo(self, pid: int) -> bytes | None:
        return self.table.get(pid)

    def arguments(self, pid: int) -> bytes | None:
        return self.args.get(pid)

    def rusage(self, pid: int) -> bytes | None:
        return rusage(pid * 100, 0) if pid in self.table else None

    def descriptors(self, pid: int) -> bytes | None:
        return struct.pack("=iIiI", 0, 1, 5, structs.FDTYPE_SOCKET) if pid in self.table else None

    def socket(self, pid: int, fd: int) -> bytes | None:
        return listening(8080, 4)

    def boot_session(self) -> str:
        return "BOOT"


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> tuple[MacMachine, FakeLib, Tree]:
    """Keeper 10 with main 50 (session 50), its child 51, and an orphan 60 below launchd with our marker."""
    lib = FakeLib()
    for pid, ppid, pgid in ((1, 0, 1), (10, 1, 10), (50, 10, 50), (51, 50, 50), (60, 1, 60), (70, 1, 70)):
        lib.table[pid] = bsdinfo(pid, ppid, pgid, (1000, pid))
    ours, other = [b"A=1", b"MIDWATCH_RUN=p.x.1"], [b"MIDWATCH_RUN=p.x.10"]
    lib.args = {pid: procargs([b"x"], ours) for pid in (50, 51, 60)} | {70: procargs([b"x"], other)}
    monkeypatch.setattr(os, "getsid", lambda pid: 50 if pid in (50, 51) else pid)
    machine = MacMachine("i", 10, lib)
    main = machine.identify(50)
    assert main
    return machine, lib, Tree("p.x.1", main, "p.x.1", Containment(), 10)


def test_bsdinfo_layout() -> None:
    """struct proc_bsdinfo is 136 bytes; identity is pid and start in microseconds."""
    data = bsdinfo(77, 1, 70, (1_700_000_000, 123456))
    assert len(data) == structs.BSDINFO_SIZE
    stat = structs.bsdinfo(data, session=70)
    assert stat
    assert (stat.pid, stat.ppid, stat.pgrp, stat.session) == (77, 1, 70, 70)
    assert stat.start == 1_700_000_000_123456
    assert not stat.dead
    zombie = structs.bsdinfo(bsdinfo(1, 1, 1, (1, 1), status=5))
    assert zombie
    assert zombie.dead


def test_footprint_is_index_7_after_the_uuid() -> None:
    """phys_footprint and its lifetime maximum; a short buffer is absent."""
    assert structs.footprint(rusage(23 << 30, 24 << 30)) == structs.Footprint(23 << 30, 24 << 30)
    assert structs.footprint(rusage(1, 2)[:100]) is None


def test_the_environment_after_the_arguments() -> None:
    """An argument that looks like the marker is none; Apple's own strings are not environment."""
    data = procargs([b"x", b"MIDWATCH_RUN=forged"], [b"A=1", b"MIDWATCH_RUN=p.x.1/q.y.2"])
    assert structs.marker(data) == "p.x.1/q.y.2"
    assert structs.marker(procargs([b"MIDWATCH_RUN=forged"], [b"A=1"])) is None
    assert structs.environment(b"") == []


@given(st.binary(max_size=600))
def test_no_bytes_make_a_parser_raise(data: bytes) -> None:
    """Torn buffers give nothing."""
    structs.bsdinfo(data)
    structs.footprint(data)
    structs.marker(data)
    structs.descriptors(data)
    structs.listening(data)


@pytest.mark.parametrize(("family", "address"), [(4, b"\x7f\0\0\1"), (6, b"\0" * 15 + b"\1")])
def test_listening_sockets(family: int, address: bytes) -> None:
    """struct socket_fdinfo: kind TCP, state LISTEN, port in network order."""
    assert structs.listening(listening(8080, family)) == structs.Listening(address, 8080)
    closed = bytearray(listening(8080, family))
    struct.pack_into("=i", closed, 344, 4)
    assert structs.listening(bytes(closed)) is None


def test_members_by_descent_session_and_marker(mac: Any) -> None:
    """No subreaper: the orphan below launchd is found by its marker, another run's is not."""
    machine, lib, tree = mac
    assert [proc.pid for proc in machine.members(tree)] == [50, 51, 60]
    del lib.table[50], lib.table[51]
    assert [proc.pid for proc in machine.members(tree)] == [60]


def test_a_recycled_pid_is_never_signalled(mac: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start time is read before each signal."""
    machine, lib, tree = mac
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, signum: sent.append((pid, signum)))
    assert machine.signal(tree.main, signal.SIGTERM)
    lib.table[50] = bsdinfo(50, 1, 50, (2000, 1))
    assert not machine.signal(tree.main, signal.SIGTERM)
    assert not machine.signal(ProcId(51, 1000 * 10**6 + 51, "other boot"), signal.SIGTERM)
    assert sent == [(50, signal.SIGTERM)]


def test_end_kills_everybody_and_claims_no_more_than_it_knows(
    mac: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verified by tree while the keeper is there; without a keeper by marker, or not provable."""
    machine, lib, tree = mac

    def kill(pid: int, signum: int) -> None:
        if signum == signal.SIGKILL:
            lib.table.pop(pid, None)

    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(os, "killpg", lambda group, signum: None)
    monkeypatch.setattr("midwatch.machine.macos.libproc.wait_exits", lambda pids, seconds: None)
    ended = machine.end(tree, 0, 5)
    assert (ended.ended, ended.left) == (3, ())
    assert ended.verified_by in ("marker", "not provable")


def test_readings(mac: Any) -> None:
    """Footprint of one is exact, of a tree an upper bound; descriptors are counted; a listener is found."""
    machine, _, tree = mac
    assert machine.held_one(50) == machine.held_one(50)
    assert (machine.held_one(50).value, machine.held_one(50).quality) == (5000, "exact")
    assert (machine.held(tree).value, machine.held(tree).quality) == (16100, "upper-bound")
    assert machine.held_one(99).quality == "absent"
    assert machine.open_fds(50) == (2, None)
    assert machine.listener_in_tree(tree, "127.0.0.1", 8080) is True
    assert machine.listener_in_tree(tree, "127.0.0.1", 8081) is None


def test_what_macos_lacks_is_said(mac: Any, launch: Any) -> None:
    """No cgroups: demanded is an error, else why_not; limits are warnings; programs are Mach-O or scripts."""
    machine, _, _ = mac
    assert machine.contain("p.x.1", launch()).why_not
    with pytest.raises(OSError, match="no cgroups"):
        machine.contain("p.x.1", launch(contain="cgroup"))
    assert len(machine.prepare(os.getpid(), launch(rlimits={"nofile": (1, 1)}, oom_score_adj=1))) == 2
    found = machine.lookup(launch(argv=("/bin/sh",)))
    assert isinstance(found, LaunchProblem)  # an ELF file is no program there
    assert machine.host().rungs["subreaper"] != "yes"
