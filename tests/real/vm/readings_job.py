"""Inside the VM: what a meter reads under cgroup v2 with its memory controller, and a kernel before 6.2.

guards 2.2, 2.4, 3.1 and 13 test 6. Prints one line for each claim, `ok` or `NOT OK`; exits 1 if one is not. Run by
tests/real/test_readings_vm.py as root with /job/src on the import path. Everything is bounded.
"""
# ruff: noqa: T201  its output is the report

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from midwatch.machine.linux.adapter import LinuxMachine
from midwatch.machine.linux.hostmem import HostMemory
from midwatch.machine.ports import Containment, Tree

MIB = 1 << 20
TOP = Path("/sys/fs/cgroup")
CHILD = """
import os, sys
kept = []
for line in sys.stdin:
    what, size = line.split()
    if what == "grow": kept.append(bytearray(b"x") * int(size))
    if what == "drop": kept.clear()
    if what == "open": kept.extend(open("/dev/null") for _ in range(int(size)))
    if what == "file":
        with open("/job/cache", "wb") as out: out.write(b"x" * int(size)); out.flush(); os.fsync(out.fileno())
        with open("/job/cache", "rb") as back: back.read()
    print("done", flush=True)
"""
failed: list[str] = []


def claim(true: bool, what: str, found: object = "") -> None:
    """One line of the report."""
    if not true:
        failed.append(what)
    print(f"{'ok    ' if true else 'NOT OK'} {what}{f': {found}' if found != '' else ''}", flush=True)


class Child:
    """A process in a memory group of its own below the root."""

    def __init__(self, machine: LinuxMachine) -> None:
        (TOP / "cgroup.subtree_control").write_text("+memory")
        self.group = TOP / "readings"
        self.group.mkdir()
        (self.group / "memory.max").write_text(str(300 * MIB))
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        (self.group / "cgroup.procs").write_text(str(self.process.pid))
        main = machine.identify(self.process.pid)
        assert main is not None
        self.tree = Tree("p.r.1", main, "p.r.1", Containment(str(self.group), str(self.group)), os.getpid())
        self.ask("grow", 1)

    def ask(self, what: str, size: int) -> None:
        """Have it done."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what} {size}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def close(self) -> None:
        """End it and remove its group."""
        self.process.kill()
        self.process.wait()
        for _ in range(100):
            try:
                self.group.rmdir()
            except OSError:
                time.sleep(0.05)
            else:
                break


def trees(machine: LinuxMachine, child: Child) -> None:
    """Meter and cgroup numbers."""
    meter = machine.meter(child.tree)
    before = meter.read(1.0)
    claim(before.members == 1, "the group has one member", before.members)
    claim(before.held.quality == "approximate", "before 6.2 a number is approximate", before.held.why)
    claim(before.peak_bytes is not None, "memory.peak is read", before.peak_bytes)
    child.ask("grow", 50 * MIB)
    grown = meter.read(2.0)
    rise = (grown.cgroup_bytes or 0) - (before.cgroup_bytes or 0)
    claim(abs(rise - 50 * MIB) < 4 * MIB, "50 MiB more in the group's number", rise / MIB)
    rise = (grown.held.value or 0) - (before.held.value or 0)
    claim(abs(rise - 50 * MIB) < 4 * MIB, "50 MiB more held", rise / MIB)
    claim((grown.peak_bytes or 0) > 50 * MIB, "the peak has risen", grown.peak_bytes)
    child.ask("file", 60 * MIB)
    cached = meter.read(20.0)
    current = int((child.group / "memory.current").read_text())
    rise = (cached.cgroup_bytes or 0) - (grown.cgroup_bytes or 0)
    claim(rise < 10 * MIB, "60 MiB of a file are not in the group's number", rise / MIB)
    claim(current > (cached.cgroup_bytes or 0) + 40 * MIB, "although they are charged to it", current / MIB)
    child.ask("drop", 0)
    child.ask("grow", 20 * MIB)
    less = meter.read(30.0)
    claim(less.peak_bytes is None, "a peak that has not risen is not told again", less.peak_bytes)
    child.ask("open", 20)
    counted = meter.read(40.0)
    real = len(os.listdir(f"/proc/{child.process.pid}/fd"))
    claim(counted.fds == real, "descriptors where the folder has no size", (counted.fds, real))
    true = machine.confirm(child.tree, 10)
    claim(true.quality == "exact", "the page walk confirms", true)
    claim(abs((true.value or 0) - (counted.held.value or 0)) < 2 * MIB, "and agrees", counted.held)
    meter.close()


def limits(child: Child) -> None:
    """memory_basis from inside the group."""
    words = "from midwatch.machine.linux.hostmem import HostMemory; print(*HostMemory().basis())"
    code = f"import os; open({str(child.group / 'cgroup.procs')!r}, 'w').write(str(os.getpid())); {words}"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    wanted = f"{300 * MIB} cgroup-limited: {child.group}/memory.max"
    claim(said.stdout.strip() == wanted, "the limit of the own group is the basis", said.stdout + said.stderr)


def pressure() -> None:
    """Triggers as root and, where the kernel lets them, for everybody."""
    memory = HostMemory()
    sample = memory.sample(1.0)
    claim(sample.some is not None and sample.full is not None, "pressure is read", (sample.some, sample.full))
    fd = memory.trigger()
    claim(fd is not None, "root gets a trigger")
    os.seteuid(65534)
    refused = HostMemory().trigger()
    os.seteuid(0)
    print(f"       nobody gets {'none: polls' if refused is None else 'one, too'}")  # since 6.4, and by back-port


def main() -> int:
    """All of it."""
    machine = LinuxMachine("vm", os.getpid())
    print(f"kernel {platform.release()}, error {machine.counter_error()}")
    child = Child(machine)
    try:
        trees(machine, child)
        limits(child)
    finally:
        child.close()
    pressure()
    print(f"{len(failed)} not ok")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
