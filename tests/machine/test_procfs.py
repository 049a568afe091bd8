"""The parsers, on tables and on hostile bytes: absent is never 0, names cannot forge a field (F1-F7)."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.machine.linux import procfs
from midwatch.machine.procs import Stat

TAIL = b"S 1 42 43 0 -1 4194560 1 0 0 0 7 8 0 0 20 -5 3 0 12345 1000 200 " + b"0 " * 26 + b"17 0 9\n"


@given(st.binary(min_size=0, max_size=64))
def test_no_name_can_forge_the_identity(name: bytes) -> None:
    """Whatever a process calls itself, ppid, group, session and start time come from after the last ')'."""
    stat = procfs.stat(b"77 (" + name + b") " + TAIL)
    assert stat == Stat(77, "S", 1, 42, 43, 3, 12345)


@given(st.binary(max_size=400))
def test_no_bytes_make_a_parser_raise(data: bytes) -> None:
    """Torn or foreign bytes give None or nothing, never an exception."""
    procfs.stat(data)
    procfs.comm(data)
    procfs.held(data)
    procfs.own_cgroups(data)
    procfs.cgroup_mounts(data)
    procfs.keyed(data, b"oom_kill")
    procfs.open_files_limit(data)
    procfs.oom_line(data)
    procfs.listeners(data, 80)
    procfs.marker(data)


def test_hostile_names_are_shown_whole() -> None:
    """The name is what stands between the first '(' and the last ')'."""
    assert procfs.comm(b"7 (a) S 1 (b) " + TAIL) == "a) S 1 (b"
    assert procfs.comm(b"7 (\xff) " + TAIL) == "\\xff"


@pytest.mark.parametrize(
    ("state", "threads", "dead"),
    [("S", 1, False), ("Z", 1, True), ("Z", 2, False), ("X", 1, True), ("T", 1, False)],
)
def test_a_zombie_leader_with_living_threads_is_not_dead(state: str, threads: int, dead: bool) -> None:
    """guards 6.2: dead means that no thread is left."""
    assert Stat(1, state, 1, 1, 1, threads, 1).dead is dead


@pytest.mark.parametrize(
    ("lines", "total"),
    [
        ("RssAnon:\t1024 kB\nRssShmem:\t0 kB", 1048576),  # F1
        ("RssAnon:\t0 kB\nRssShmem:\t512 kB", 524288),  # F2
        ("RssAnon:\t0 kB\nRssShmem:\t0 kB", 0),  # F3
        ("VmRSS:\t5 kB", None),  # F4
        ("RssAnon:\tnotanumber\nRssShmem:\t0 kB", 0),  # F5
        ("RssAnon:\tx kB\nRssShmem:\t", None),  # F6
        ("RssShmem:\t256 kB", 262144),  # F7
        ("RssAnon:\t1 kB\nRssShmem:\t1 kB\nVmSwap:\t4 kB", 6144),  # F11
        ("HugetlbPages:\t2048 kB\nRssAnon:\t0 kB", 2097152),
        ("VmSwap:\t4 kB", None),
    ],
)
def test_held_memory_of_status(lines: str, total: int | None) -> None:
    """F1-F7, F11: absent is None, a bad value is absent, swap and huge pages count."""
    assert procfs.held(f"Name:\tx\n{lines}\n".encode()).total == total
    assert procfs.held(lines.encode()).total == total


def test_own_cgroups_and_mounts_of_a_hybrid_machine() -> None:
    """Controllers and the unified hierarchy, also where a path holds a colon or a space."""
    own = procfs.own_cgroups(b"9:name=systemd:/\n4:memory,foo:/a:b\n0::/c d\ngarbage\n")
    assert own == {"name=systemd": "/", "memory": "/a:b", "foo": "/a:b", "": "/c d"}
    mounts = procfs.cgroup_mounts(
        b"31 23 0:27 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
        b"40 23 0:30 /docker/1 /sys/fs/cgroup/uni\\040fied rw - cgroup2 cgroup2 rw\n"
        b"1 0 0:1 / / rw - ext4 /dev/vda rw\n"
    )
    assert mounts["memory"] == ("/sys/fs/cgroup/memory", "/")
    assert mounts[""] == ("/sys/fs/cgroup/uni fied", "/docker/1")


def test_keyed_files() -> None:
    """cgroup.events, memory.events and v1's memory.oom_control speak alike."""
    assert procfs.keyed(b"populated 1\nfrozen 0\n", b"populated") == 1
    assert procfs.keyed(b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", b"oom_kill") == 3
    assert procfs.keyed(b"oom 5\n", b"oom_kill") is None


MEMCG = (
    b"3,1203,99887766,-;Memory cgroup out of memory: Killed process 13759 (python3) total-vm:78080kB, "
    b"anon-rss:65280kB\n"
    b" SUBSYSTEM=x\n"
)


def test_the_kernels_oom_line() -> None:
    """Both forms of the line, with its time; only facility 0 is the kernel's own word."""
    kill = procfs.oom_line(MEMCG)
    assert kill
    assert (kill.pid, round(kill.at, 3)) == (13759, 99.888)
    assert kill.text.startswith("Memory cgroup out of memory: Killed process 13759 (python3)")
    assert procfs.oom_line(b"3,1,5,-;Out of memory: Killed process 8 (a b) total-vm:1kB")
    assert procfs.oom_line(MEMCG.replace(b"3,", b"12,", 1)) is None  # written by a program through /dev/kmsg
    assert procfs.oom_line(b"6,1,5,-;oom_reaper: reaped process 8 (x)") is None


def test_a_name_in_the_oom_line_cannot_name_another_victim() -> None:
    """The first pid counts; a process called "Killed process 1" is only a name."""
    kill = procfs.oom_line(b"3,1,5,-;Out of memory: Killed process 9 (Killed process 1) total")
    assert kill
    assert kill.pid == 9


def test_listeners_of_both_families() -> None:
    """/proc/net/tcp words are in host order; only state 0A listens."""
    tcp = (
        b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        b"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3131 1 0\n"
        b"   1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 3132 1 0\n"
    )
    assert procfs.listeners(tcp, 8080) == [procfs.TcpSocket(socket.inet_aton("127.0.0.1"), 8080, 3131)]
    tcp6 = (
        b"   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A "
        b"00000000:00000000 00:00000000 00000000     0        0 77 1 0\n"
    )
    assert procfs.listeners(tcp6, 80) == [procfs.TcpSocket(socket.inet_pton(socket.AF_INET6, "::1"), 80, 77)]
    assert procfs.listeners(tcp6, 8080) == []


@given(st.text("ab=/.0", max_size=12))
def test_the_marker_is_a_whole_variable(value: str) -> None:
    """Found at the start or after a NUL, never inside another variable's name or value."""
    encoded = value.encode()
    assert procfs.marker(b"A=1\0MIDWATCH_RUN=" + encoded + b"\0B=2\0") == value
    assert procfs.marker(b"MIDWATCH_RUN=" + encoded) == value
    assert procfs.marker(b"XMIDWATCH_RUN=" + encoded + b"\0Y=MIDWATCH_RUN=1\0") is None


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.18.44-fc", (6, 18)),
        ("5.3", (5, 3)),
        ("4.19.0-1-amd64", (4, 19)),
        ("5.15-rc1", (5, 15)),
        ("odd", (0, 0)),
    ],
)
def test_kernel_versions(release: str, version: tuple[int, int]) -> None:
    """Releases of all flavours compare as numbers."""
    assert procfs.kernel_version(release) == version


def test_the_open_files_limit() -> None:
    """The soft limit; "unlimited" is not a number."""
    line = b"Limit                     Soft Limit           Hard Limit           Units     \nMax open files            "
    assert procfs.open_files_limit(line + b"1024                 20000                files     \n") == 1024
    assert procfs.open_files_limit(line + b"unlimited            unlimited            files     \n") is None
    assert procfs.open_files_limit(b"") is None


def test_connections_have_state_peer_and_queues() -> None:
    """/proc/net/tcp of an established connection: what nobody read, what the peer has not taken."""
    line = (
        b"   1: 0100007F:1F90 0100007F:9999 08 0000000A:00000005 00:00000000 00000000  1000        0 3132 1 0\n"
    )
    (row,) = procfs.tcp(line)
    assert (row.state, row.port, row.peer_port, row.inode, row.uid) == (8, 8080, 0x9999, 3132, 1000)
    assert (row.waiting, row.backlog) == (5, 10)
    assert row.peer == socket.inet_aton("127.0.0.1")


def test_cpu_time_is_user_and_system() -> None:
    """Fields 14 and 15, whatever the name; torn lines have none."""
    line = b"7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 40 2 13 14 15 16 17 18 19"
    assert procfs.cpu_ticks(line) == 42
    assert procfs.cpu_ticks(b"7 (a) S 1 2") is None
    assert procfs.cpu_ticks(b"") is None
