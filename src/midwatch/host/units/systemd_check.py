"""What is wrong with a systemd unit, ours or anybody's: limits that cannot bite, restarts that hide a fault.

Scenario 29 and 45, D11. It reads text only. Must not ask systemd. Tests: tests/host/units/test_systemd_check.py.
"""

from __future__ import annotations

import math
import re

from midwatch.host.units.unitfile import Unit, last, parse

_DEFAULTS = {"RestartSec": 0.1, "StartLimitIntervalSec": 10.0, "TimeoutStopSec": 90.0}
_SPANS = {
    "us": 1e-6, "usec": 1e-6, "ms": 0.001, "msec": 0.001, "": 1.0, "s": 1.0, "sec": 1.0, "second": 1.0,
    "seconds": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0, "minutes": 60.0, "h": 3600.0, "hr": 3600.0,
    "hour": 3600.0, "hours": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0, "w": 604800.0,
    "week": 604800.0, "weeks": 604800.0,
}  # fmt: skip
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")


def span(text: str) -> float | None:
    """Seconds of a systemd time span; None when it is none."""
    text = text.strip().lower()
    if text in ("infinity", ""):
        return math.inf if text else None
    parts = _SPAN.findall(text)
    if not parts or _SPAN.sub("", text).strip() or any(unit not in _SPANS for _, unit in parts):
        return None
    return sum(float(number) * _SPANS[unit] for number, unit in parts)


def findings(text: str, stop: float | None = None) -> list[str]:
    """What is wrong, in words. `stop`: seconds that our own stop ladder may take, where it is known."""
    unit = parse(text)
    if "Service" not in unit:
        return ["it has no [Service] section"]
    return [*_limit(unit), *_codes(unit), *_shape(unit), *_patience(unit, stop)]


def _seconds(unit: Unit, section: str, key: str) -> float:
    value = last(unit, section, key)
    found = None if value is None else span(value)
    return _DEFAULTS[key] if found is None else found


def _limit(unit: Unit) -> list[str]:
    """A start limit that can never be reached is an endless loop (163,000 restarts in 13 days)."""
    if last(unit, "Service", "Restart") in (None, "no"):
        return []
    pause, interval = _seconds(unit, "Service", "RestartSec"), _seconds(unit, "Unit", "StartLimitIntervalSec")
    value = last(unit, "Unit", "StartLimitBurst") or "5"
    burst = int(value) if value.isdigit() else 5
    if interval == 0 or burst == 0:
        return ["there is no start limit (StartLimitIntervalSec=0): a service that cannot start is started for ever"]
    within = math.ceil(interval / pause) if pause and interval < math.inf else math.inf
    if within < burst or burst * pause >= interval:
        least = 30 * (math.floor(burst * pause * 1.5) // 30 + 1)
        words = f"limit unreachable: {within:g} starts per {interval:g} s, needs {burst}; "
        return [words + f"set StartLimitIntervalSec={least} or more"]
    return []


def _codes(unit: Unit) -> list[str]:
    if last(unit, "Service", "Restart") in (None, "no"):
        return []
    found = []
    prevented = (last(unit, "Service", "RestartPreventExitStatus") or "").split()
    if not {"78", "CONFIG"} & set(prevented):
        found.append("exit code 78 (a wrong configuration) is retried: add RestartPreventExitStatus=78")
    if last(unit, "Service", "Restart") != "always":
        forced = (last(unit, "Service", "RestartForceExitStatus") or "").split()
        if last(unit, "Service", "Restart") in ("on-abnormal", "on-abort", "on-watchdog") and "75" not in forced:
            found.append("exit code 75 (a planned restart) stays down: add RestartForceExitStatus=75")
    return found


def _shape(unit: Unit) -> list[str]:
    """What systemd reads as something else than was meant."""
    found = []
    kind = last(unit, "Service", "Type") or "simple"
    start = last(unit, "Service", "ExecStart") or ""
    if last(unit, "Service", "WatchdogSec") and not kind.startswith("notify"):
        found.append(f"WatchdogSec with Type={kind}: nobody promises to ping, and it would be killed for silence")
    if kind == "forking":
        found.append("Type=forking: systemd has to guess which process is the service; start it in the foreground")
    if " up " in f" {start} " and re.search(r"\s(-d|--detach)\b", start):
        found.append("`up -d` leaves at once: systemd takes that for the end; start `up` without -d")
    if last(unit, "Service", "KillMode") == "none":
        found.append("KillMode=none: nothing is ever ended, not even the daemon; KillMode=process spares its services")
    high = [key for key in ("MemoryHigh", "MemoryMax") if last(unit, "Service", key)]
    if high and last(unit, "Service", "KillMode") == "process":
        found.append(f"{' and '.join(high)} of a daemon's unit: the kernel would choose a victim among all services")
    return found


def _patience(unit: Unit, stop: float | None) -> list[str]:
    """D11: the outer manager has to wait longer than our own ladder takes."""
    patience = _seconds(unit, "Service", "TimeoutStopSec")
    if stop is None or patience > stop:
        return []
    return [f"TimeoutStopSec is {patience:g} s, but our own stop may take {stop:g} s: systemd would kill first"]
