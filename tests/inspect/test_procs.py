"""The table of processes from a folder that looks like /proc: vanishing, unreadable, hostile and very many entries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.inspect.sources import procs
from midwatch.machine.linux.counters import Counters

EXACT = Counters((6, 18), 2)
STATUS = (
    "Name:\tx\nUid:\t1000\t1001\t1000\t1000\nVmRSS:\t 900 kB\nRssAnon:\t 100 kB\n"
    "RssFile:\t 700 kB\nRssShmem:\t 20 kB\nVmSwap:\t 3 kB\n"
)


def put(root: Path, pid: int, name: str = "x", ppid: int = 1, cmdline: bytes = b"x\0", flags: int = 0, tty: int = 0,
        status: str = STATUS, cgroup: str = "0::/user.slice/a.service\n") -> Path:  # fmt: skip
    """One entry as the kernel writes it."""
    folder = root / str(pid)
    folder.mkdir()
    tail = f"S {ppid} {pid} {pid} {tty} -1 {flags} 0 0 0 0 150 50 0 0 20 0 3 0 {pid * 10} 1 1"
    (folder / "stat").write_bytes(f"{pid} ({name}) {tail}\n".encode("utf-8", "surrogateescape"))
    (folder / "status").write_text(status)
    (folder / "cmdline").write_bytes(cmdline)
    (folder / "cgroup").write_text(cgroup)
    return folder


def test_one_row(tmp_path: Path) -> None:
    """Everything that anybody may read: identity, owner, held memory with its quality, unit, terminal."""
    put(tmp_path, 7, "python3", 3, b"python3\0-m\0http.server\0", tty=(136 << 8) | 5)
    row = procs.table(str(tmp_path), EXACT).procs[7]
    assert (row.pid, row.ppid, row.start, row.uid, row.name, row.threads) == (7, 3, 70, 1001, "python3", 3)
    assert row.argv == ("python3", "-m", "http.server")
    assert (row.held, row.quality, row.rss) == (123 * 1024, "exact", 900 * 1024)
    assert (row.cgroup, row.tty, row.cpu_s) == (
        "/user.slice/a.service",
        "pts/5",
        200 / os.sysconf("SC_CLK_TCK"),
    )


def test_absent_is_never_zero(tmp_path: Path) -> None:
    """No file: absent. An old kernel that does not tell files apart: an upper bound. A zombie holds nothing."""
    (put(tmp_path, 5) / "status").unlink()
    put(tmp_path, 6, status="Uid:\t1 1 1 1\nVmRSS:\t 8 kB\n")
    put(tmp_path, 7, status="Uid:\t1 1 1 1\n")
    rows = procs.table(str(tmp_path), EXACT).procs
    assert [(rows[pid].held, rows[pid].quality) for pid in (5, 6, 7)] == [
        (None, "absent"), (8192, "upper-bound"), (0, "exact"),
    ]  # fmt: skip


def test_hostile_names_and_arguments(tmp_path: Path) -> None:
    """Names with parentheses, newlines and escapes; 4 KB arguments are bounded; bytes that are no UTF-8."""
    put(tmp_path, 5, "a) R 1 (b\n\x1b[31m")
    put(tmp_path, 6, cmdline=b"x\0" + b"y" * 100_000)
    put(tmp_path, 8, cmdline=b"\xff\xfe\0")
    rows = procs.table(str(tmp_path), EXACT).procs
    assert rows[5].name == "a) R 1 (b\n\x1b[31m"
    assert rows[5].ppid == 1
    assert sum(map(len, rows[6].argv)) <= procs.ARGV_BYTES
    assert rows[8].argv == ("\\xff\\xfe",)


def test_those_that_vanish_are_left_out(tmp_path: Path) -> None:
    """A folder without files, a torn row: nobody; the others stay."""
    (tmp_path / "44").mkdir()
    put(tmp_path, 45).joinpath("stat").write_text("45 (x) S 1")
    put(tmp_path, 46)
    (tmp_path / "self").mkdir()
    assert set(procs.table(str(tmp_path), EXACT).procs) == {46}


@pytest.mark.unprivileged("root reads everything")
def test_what_may_not_be_read_is_counted(tmp_path: Path) -> None:
    put(tmp_path, 1)
    (put(tmp_path, 5) / "stat").chmod(0)
    table = procs.table(str(tmp_path), EXACT)
    assert set(table.procs) == {1}
    assert "1 processes may not be read" in table.hidden[0]


def test_hidepid_is_named(tmp_path: Path) -> None:
    """hidepid=2 shows only our own processes: without the first process that is what it is."""
    put(tmp_path, 500)
    assert "hidepid" in procs.table(str(tmp_path), EXACT).hidden[0]
    put(tmp_path, 1)
    assert procs.table(str(tmp_path), EXACT).hidden == ()
    assert "no process can be seen" in procs.table(str(tmp_path / "none"), EXACT).hidden[0]


def test_kernel_threads_hold_nothing(tmp_path: Path) -> None:
    put(tmp_path, 9, "kworker/0", 2, b"", flags=0x00200040)
    row = procs.table(str(tmp_path), EXACT).procs[9]
    assert (row.held, row.argv, row.command) == (0, (), "[kworker/0]")


def test_ten_thousand(tmp_path: Path) -> None:
    """Bad input: 10,000 processes are one table."""
    put(tmp_path, 1)
    for pid in range(2, 10_001):
        (tmp_path / str(pid)).symlink_to("1")
    assert len(procs.table(str(tmp_path), EXACT).procs) == 10_000


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("0::/a/b.service\n", "/a/b.service"), ("4:memory:/docker/ab\n0::/\n", "/docker/ab"), ("", ""), ("0::/\n", ""),
        ("1:name=systemd:/user.slice\n2:memory:/x\n", "/user.slice"),
    ],
)  # fmt: skip
def test_the_unit_it_is_in(text: str, path: str) -> None:
    assert procs.leaf(text.encode()) == path


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(data: bytes) -> None:
    """Torn and hostile kernel files give a value or nothing."""
    procs.memory(data, 1, EXACT)
    procs.leaf(data)
    for word in procs.arguments(data):
        word.encode("utf-8")  # a surrogate could not be printed


def test_this_machine(tmp_path: Path) -> None:
    """Our own row is right on the real /proc."""
    if not os.path.exists("/proc/self/stat"):
        pytest.skip("no /proc here")
    row = procs.table().procs[os.getpid()]
    assert row.ppid == os.getppid()
    assert row.uid == os.geteuid()
    assert row.held is not None
    assert row.held > 1 << 20
