"""DOC-1: is memory short right now? The kernel's own word for it, what is left, and swap; a container's by its limit.

Directions are told with every number (GEN-8): pressure is better when low, "free" when high. Free pages are never
judged: they are near zero by design. Tests: tests/inspect/doctor/test_pressure.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from midwatch.inspect.doctor.check import WORST, Check, Context, Missing
from midwatch.inspect.doctor.parts import limit
from midwatch.model.look import Checked, Status
from midwatch.model.units import format_bytes
from midwatch.policy import defaults_inspect as figures

Part = tuple[Status, str]


def _run(ctx: Context) -> Iterable[Checked]:
    evidence: dict[str, Any] = {}
    parts = _linux(ctx, evidence) if ctx.linux else _mac(ctx, evidence)
    if not parts:
        raise Missing("neither pressure nor memory can be read here", _how(ctx))
    status = min((part[0] for part in parts), key=WORST.__getitem__)
    said = [words for one, words in parts if status in (one, "pass")]
    hint = "midwatch recover" if status in ("warn", "fail") else ""
    yield CHECK.say(status, "; ".join(said), evidence=evidence, hint=hint)


def _how(ctx: Context) -> str:
    return "mount /proc and boot with psi=1" if ctx.linux else "sysctl kern.memorystatus_vm_pressure_level"


def _linux(ctx: Context, evidence: dict[str, Any]) -> list[Part]:
    parts = _stalled(ctx, evidence)
    try:
        info = limit.meminfo(ctx.sources)
    except OSError as error:
        evidence["meminfo"] = f"not readable: {error.strerror}"
        return parts
    whole, left = info.get("MemTotal", 0), info.get("MemAvailable")
    tight = limit.smallest(ctx.sources, whole) if whole else None
    if tight is not None:
        whole, left = tight.limit, max(0, tight.limit - tight.used)
        evidence["limit"] = tight.path
    if whole and left is not None:
        parts.append(_left(left, whole, tight is not None))
        evidence |= {"total_bytes": whole, "available_bytes": left}
    swap, free = info.get("SwapTotal", 0), info.get("SwapFree", 0)
    parts += _swap(swap, swap - free, evidence)
    return parts


def _left(left: int, whole: int, limited: bool) -> Part:
    share = left / whole
    of = "the memory limit" if limited else "memory"
    words = f"{format_bytes(left)} of {format_bytes(whole)} {of} available ({share:.0%}, high is good)"
    bad = share < figures.MEMORY_LEFT[1]
    return "fail" if bad else "warn" if share < figures.MEMORY_LEFT[0] else "pass", words


def _swap(total: int, used: int, evidence: dict[str, Any]) -> list[Part]:
    if not total:
        return []
    evidence |= {"swap_total_bytes": total, "swap_used_bytes": used}
    words = f"{format_bytes(used)} of {format_bytes(total)} swap used ({used / total:.0%}, low is good)"
    return [("warn" if used / total > figures.SWAP_USED else "pass", words)]


def _stalled(ctx: Context, evidence: dict[str, Any]) -> list[Part]:
    try:
        text = ctx.text("/proc/pressure/memory")
    except OSError as error:
        evidence["pressure"] = f"not readable: {error.strerror}"
        return []
    found = {
        kind: float(value) for kind, value in re.findall(r"^(some|full) avg10=([\d.]+)", text, re.MULTILINE)
    }
    some, full = found.get("some"), found.get("full", 0.0)
    if some is None:
        evidence["pressure"] = "not understood"
        return []
    evidence |= {"some_avg10": some, "full_avg10": full}
    bad = full > figures.PSI_FULL or some > figures.PSI_SOME[1]
    words = f"work stood still for memory {some:g} % of the last 10 s, all of it {full:g} % (low is good)"
    return [("fail" if bad else "warn" if some > figures.PSI_SOME[0] else "pass", words)]


def _mac(ctx: Context, evidence: dict[str, Any]) -> list[Part]:
    parts: list[Part] = []
    try:
        level = ctx.sources.sysctl("kern.memorystatus_vm_pressure_level").strip()
    except OSError:
        level = ""
    named: dict[str, Part] = {
        "1": ("pass", "the system calls its memory pressure normal"),
        "2": ("warn", "the system warns of memory pressure (level 2 of 1, 2, 4; low is good)"),
        "4": ("fail", "the system's memory pressure is critical (level 4 of 1, 2, 4; low is good)"),
    }
    if level in named:
        evidence["level"] = int(level)
        parts.append(named[level])
    parts += _mac_free(ctx, evidence)
    try:
        swap = ctx.sources.sysctl("vm.swapusage")
    except OSError:
        return parts
    sizes = {key: float(value) * (1 << 20) for key, value in re.findall(r"(total|used) = ([\d.]+)M", swap)}
    return parts + _swap(int(sizes.get("total", 0)), int(sizes.get("used", 0)), evidence)


def _mac_free(ctx: Context, evidence: dict[str, Any]) -> list[Part]:
    """Shown, never judged: the level above already is the system's judgement."""
    try:
        out = ctx.said("memory_pressure", "-Q")
    except Missing:
        return []
    found = re.search(r"free percentage: (\d+)%", out)
    if found is None:
        return []
    evidence["free_percent"] = int(found[1])
    return [("pass", f"{found[1]} % free by the system's count (high is good)")]


CHECK = Check(
    id="DOC-1",
    category="memory",
    title="memory pressure",
    about=(
        "Linux: work stalled for memory (PSI some over 10 % of the last 10 s warns, over 40 % or full over 10 "
        "% fails), available memory (under 10 % warns, under 5 % fails), swap (over half used warns); in a "
        "container or unit its own limit counts, not the host's. macOS: the system's pressure level 1, 2, 4 "
        "is pass, warn, fail."
    ),
    run=_run,
)
