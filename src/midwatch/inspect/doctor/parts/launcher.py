"""Recognises the loop of a launcher: it ends at once because its server runs already, or because it left it behind.

The manager starts it again and again while an old server keeps the port. The signs are the manager's counters, the last
words of its log, and who holds the port. Must not ask a manager. Tests: tests/inspect/doctor/test_units.py.
"""

from __future__ import annotations

import re

from midwatch.host.units.unitfile import last, parse
from midwatch.inspect.doctor.check import Context, Missing
from midwatch.inspect.doctor.parts import listeners
from midwatch.inspect.doctor.parts.managers import Service
from midwatch.model.look import Proc

_RUNNING = re.compile(
    r"already (running|in use|started|listening|exists)|address already in use|EADDRINUSE|another instance|"
    r"lock(ed)? (is )?held|pid ?file exists",
    re.IGNORECASE,
)
_PORT = re.compile(r"(?:--?port[= ]|PORT=|:)(\d{2,5})\b")
_TAIL = 8192
_DRAIN = re.compile(r"(?:drain|graceful?)[\w-]*[=\s\"']+(\d+(?:\.\d+)?)\b", re.IGNORECASE)


def last_words(ctx: Context, service: Service) -> str:
    """The line of its log that says that it runs already, else ""."""
    for text in _logs(ctx, service):
        for line in reversed(text.splitlines()):
            if _RUNNING.search(line):
                return "".join(char if char.isprintable() else " " for char in line.strip())[:160]
    return ""


def _logs(ctx: Context, service: Service) -> list[str]:
    if service.manager == "systemd":
        who = ("--user-unit" if service.user else "-u", service.name)
        try:
            return [ctx.said("journalctl", *who, "-n", "50", "-o", "cat", "--no-pager")]
        except Missing:
            return []
    found = []
    for key in ("StandardErrorPath", "StandardOutPath"):
        path = str(service.job.get(key, ""))
        try:
            size = ctx.sources.size(path)[0]
            data = ctx.sources.read(path)  # 1 MiB from its begin: larger logs are asked for by tail
            if size > len(data):
                data = ctx.sources.run(("tail", "-c", str(_TAIL), path)).out.encode()
        except OSError:
            continue
        found.append(data[-_TAIL:].decode("utf-8", "replace"))
    return found


def ports(service: Service) -> list[int]:
    """Ports that its command line or environment names."""
    if service.manager == "systemd":
        unit = parse(service.text)
        words = [value for key, value in unit.get("Service", []) if key in ("ExecStart", "Environment")]
    else:
        words = [str(word) for word in service.job.get("ProgramArguments", [])]
        words = [" ".join(words)]
        words += [f"{key}={value}" for key, value in _mapping(service.job.get("EnvironmentVariables"))]
    numbers = [int(number) for text in words for number in _PORT.findall(text)]
    return [number for number in dict.fromkeys(numbers) if 0 < number < 65536]


def _mapping(value: object) -> list[tuple[str, str]]:
    return [(str(key), str(one)) for key, one in value.items()] if isinstance(value, dict) else []


def holder(ctx: Context, service: Service) -> tuple[int, int] | None:
    """(port, pid) of somebody else who holds a port of this service; None: nobody, or it cannot be told."""
    procs = ctx.sources.table().procs
    for port in ports(service):
        try:
            pids = listeners.of(ctx, port)
        except Missing:
            return None
        for pid in pids:
            if (
                pid not in procs
                or _belongs(service, pid, procs[pid].cgroup)
                or _descends(procs, pid, service.pid)
            ):
                continue
            return port, pid
    return None


def _belongs(service: Service, pid: int, cgroup: str) -> bool:
    group = service.said.get("ControlGroup", "")
    return pid == service.pid or bool(
        group and (cgroup.endswith(group) or cgroup == group.rpartition("/")[2])
    )


def _descends(procs: dict[int, Proc], pid: int, above: int) -> bool:
    seen: set[int] = set()
    while pid in procs and pid not in seen and above:
        if pid == above:
            return True
        seen.add(pid)
        pid = procs[pid].ppid
    return False


def drain(service: Service) -> float | None:
    """Seconds that its own words say it needs to leave: --drain 300, GRACEFUL_TIMEOUT=300; None: it does not say."""
    text = (
        service.text
        if service.manager == "systemd"
        else " ".join(map(str, service.job.get("ProgramArguments", [])))
    )
    lines = [line for line in text.splitlines() if not line.startswith(("Timeout", "#", ";"))]
    found = [float(number) for number in _DRAIN.findall("\n".join(lines))]
    return max(found, default=None)


def limit_of_files(service: Service) -> bool:
    """Does the file say how many files it may open?"""
    if service.manager == "systemd":
        return last(parse(service.text), "Service", "LimitNOFILE") is not None
    limits = [service.job.get(key) for key in ("SoftResourceLimits", "HardResourceLimits")]
    return any(isinstance(one, dict) and "NumberOfFiles" in one for one in limits)
