"""The machine in a few numbers: memory and what it is limited by, swap, pressure, processors, how long it runs.

Memory is judged by doctor's own check (DOC-1), so that the first screen and the diagnosis never differ. Must not
decide what is shown. Tests: tests/inspect/test_look.py.
"""

from __future__ import annotations

import os
from typing import Any, Literal

import msgspec

from midwatch.inspect.doctor.check import Context
from midwatch.inspect.sources import Sources

Pressure = Literal["calm", "high", "critical", "unknown"]
_STATES: dict[str, Pressure] = {"pass": "calm", "warn": "high", "fail": "critical"}


class Host(msgspec.Struct, frozen=True):
    """None: could not be told. `limit`: what limits us below the machine's own memory, "" when nothing does."""

    platform: str
    pressure: Pressure = "unknown"
    words: str = ""
    total_bytes: int | None = None
    available_bytes: int | None = None
    swap_total_bytes: int | None = None
    swap_used_bytes: int | None = None
    limit: str = ""
    cpus: int | None = None
    load: float | None = None
    uptime_s: float | None = None
    boot: str = ""
    processes: int = 0
    state_bytes: int | None = None  # of agents, in their folders
    state_at_least: bool = False

    @property
    def used_bytes(self) -> int | None:
        """In use: what is not available."""
        if self.total_bytes is None or self.available_bytes is None:
            return None
        return max(0, self.total_bytes - self.available_bytes)


def host(sources: Sources, processes: int) -> Host:
    """Everything that can be told."""
    from midwatch.inspect.doctor import pressure

    evidence: dict[str, Any] = {}
    state, words = "", ""
    try:
        for one in pressure.CHECK.run(Context(sources)):
            state, words, evidence = one.status, one.message, one.evidence
    except Exception as error:  # noqa: BLE001 - Missing, or a file nobody thought of: the rest is still told
        words = f"memory pressure is not readable here: {error}"
    total = evidence.get("total_bytes") or _memsize(sources)
    available = evidence.get("available_bytes")
    if available is None and total and "free_percent" in evidence:
        available = total * int(evidence["free_percent"]) // 100
    return Host(
        platform=sources.platform,
        pressure=_STATES.get(state, "unknown"),
        words=words,
        total_bytes=total,
        available_bytes=available,
        swap_total_bytes=evidence.get("swap_total_bytes"),
        swap_used_bytes=evidence.get("swap_used_bytes"),
        limit=str(evidence.get("limit", "")),
        cpus=None if sources.recorded else os.cpu_count(),
        load=_load(sources),
        uptime_s=uptime(sources),
        boot=boot(sources),
        processes=processes,
    )


def _memsize(sources: Sources) -> int | None:
    if sources.platform != "darwin":
        return None
    try:
        return int(sources.sysctl("hw.memsize"))
    except (OSError, ValueError):
        return None


def _load(sources: Sources) -> float | None:
    try:
        if sources.platform == "darwin":
            return float(sources.sysctl("vm.loadavg").strip("{} ").split()[0])
        return float(sources.read("/proc/loadavg", 256).split()[0])
    except (OSError, ValueError, IndexError):
        return None


def uptime(sources: Sources) -> float | None:
    """Seconds since boot."""
    try:
        if sources.platform == "darwin":
            text = sources.sysctl("kern.boottime")  # { sec = 1780000000, usec = 0 } Tue Jun ...
            return max(0.0, sources.now() - float(text.partition("sec =")[2].partition(",")[0]))
        return float(sources.read("/proc/uptime", 128).split()[0])
    except (OSError, ValueError, IndexError):
        return None


def boot(sources: Sources) -> str:
    """Names this boot; "" where nothing does."""
    try:
        if sources.platform == "darwin":
            return sources.sysctl("kern.bootsessionuuid")
        return sources.read("/proc/sys/kernel/random/boot_id", 64).decode("ascii", "replace").strip()
    except OSError:
        return ""
