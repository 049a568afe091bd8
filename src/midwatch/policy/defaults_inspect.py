"""Every threshold of what looks at strangers (look, sweep, doctor, recover): value, unit, reason, pinning test.

The same form as defaults.py, in a table of its own: no decision about a service reads these. Must not decide
anything. The cited tests are below tests/inspect. Tests: tests/inspect/test_figures.py.
"""

from __future__ import annotations

from typing import TypeVar

from midwatch.policy.defaults import Figure

T = TypeVar("T")

FIGURES: dict[str, Figure] = {}


def _figure(name: str, value: T, unit: str, why: str, test: str) -> T:
    assert name not in FIGURES, f"{name} is defined twice"
    FIGURES[name] = Figure(name, value, unit, why, test)
    return value


# -- doctor: how it runs
DOCTOR_CAP = _figure("DOCTOR_CAP", 8, "checks at once", "GEN-3: most of them wait for a program or a disk", "doctor/test_core.py::test_no_more_than_eight_run_at_once")
DOCTOR_EACH = _figure("DOCTOR_EACH", 10.0, "s a check", "GEN-3: a program that hangs is left behind", "doctor/test_core.py::test_a_hanging_check_is_a_skip_and_the_end_comes_in_time")
DOCTOR_TOTAL = _figure("DOCTOR_TOTAL", 30.0, "s in all", "GEN-3: the longest a person waits for an answer", "doctor/test_core.py::test_a_hanging_check_is_a_skip_and_the_end_comes_in_time")
