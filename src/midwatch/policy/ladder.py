"""The timer ladder, checked when a config is loaded: each patience has to be longer than the one inside it.

probe timeout < time to be ready; grace + verify + margin < what the outer manager allows. Must not know where a value
came from: config/ adds file and line. Tests: tests/policy/test_ladder.py.
"""

from __future__ import annotations

import math

from midwatch.model.service import Probe, Rules
from midwatch.model.units import format_seconds
from midwatch.policy.defaults import STOP_MARGIN


def ladder_problems(rules: Rules, outer: float | None = None) -> list[str]:
    """What is wrong with the timers, in words. `outer`: the outer manager's patience, if known."""
    problems = []
    for name, value in (("grace", rules.stop.grace), ("verify", rules.stop.verify)):
        if not math.isfinite(value) or value < 0:
            problems.append(f"stop.{name} is {value}: it has to be 0 or more and finite")
    if rules.stop.verify == 0:
        problems.append("stop.verify is 0: nothing could be verified before it is reported")
    for name, probe in (("ready", rules.ready), ("health", rules.health), ("deep", rules.deep)):
        problems += _probe_problems(name, probe) if probe else []
    takes = rules.stop.grace + rules.stop.verify + STOP_MARGIN
    if outer is not None and takes >= outer:
        parts = (format_seconds(s) for s in (takes, rules.stop.grace, rules.stop.verify, STOP_MARGIN, outer))
        words = "a stop may take {} (grace {}, verify {}, margin {}), but the outer manager kills after {}: "
        problems.append(words.format(*parts) + "lower stop.grace or raise the manager's timeout")
    return problems


def _probe_problems(name: str, probe: Probe) -> list[str]:
    problems = []
    for key, value in (("within", probe.within), ("every", probe.every), ("timeout", probe.timeout)):
        if not math.isfinite(value) or value <= 0:
            problems.append(f"{name}.{key} is {value}: it has to be more than 0 and finite")
    if name == "ready" and probe.timeout > probe.within:
        short, long = format_seconds(probe.within), format_seconds(probe.timeout)
        problems.append(f"ready.timeout ({long}) is longer than ready.within ({short}): no probe could end in time")
    if probe.failures < 1:
        problems.append(f"{name}.failures is {probe.failures}: at least 1 failure is needed to act")
    return problems
