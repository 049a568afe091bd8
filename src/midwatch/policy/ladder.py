"""The timer ladder, checked when a config is loaded: each patience has to be longer than the one inside it.

probe timeout < time to be ready; grace + verify + margin < what the outer manager allows. Must not know where a value
came from: config/ adds file and line. Tests: tests/policy/test_ladder.py.
"""

from __future__ import annotations

import math

from midwatch.model.service import Probe, Rules
from midwatch.model.units import format_seconds
from midwatch.policy.defaults import STOP_MARGIN


def stop_takes(rules: Rules) -> float:
    """The longest that a stop may take before it is reported as done or as failed."""
    return rules.stop.grace + rules.stop.verify


def ladder_problems(rules: Rules, outer: float | None = None) -> list[str]:
    """What is wrong with the timers, in words; empty when nothing is. `outer`: the outer manager's patience, if known."""
    problems = [
        f"stop.{name} is {value}: it has to be 0 or more and finite"
        for name, value in (("grace", rules.stop.grace), ("verify", rules.stop.verify))
        if not math.isfinite(value) or value < 0
    ]
    if rules.stop.verify == 0:
        problems.append("stop.verify is 0: nothing could be verified before it is reported")
    for name, probe in (("ready", rules.ready), ("health", rules.health)):
        if probe is not None:
            problems += _probe_problems(name, probe)
    takes = stop_takes(rules) + STOP_MARGIN
    if outer is not None and takes >= outer:
        problems.append(
            f"a stop may take {format_seconds(takes)} (grace {format_seconds(rules.stop.grace)}, verify "
            f"{format_seconds(rules.stop.verify)}, margin {format_seconds(STOP_MARGIN)}), but the outer manager kills "
            f"after {format_seconds(outer)}: lower stop.grace or raise the manager's timeout"
        )
    return problems


def _probe_problems(name: str, probe: Probe) -> list[str]:
    numbers = {"within": probe.within, "every": probe.every, "timeout": probe.timeout}
    problems = [
        f"{name}.{key} is {value}: it has to be more than 0 and finite"
        for key, value in numbers.items()
        if not math.isfinite(value) or value <= 0
    ]
    if name == "ready" and probe.timeout > probe.within:
        problems.append(
            f"ready.timeout ({format_seconds(probe.timeout)}) is longer than ready.within "
            f"({format_seconds(probe.within)}): not one probe could end in time"
        )
    if probe.failures < 1:
        problems.append(f"{name}.failures is {probe.failures}: at least 1 failure is needed to act")
    return problems
