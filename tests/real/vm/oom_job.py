"""Inside the VM: who killed it, under cgroup v2 with its memory controller, an older kernel and Yama.

guards 7 and 11. Prints one line for each claim, `ok` or `NOT OK`; exits 1 if one is not. Run by
tests/real/oom/test_oom_vm.py as root with /job/src and /job/site on the import path. Everything is bounded.
"""
# ruff: noqa: T201  its output is the report

from __future__ import annotations

import ctypes
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from midwatch.engine import tracegate
from midwatch.engine.client import Client, ClientError
from midwatch.engine.layout import Layout

UNIT, HARD = "midwatch-test.service", 64 << 20
PATIENCE = 120.0  # s; the processor is emulated
NOBODY = 65534
EATER = """
import os, sys, time
def eat(most):
    kept = []
    while len(kept) < most:
        kept.append(b"x" * (1 << 20))
        time.sleep(0.002)
    time.sleep(1000)
if sys.argv[1] == "worker" and os.fork():
    os.wait()
    time.sleep(1000)
eat(int(sys.argv[2]))
"""
SERVICE = """\
[service.{name}]
command = ["{python}", "-S", "/root/p/eat.py", "{what}", "{most}"]
memory = {{ hard = {hard} }}
backoff = {{ first = "60s" }}
restart = {{ memory = "1 in 60m", killed = "1 in 10m" }}
"""
KINDS = {"alone": ("self", 200), "worker": ("worker", 200), "outside": ("self", 8)}
failed: list[str] = []


def claim(true: bool, what: str, found: object = "") -> None:
    """One line of the report."""
    if not true:
        failed.append(what)
    print(f"{'ok    ' if true else 'NOT OK'} {what}{f': {found}' if found != '' else ''}", flush=True)


def run(*command: str) -> str:
    """A command's output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        raise SystemExit(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def until(met: Callable[[], Any], what: str) -> Any:
    """Bounded waiting."""
    deadline = time.monotonic() + PATIENCE
    while not (found := met()):
        if time.monotonic() > deadline:
            raise SystemExit(f"NOT OK waited in vain until {what}")
        time.sleep(0.1)
    return found


def ask(method: str) -> dict[str, Any] | None:
    """The daemon's answer; None while there is none."""
    try:
        with Client(Layout.default().control) as client:
            return client.call(method)
    except ClientError:
        return None


def first_end(name: str) -> dict[str, Any]:
    """The journal's line about the first end of a service."""

    def met() -> dict[str, Any] | None:
        lines = [json.loads(raw) for path in sorted(Layout.default().journal.glob("*.jsonl"))
                 for raw in path.read_text().splitlines()]  # fmt: skip
        return next((e for e in lines if e["event"] == "run.exited" and e.get("service") == f"p/{name}"), None)

    found: dict[str, Any] = until(met, f"{name} has ended")
    return found


def row(name: str) -> dict[str, Any]:
    """A service that is up."""

    def met() -> dict[str, Any] | None:
        said = ask("ps")
        found = {row["name"]: row for row in said["services"]} if said else {}
        return found.get(name) if found.get(name, {}).get("pid") else None

    found: dict[str, Any] = until(met, f"{name} is up")
    return found


def start() -> None:
    """The generated unit."""
    folder = Path("/root/p")
    folder.mkdir()
    (folder / "eat.py").write_text(EATER)
    services = [SERVICE.format(name=name, python=sys.executable, what=what, most=most, hard=HARD)
                for name, (what, most) in KINDS.items()]  # fmt: skip
    (folder / "midwatch.toml").write_text('[midwatch]\nproject = "p"\n' + "".join(services))
    text = run(sys.executable, "-m", "midwatch", "unit", "systemd", "-f", str(folder / "midwatch.toml"))
    Path(f"/etc/systemd/system/{UNIT}").write_text(text)
    drop_in = Path(f"/etc/systemd/system/{UNIT}.d")
    drop_in.mkdir()
    (drop_in / "test.conf").write_text("[Service]\nEnvironment=PYTHONPATH=/job/src:/job/site\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "start", UNIT)


def group_of(pid: int) -> Path:
    """The run's own group."""
    return Path("/sys/fs/cgroup" + Path(f"/proc/{pid}/cgroup").read_text().strip().rpartition("::")[2])


def kills() -> None:
    """The kernel's, with and without a worker, and somebody's."""
    pid = row("outside")["pid"]
    group = group_of(pid)
    names = ("memory.max", "memory.swap.max", "memory.oom.group")
    found = {name: (group / name).read_text().strip() for name in names if (group / name).exists()}
    claim(found == {"memory.max": str(HARD), "memory.swap.max": str(HARD // 4), "memory.oom.group": "1"},
          "the group's limits", found)  # fmt: skip
    os.kill(pid, signal.SIGKILL)
    for name, cause in (("alone", "oom"), ("worker", "oom"), ("outside", "killed")):
        end = first_end(name)
        claim(end["cause"] == cause and end["signal"] == "SIGKILL", f"{name}: {cause}", end["because"])
        if cause == "oom":
            log = any("[out of memory: memory group " in words and end["run_id"] in words for words in end["because"])
            claim(log, f"{name}: the kernel's log names the group", end["confidence"])


def rungs() -> None:
    """What the rehearsal found here."""
    def met() -> dict[str, str] | None:
        told = (ask("ps") or {}).get("daemon", {}).get("rungs", {})
        return told if "rehearsal" in told else None

    told = until(met, "the rehearsal is over")
    found = {name: told.get(name) for name in ("freeze", "kill", "memory release", "reap", "rehearsal")}
    busy = "not tried to the end: the machine is too busy"  # it is emulated
    claim(all(words in ("yes", busy) for words in found.values()) and found["freeze"] == "yes", "rehearsed", found)


def orphan(*argv: str) -> int:
    """A process that is nobody's child by the time we look at it, and not ours."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        pid = os.fork()
        if pid == 0:
            os.execv(argv[0], argv)
        os.write(write, str(pid).encode())
        os._exit(0)
    os.wait()
    pid = int(os.read(read, 20))
    time.sleep(2)
    return pid


def attach(pid: int) -> int:
    """ptrace by a child of ours, as py-spy is one of the keeper's; its errno."""
    read, write = os.pipe()
    if os.fork() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        number = 0 if libc.ptrace(16, pid, 0, 0) == 0 else ctypes.get_errno()
        os.write(write, str(number).encode())
        os._exit(0)
    os.wait()
    return int(os.read(read, 20))


def yama() -> None:
    """ptrace_scope = 1, without privileges: only who has declared us may be looked into."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if not scope.exists():
        claim(True, "Yama is not in this kernel: not tried")
        return
    scope.write_text("1")
    if os.fork() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        python = [sys.executable, "-I", "-S", tracegate.__file__, str(os.getpid())]
        declared, plain = orphan(*python, "/bin/sleep", "sleep", "60"), orphan("/bin/sleep", "60")
        found = (attach(declared), attach(plain))
        claim(found == (0, 1), "under Yama only the declared one can be traced (errno)", found)
        for pid in (declared, plain):
            os.kill(pid, signal.SIGKILL)
        os._exit(found != (0, 1))
    if os.wait()[1]:
        failed.append("yama")


def main() -> None:
    """Everything, then the report."""
    print(f"kernel {platform.release()}, {run('systemctl', '--version').splitlines()[0]}")
    start()
    kills()
    rungs()
    run("systemctl", "stop", UNIT)
    yama()
    print(f"{len(failed)} of the claims failed")
    sys.exit(bool(failed))


main()
