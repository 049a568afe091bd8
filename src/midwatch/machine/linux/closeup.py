"""A close look at a tree that hangs, before somebody restarts it: what each process waits for, and what it holds.

Three rounds, the least dangerous first: states, threads and memory; then descriptors and sockets; then command lines
(reading one can block for as long as the process's address space is locked, which is one way to hang). It runs in a
thread of its own: when that gets stuck, what it has found so far is the answer, and "missing" says the rest. Bounded in
time and size. No environment is read. Must not interpret what it sees. Tests: tests/machine/test_closeup.py.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import msgspec

from midwatch.machine import naming
from midwatch.machine.linux import fds, files, meters, procfs, syscalls, who

MOST_BYTES = 256 << 10
_PROCESSES, _THREADS, _TARGETS, _SOCKETS = 32, 8, 64, 64
_READ_THREADS = 4000  # of one process
_NAME = 200  # characters of a target
_GAP = 0.2  # seconds between the two looks at the CPU times
_SLACK = 0.3  # seconds before the end in which nothing new is begun
_TICK = os.sysconf("SC_CLK_TCK")


class CloseUp:
    """One look. `pids` in order of importance."""

    def __init__(self, pids: list[int], version: tuple[int, int], seconds: float) -> None:
        """Nothing is read yet."""
        self._pids = pids[:_PROCESSES]
        self._version = version
        self._seconds = seconds
        self._until = time.monotonic() + max(0.1, seconds - min(_SLACK, seconds / 4))
        self._found: dict[int, dict[str, Any]] = {}
        self._missing = [f"{len(pids) - _PROCESSES} more processes"] if len(pids) > _PROCESSES else []
        self._doing = ""

    def take(self) -> dict[str, Any]:
        """The whole answer, at most `seconds` later."""
        done = threading.Event()
        threading.Thread(target=self._work, args=(done,), name="close-up", daemon=True).start()
        finished = done.wait(self._seconds)
        # a stuck thread may still come back and write: what is returned must be a copy
        processes = [dict(facts) for facts in list(self._found.values())]
        missing = list(self._missing)
        if not finished:
            missing.append(f"everything after {self._doing}, which did not answer")
        return _fit({"processes": processes, "missing": missing})

    def _work(self, done: threading.Event) -> None:
        try:
            began, first = time.monotonic(), {}
            for pid in self._pids:
                first[pid] = self._step(pid, "its threads", _cpu) or {}
            for pid in self._pids:
                self._step(pid, "its state", self._state)
            self._descriptors()
            rest = _GAP - (time.monotonic() - began)
            if first and 0 < rest < self._until - time.monotonic():
                time.sleep(rest)
            for pid in self._pids:
                self._step(pid, "its threads", lambda pid: self._threads(pid, first.get(pid, {}), began))
            for pid in self._pids:
                self._step(pid, "its command line", self._command)
        finally:
            done.set()

    def _step(self, pid: int, what: str, look: Any) -> Any:
        if time.monotonic() > self._until:
            self._missing.append(f"{what} of {pid}: out of time")
            return None
        self._doing = f"{what} of {pid}"
        try:
            return look(pid)
        except OSError as error:
            self._missing.append(f"{what} of {pid}: {error.strerror}")
        return None

    def _state(self, pid: int) -> None:
        data = files.read_record(f"/proc/{pid}/stat")
        stat = procfs.stat(data) if data else None
        if stat is None:
            self._missing.append(f"{pid}: gone")
            return
        facts: dict[str, Any] = {"pid": pid, "start": stat.start, "ppid": stat.ppid, "command": "", "state": stat.state}
        facts["name"] = naming.printable(procfs.comm(data or b""))
        facts |= _waiting(f"/proc/{pid}")
        if stat.state == "D":
            stack = (files.read_or_none(f"/proc/{pid}/stack") or b"").decode("ascii", "replace").splitlines()
            facts["kernel_stack"] = [line.partition("] ")[2] or line for line in stack[:12]]
        parts = procfs.held(files.read_record(f"/proc/{pid}/status") or b"")
        facts["memory"] = {name: value for name, value in _parts(parts).items() if value is not None}
        reading = meters.held([pid], self._version)
        facts["held_bytes"], facts["held_quality"] = reading.value, reading.quality
        self._found[pid] = facts

    def _descriptors(self) -> None:
        sockets = fds.Sockets()
        for pid in [pid for pid in self._pids if pid in self._found]:
            table = self._step(pid, "its descriptors", lambda pid: fds.table(pid, sockets, self._until))
            count, limit = meters.open_fds(pid)
            told: dict[str, Any] = {"count": count, "soft_limit": limit}
            if table is None:
                self._missing.append(f"the descriptors of {pid}: not readable")
            else:
                told |= _summed(table)
                self._found[pid]["sockets"] = _queues(table)
                if table.why:
                    self._missing.append(f"{pid}: {table.why}")
            self._found[pid]["fds"] = told  # whole: `take` may copy at any moment

    def _threads(self, pid: int, before: dict[int, int], began: float) -> None:
        facts = self._found.get(pid)
        if facts is None:
            return
        seconds = time.monotonic() - began
        now = _cpu(pid)
        busy = {tid: max(0, ticks - before.get(tid, ticks)) for tid, ticks in now.items()}
        top = sorted(now, key=lambda tid: (-busy[tid], -now[tid], tid))[:_THREADS]
        facts["cpu_s"] = round(sum(now.values()) / _TICK, 2)
        if before and seconds >= _GAP / 2:
            facts["cpu_share_now"] = round(sum(busy.values()) / _TICK / seconds, 2)
        facts["threads"] = {"count": len(now), "top": [_thread(pid, tid, now[tid]) for tid in top]}
        if len(now) >= _READ_THREADS:
            self._missing.append(f"threads of {pid} beyond {_READ_THREADS}")

    def _command(self, pid: int) -> None:
        if pid in self._found:
            self._found[pid]["command"] = who.command(pid)


def _parts(parts: procfs.Held) -> dict[str, int | None]:
    return {"anon": parts.anon, "shmem": parts.shmem, "swap": parts.swap, "hugetlb": parts.hugetlb}


def _waiting(folder: str) -> dict[str, Any]:
    """What it sleeps in: the kernel's function and the system call, as far as we may see."""
    told: dict[str, Any] = {}
    wchan = (files.read_record(f"{folder}/wchan") or b"").decode("ascii", "replace").strip("\0\n ")
    if wchan and wchan != "0":
        told["wchan"] = wchan
    words = (files.read_record(f"{folder}/syscall") or b"").split()
    if words and words[0].isdigit():
        number = int(words[0])
        told["syscall"] = syscalls.name(number) or str(number)
        if words[1:] and told["syscall"] in syscalls.OF_A_DESCRIPTOR:
            told["syscall_fd"] = int(words[1], 16)
    elif words:
        told["syscall"] = words[0].decode("ascii", "replace")  # "running"; -1: not in a system call
    return told


def _cpu(pid: int) -> dict[int, int]:
    """Thread -> user and system time so far, in ticks."""
    found: dict[int, int] = {}
    for name in os.listdir(f"/proc/{pid}/task")[:_READ_THREADS]:
        ticks = procfs.cpu_ticks(files.read_record(f"/proc/{pid}/task/{name}/stat") or b"")
        if ticks is not None:
            found[int(name)] = ticks
    return found


def _thread(pid: int, tid: int, ticks: int) -> dict[str, Any]:
    folder = f"/proc/{pid}/task/{tid}"
    data = files.read_record(f"{folder}/stat") or b""
    stat = procfs.stat(data)
    told: dict[str, Any] = {"tid": tid, "name": naming.printable(procfs.comm(data)), "cpu_s": round(ticks / _TICK, 2)}
    told["state"] = stat.state if stat else "gone"
    return told | _waiting(folder)


def _summed(table: fds.Table) -> dict[str, Any]:
    targets = table.targets()
    top = [
        {"target": naming.printable(target, _NAME), "kind": kind, "count": count}
        for target, kind, count in targets[:_TARGETS]
    ]
    return {"kinds": table.kinds(), "top": top, "targets": len(targets)}


def _queues(table: fds.Table) -> list[dict[str, Any]]:
    """Listening and connected sockets; those where something waits come first."""
    found = [fd for fd in table.fds if fd.socket is not None]
    found.sort(key=lambda fd: fd.socket is not None and (-(fd.socket.receive + fd.socket.send), fd.fd))
    told = []
    for fd in found[:_SOCKETS]:
        socket = fd.socket
        assert socket
        entry = {"fd": fd.fd, "kind": socket.kind, "local": naming.printable(socket.local, _NAME)}
        entry |= {"peer": socket.peer} if socket.peer else {}
        entry |= {"receive": socket.receive, "send": socket.send} if socket.receive or socket.send else {}
        told.append(entry)
    return told


def _fit(answer: dict[str, Any]) -> dict[str, Any]:
    """Shorten the long lists until it fits."""
    for most in (32, 16, 8, 4, 0):
        if len(msgspec.json.encode(answer)) <= MOST_BYTES:
            return answer
        for facts in answer["processes"]:
            facts["sockets"] = facts.get("sockets", [])[:most]
            if "top" in facts.get("fds", {}):
                facts["fds"] = {**facts["fds"], "top": facts["fds"]["top"][:most]}
        note = f"all but {most} targets and sockets of each process: no room"
        answer["missing"] = [*(words for words in answer["missing"] if not words.endswith("no room")), note]
    answer["missing"] = answer["missing"][-_TARGETS:]
    return answer
