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


def listening(port: int, family: int, queue: tuple[int, int, int] = (5, 2, 128)) -> bytes:
    data = bytearray(structs.SOCKETINFO_SIZE)
    struct.pack_into("=Q", data, 168, 0xFFFFFF80_00000001)
    struct.pack_into("=3h", data, 194, *queue)
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
        self.servers = {50, 51}
        self.paths: dict[int, bytes] = {}
        self.usages: dict[int, bytes] = {}
        self.sysctls: dict[str, bytes] = {
            "hw.memsize": struct.pack("=Q", 16 << 30),
            "kern.memorystatus_level": struct.pack("=i", 25),
            "kern.memorystatus_vm_pressure_level": struct.pack("=i", 2),
            "vm.swapusage": struct.pack("=3QIi", 4 << 30, 1 << 30, 3 << 30, 16384, 1),
        }

    def pids(self) -> list[int]:
        return list(self.table)

    def bsdinfo(self, pid: int) -> bytes | None:
        return self.table.get(pid)

    def arguments(self, pid: int) -> bytes | None:
        return self.args.get(pid)

    def rusage(self, pid: int) -> bytes | None:
        return self.usages.get(pid, rusage(pid * 100, 0)) if pid in self.table else None

    def descriptors(self, pid: int) -> bytes | None:
        return struct.pack("=iIiI", 0, 1, 5, structs.FDTYPE_SOCKET) if pid in self.table else None

    def socket(self, pid: int, fd: int) -> bytes | None:
        return listening(8080, 4) if pid in self.servers else None

    def vnode_path(self, pid: int, fd: int) -> bytes | None:
        return bytes(176) + self.paths.get(pid, b"").ljust(1024, b"\0")

    def boot_session(self) -> str:
        return "BOOT"

    def named(self, name: str, size: int) -> bytes | None:
        return self.sysctls.get(name)

    def timebase(self) -> bytes:
        return struct.pack("=2I", 125, 3)


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
    structs.usage(data)
    structs.swap(data)
    structs.timebase(data)
    structs.integer(data)
    structs.marker(data)
    structs.descriptors(data)
    structs.listening(data)


@pytest.mark.parametrize(("family", "address"), [(4, b"\x7f\0\0\1"), (6, b"\0" * 15 + b"\1")])
def test_listening_sockets(family: int, address: bytes) -> None:
    """struct socket_fdinfo: kind TCP, state LISTEN, port in network order."""
    told = structs.listening(listening(8080, family))
    assert told == structs.Listening(address, 8080, 3, 128, 0xFFFFFF80_00000001)
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


def test_listeners_are_one_socket_for_those_who_share_it(mac: Any) -> None:
    """ORP-1 on macOS: soi_qlen without the incomplete ones wait, soi_qlimit is the backlog, soi_pcb the identity."""
    machine, lib, tree = mac
    (found,) = machine.listeners(8080)
    assert machine.owns(tree, found) is True
    assert machine.serving(tree) == {50: (8080,), 51: (8080,)}
    assert (found.address, found.port, found.family, found.uid) == ("127.0.0.1", 8080, "inet", 501)
    assert (found.waiting, found.backlog, found.pids) == (3, 128, (50, 51))
    assert [row.pids for row in machine.listeners(8080, owners=False)] == [()]
    assert machine.listeners(8081) == []
    lib.servers = {60}
    assert [row.pids for row in machine.listeners(8080)] == [(60,)]


def test_a_holder_is_told_from_what_libproc_shows(mac: Any) -> None:
    """ORP-1: command by KERN_PROCARGS2, else the name in brackets; launchd as the parent is no evidence (ORP-7)."""
    machine, lib, tree = mac
    found = machine.holder(50)
    assert (found.proc, found.command, found.ppid, found.marker) == (tree.main, "x", 10, "p.x.1")
    assert (found.manager, found.session) == ("", 50)
    lib.args[60] = procargs([b"a\nb", b"-x"], [b"TOKEN=geheim", b"MIDWATCH_RUN=other:p.x.1"])
    orphan = machine.holder(60)
    assert (orphan.command, orphan.manager) == ("a\\nb -x", "midwatch of another home (other)")
    assert "geheim" not in repr(orphan)
    del lib.args[60]
    assert machine.holder(60).command == "[a longer name]"
    assert machine.holder(99) is None


def test_a_manager_among_the_ancestors(mac: Any) -> None:
    """supervisord above it is evidence, a keeper that is not ours too."""
    machine, lib, _ = mac
    lib.table[200] = bsdinfo(200, 1, 200, (1, 1))
    lib.table[201] = bsdinfo(201, 200, 200, (1, 1))
    lib.args[200] = procargs([b"/usr/bin/python3", b"/usr/local/bin/supervisord"], [])
    assert machine.holder(201).manager == "supervisord (pid 200)"
    lib.args[200] = procargs([b"python3", b"-I", b"/x/midwatch/keeper/__main__.py"], [])
    assert machine.holder(201).manager == "midwatch of another home (keeper 200)"


def test_bearers_and_fifo_holders_are_found(mac: Any) -> None:
    """design 5: by marker, and by the path of an open FIFO; the keeper is never one of them."""
    machine, lib, _ = mac
    assert [proc.pid for proc in machine.find("p.x.1", ())] == [50, 51, 60]
    lib.paths = {70: b"/r/fifo/p.x.1.out", 10: b"/r/fifo/p.x.1.out"}
    assert [proc.pid for proc in machine.find("p.x.1", ("/r/fifo/p.x.1.out",))] == [50, 51, 60, 70]
    assert machine.find("", ()) == []


def test_the_close_look_says_what_macos_does_not_show(mac: Any) -> None:
    """HLT-7: state, memory, descriptors by type, listening sockets; the rest is named as missing."""
    machine, _, tree = mac
    answer = machine.inspect_tree(tree, (99,))
    assert [facts["pid"] for facts in answer["processes"]] == [50, 51, 60]
    main = answer["processes"][0]
    assert (main["held_bytes"], main["fds"]["kinds"]) == (5000, {"file": 1, "socket": 1})
    assert main["sockets"] == [{"fd": 5, "kind": "tcp listen", "local": ":8080", "receive": 3}]
    assert any("not read on macOS" in words for words in answer["missing"])
    assert any(words.startswith("99:") for words in answer["missing"])


def test_without_a_clock_for_sleep_nothing_is_claimed(mac: Any) -> None:
    """CLOCK_UPTIME_RAW is not here on Linux: 0, not a guess; nothing is delegated either."""
    machine, _, _ = mac
    assert machine.suspended() == 0.0
    assert machine.settle() == ""


def test_the_rest_of_rusage() -> None:
    """User and system time, the start in ticks and device I/O stand at their documented places."""
    usage = structs.usage(rusage(5, 9))
    assert usage == structs.Usage(5, 9, start=1008, cpu=1000 + 1001, read_bytes=1016, written_bytes=1017)
    assert structs.usage(rusage(5, 9)[:200]) is None
    assert abs(structs.timebase(struct.pack("=2I", 125, 3)) - 125 / 3 / 1e9) < 1e-18
    assert structs.timebase(b"") == 1e-9


def test_a_tree_under_the_meter_is_an_upper_bound(mac: tuple[MacMachine, FakeLib, Tree]) -> None:
    """guards 2.5: the sum of phys_footprint, never confirmed; one process alone is exact."""
    machine, lib, tree = mac
    reading = machine.meter(tree)
    sample = reading.read(1.0)
    assert (sample.held.value, sample.held.quality, sample.members) == ((50 + 51 + 60) * 100, "upper-bound", 3)
    assert sample.largest == (60, 6000)
    assert sample.fds == 2
    assert sample.cpu_s
    assert abs(sample.cpu_s - 3 * 2001 * 125 / 3 / 1e9) < 1e-9
    assert (sample.read_bytes, sample.written_bytes) == (3 * 1016, 3 * 1017)
    assert machine.confirm(tree, 1).quality == "absent"
    assert machine.counter_error() == 0
    assert machine.pressure() is None
    del lib.table[51], lib.table[60]
    alone = reading.read(10.0)
    assert (alone.held.value, alone.held.quality, alone.peak_bytes) == (5000, "exact", None)
    lib.usages[50] = rusage(5000, 9000)
    assert reading.read(11.0).peak_bytes == 9000
    assert reading.read(12.0).peak_bytes is None
    reading.close()


def test_a_recycled_pid_on_a_mac_is_nobody(mac: tuple[MacMachine, FakeLib, Tree]) -> None:
    """The start in the same answer as the number tells another process, also between two full looks."""
    machine, lib, tree = mac
    reading = machine.meter(tree)
    reading.read(1.0)
    data = bytearray(rusage(1 << 40, 0))
    struct.pack_into("=Q", data, 16 + 8 * 8, 77)
    lib.usages[51] = bytes(data)
    sample = reading.read(1.5)
    assert (sample.members, sample.held.value) == (2, (50 + 60) * 100)


def test_the_macs_own_numbers(mac: tuple[MacMachine, FakeLib, Tree]) -> None:
    """What is available comes as a share of the memory; the pressure level is the kernel's."""
    machine, lib, _ = mac
    sample = machine.host_sample()
    assert (sample.total_bytes, sample.available_bytes) == (16 << 30, 4 << 30)
    assert (sample.swap_total_bytes, sample.swap_free_bytes, sample.level) == (4 << 30, 1 << 30, 2)
    assert (sample.some, sample.limit_bytes, sample.limit_source) == (None, 16 << 30, "hw.memsize")
    assert machine.memory_basis() == (16 << 30, "hw.memsize")
    lib.sysctls.clear()
    empty = machine.host_sample()
    assert (empty.total_bytes, empty.available_bytes, empty.level) == (None, None, None)
