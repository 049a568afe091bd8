"""One process under the meter: statm says when, status says what, and a number is never a stranger's (guards 13)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from midwatch.machine.linux import handle, procfs

MIB = 1 << 20
STATUS = "Name:\t{name}\nState:\tS (sleeping)\nThreads:\t{threads}\nVmRSS:\t9000 kB\n{lines}"
HELD = "RssAnon:\t1024 kB\nRssFile:\t7000 kB\nRssShmem:\t512 kB\nVmSwap:\t8 kB\nHugetlbPages:\t2048 kB\n"


class Proc:
    """A recorded /proc with one process."""

    def __init__(self, folder: Path, pid: int = 77) -> None:
        self.folder, self.pid = folder, pid
        (folder / str(pid)).mkdir()
        self.statm("9 9 9 1 0 1 0")
        self.status(HELD)
        self.start(500)

    def statm(self, text: str) -> None:
        (self.folder / str(self.pid) / "statm").write_text(text + "\n")

    def status(self, lines: str, name: str = "x", threads: int = 3, text: str | None = None) -> None:
        whole = STATUS.format(name=name, threads=threads, lines=lines) if text is None else text
        (self.folder / str(self.pid) / "status").write_text(whole)

    def start(self, ticks: int, name: str = "x") -> None:
        rest = f"S 1 42 43 0 -1 4194560 1 0 0 0 7 8 0 0 20 -5 3 0 {ticks} 1000 200 " + "0 " * 26 + "17 0 9\n"
        (self.folder / str(self.pid) / "stat").write_text(f"{self.pid} ({name}) {rest}")

    def open(self, most: int = 8, start: int | None = None) -> handle.Process:
        return handle.Process(self.pid, start, handle.Budget(most), str(self.folder))


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_held_memory_is_the_four_parts(proc: Proc) -> None:
    """guards 1.1, F11: RssAnon + RssShmem + VmSwap + HugetlbPages; mapped files are not in it."""
    process = proc.open()
    assert process.look() is True
    assert process.held == (1024 + 512 + 8 + 2048) * 1024
    assert (process.swap, process.threads, process.whole) == (8 * 1024, 3, True)


def test_status_is_parsed_only_when_statm_has_moved(proc: Proc) -> None:
    """What cannot have changed costs one small read; `anyway` reads it all the same."""
    process = proc.open()
    process.look()
    proc.status("RssAnon:\t1 kB\nRssShmem:\t0 kB\nVmSwap:\t0 kB\n")
    assert process.look() is False
    assert process.look(anyway=True) is True
    assert process.held == 1024
    proc.status(HELD)
    proc.statm("10 9 9 1 0 1 0")
    assert process.look() is True


@pytest.mark.parametrize("name", ["a) R 1 (b", "RssAnon:\\t1 kB", "x\\nRssAnon:\\t1 kB", "State:\\tZ"])
def test_no_name_can_forge_a_number(proc: Proc, name: str) -> None:
    """guards 13 test 4: the kernel escapes line ends in names; nothing else in a name is read as a field."""
    proc.status(HELD, name=name)
    proc.start(500, name)
    process = proc.open(most=0, start=500)
    assert process.look() is True
    assert process.held == (1024 + 512 + 8 + 2048) * 1024


@pytest.mark.parametrize("cut", range(0, len(HELD), 7))
def test_text_that_is_cut_short_gives_fewer_parts_never_a_smaller_number(proc: Proc, cut: int) -> None:
    """guards 13 test 4: half a number is no number. Without the first two: all resident pages, said as a bound."""
    proc.status("", text=STATUS.format(name="x", threads=3, lines=HELD[:cut]))
    process = proc.open()
    process.look()
    parts = [row for row in HELD.splitlines() if "File" not in row and row in HELD[:cut]]
    if any("Anon" in row or "Shmem" in row for row in parts):
        assert process.held == sum(int(row.split()[1]) * 1024 for row in parts)
        assert not process.rss_only
    else:
        assert process.held == 9000 * 1024
        assert process.rss_only


def test_without_any_number_it_is_absent(proc: Proc) -> None:
    """guards 13 test 4, F4-F6: a status that says nothing of memory is None, never 0."""
    proc.status("", text="Name:\tx\nState:\tS (sleeping)\nThreads:\t1\nRssAnon:\tbad kB\n")
    process = proc.open()
    process.look()
    assert process.held is None


def test_beyond_the_budget_the_start_time_is_checked(proc: Proc) -> None:
    """No descriptor left: read by path, and another process with this number is nobody (H16)."""
    process = proc.open(most=0)
    assert process.look() is True
    assert process.start == 500
    proc.start(501)
    assert process.look() is None
    with pytest.raises(ProcessLookupError):
        proc.open(start=500)


def test_a_process_that_moves_at_each_look_keeps_its_status_open(proc: Proc) -> None:
    """The second descriptor is there for the busy only, and given back when it is quiet."""
    budget = handle.Budget(8)
    process = handle.Process(proc.pid, None, budget, str(proc.folder))
    for turn in range(4):
        proc.statm(f"{turn} 9 9 1 0 1 0")
        process.look()
    assert budget.used == 2
    process.look()
    process.quiet()
    assert budget.used == 1
    process.close()
    process.close()
    assert budget.used == 0


def child(code: str = "import time; time.sleep(60)") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_end_is_told_and_a_zombie_is_the_end() -> None:
    """guards 13 test 5: a kept-open descriptor gives ESRCH after the end; before the reaping there is no memory."""
    running = child()
    process = handle.Process(running.pid, None, handle.Budget(8))
    assert process.look() is True
    os.kill(running.pid, signal.SIGKILL)
    os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
    assert process.look() is None
    end(running)
    assert process.look() is None
    assert not process.there()
    process.close()


def test_a_recycled_pid_never_gives_a_strangers_sample() -> None:
    """guards 13 test 5: the number is given to another process on purpose; the old handle stays silent."""
    last = Path("/proc/sys/kernel/ns_last_pid")
    if os.geteuid() != 0 or not os.access(last, os.W_OK):
        pytest.skip("only root may choose the next pid")
    old = child()
    kept = handle.Process(old.pid, None, handle.Budget(8))
    bare = handle.Process(old.pid, None, handle.Budget(0))
    assert kept.look()
    assert bare.look()
    end(old)
    time.sleep(0.05)  # start times are counted in hundredths of a second
    for _ in range(200):
        last.write_text(str(old.pid - 1))
        new = child()
        if new.pid == old.pid:
            break
        end(new)
    else:
        pytest.skip("somebody else was always faster")
    try:
        time.sleep(0.05)
        assert psutil.Process(new.pid).memory_info().rss > 0
        assert kept.look() is None
        assert bare.look() is None
        assert not kept.ran()
    finally:
        end(new)
        kept.close()


THREAD = """
import ctypes, sys, threading, time
kept = bytearray(b"x") * (40 << 20)
def work():
    print("ready", flush=True)
    time.sleep(60)
threading.Thread(target=work).start()
time.sleep(0.1)
ctypes.CDLL(None).syscall({number}, 0)
"""


def test_a_zombie_leader_with_a_living_thread_still_holds_its_memory() -> None:
    """guards 13 test 8: dead means that no thread is left; until then the thread is read."""
    number = {"x86_64": 60, "aarch64": 93}.get(os.uname().machine)
    if number is None:
        pytest.skip("the number of exit(2) is not known here")
    running = child(THREAD.replace("{number}", str(number)))
    try:
        assert running.stdout
        assert running.stdout.readline() == "ready\n"
        until = time.monotonic() + 20
        while b"State:\tZ" not in Path(f"/proc/{running.pid}/status").read_bytes():
            assert time.monotonic() < until
            time.sleep(0.01)
        process = handle.Process(running.pid, None, handle.Budget(8))
        assert process.look() is True
        assert process.held
        assert process.held > 40 * MIB
        assert process.look() is False
        process.close()
    finally:
        end(running)


def test_cpu_time_agrees_with_the_oracle() -> None:
    """The clock of a process counts all its threads; one that did nothing has not run."""
    running = child("print(sum(range(3_000_000)), flush=True); import time; time.sleep(60)")
    try:
        assert running.stdout
        running.stdout.readline()
        time.sleep(0.05)
        process = handle.Process(running.pid, None, handle.Budget(8))
        assert process.ran()
        times = psutil.Process(running.pid).cpu_times()
        assert abs(process.cpu_ns / 1e9 - times.user - times.system) < 0.1
        assert not process.ran()
        process.close()
    finally:
        end(running)


def test_device_io_agrees_with_the_oracle(tmp_path: Path) -> None:
    """What it caused to be written: the same as /proc/PID/io says to psutil."""
    code = f"f=open({str(tmp_path / 'f')!r},'wb'); f.write(b'x'*3000000); f.flush(); print(1,flush=True); input()"
    running = child(code)
    try:
        assert running.stdout
        running.stdout.readline()
        process = handle.Process(running.pid, None, handle.Budget(8))
        process.look()
        process.count_io()
        theirs: Any = psutil.Process(running.pid).io_counters()
        assert (process.read, process.written) == (theirs.read_bytes, theirs.write_bytes)
        process.close()
    finally:
        end(running)


def test_number_files_are_read_without_splitting() -> None:
    """memory.stat by key, at the beginning and inside, never by a suffix of another key."""
    data = b"anon 5\ninactive_anon 6\nshmem 7\nsock 8"
    assert procfs.number(data, b"anon ") == 5
    assert procfs.number(data, b"shmem ") == 7
    assert procfs.number(data, b"sock ") is None  # cut short
    assert procfs.number(data, b"file ") is None
    assert procfs.count(b"Name:\tx\nThreads:\t12\n", b"\nThreads:") == 12
    assert procfs.count(b"Name:\tx\nThreads:\t1", b"\nThreads:") is None
