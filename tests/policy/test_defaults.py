"""Every threshold has a unit, a reason and a test that exists."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.figures import cases_below, check, check_whole
from tests.plain import default_logs, default_rules

from midwatch.policy import defaults as d
from midwatch.policy.figure import Figure

TESTS_THERE = cases_below(Path(__file__).parent)


@pytest.mark.parametrize("figure", d.FIGURES.values(), ids=d.FIGURES)
def test_each_figure_is_explained_and_pinned(figure: Figure) -> None:
    check(figure, d, TESTS_THERE)


def test_no_constant_is_left_out_of_the_table() -> None:
    check_whole(d)


def test_figures_used_outside_the_policy() -> None:
    """Those that no decision depends on are pinned here, so that a change is seen."""
    figures = {
        "READY_EVERY": 0.4, "READY_TIMEOUT": 2.0, "HEALTH_EVERY": 30.0, "HEALTH_TIMEOUT": 10.0,
        "LOG_FILE_BYTES": 10485760, "LOG_FILES": 5, "LOG_TOTAL": 2147483648, "LOG_COMPRESS": True,
        "LOG_MAX_FILES": 200, "JOURNAL_WEEKS": 8, "JOURNAL_BYTES": 67108864, "JOURNAL_FILE_BYTES": 8388608,
        "SNAPSHOT_EVERY": 2000, "LOW_DISK_SHARE": 0.05, "LOW_DISK_BYTES": 536870912,
        "CONTROL_LINE_BYTES": 8388608, "CONTROL_CLIENTS": 64, "JOB_HISTORY": 256, "WARM_GATES": 64,
        "WARM_AFTER": 0.5, "COMPRESS_AFTER": 5.0, "COMPRESS_QUEUE": 256, "COMPRESS_TIMEOUT": 120.0,
        "DISK_CHECK_EVERY": 10.0, "TAIL_BYTES": 4096, "TAIL_AFTER": 0.25, "PROBE_BODY_BYTES": 65536,
        "SAY_AGAIN": 60.0, "LONG_POLL": 60.0, "GOODBYE": 0.03, "LEAVE_TRIES": 100, "DRAIN_WAIT": 0.3,
        "DRAIN_PATIENCE": 10.0, "FSYNC_AFTER": 0.005, "CLOCK_STEP": 2.0,
        "CONTROL_FIRST_REQUEST": 10.0, "CONTROL_IDLE": 600.0,
        "EVENT_QUEUE": 1000, "EVENT_PATIENCE": 2.0, "KEEPER_START": 20.0, "KEEPER_GOODBYE": 15.0, "TAKE_OVER": 20.0,
        "PULSE": 5.0, "GAP": 10.0, "STAGGER_FOR": 30.0, "STAGGER": 0.25, "STATUS_EVERY": 1.0, "GATE_LEAVES": 100,
        "UPGRADE_CHECK": 20.0,
        "DEEP_EVERY": 30.0, "DEEP_TIMEOUT": 10.0, "DEEP_FAILURES": 3, "WATCHDOG_LATE": 1.0,
        "BACKLOG_EVERY": 5.0, "BACKLOG_SAMPLES": 3,
        "PORT_ANSWER": 2.0, "PORT_HOLDERS": 16,
        "HEIR_WAIT": 1.0, "HEIR_START": 10.0, "HEIR_POLL": 0.05, "CAPTURE_WAIT": 3.0, "CAPTURE_DUMP": 0.5,
        "INSPECT_MOST": 2.0, "PAUSE_MOST": 2.0, "STACKS_MOST": 2.0, "REHEARSE_AFTER": 2.0,
        "EVIDENCE_TAIL": 65536,
        "EVIDENCE_COUNT": 100, "EVIDENCE_BYTES": 33554432,
        "SCHEDULE_CHECK": 60.0, "SCHEDULE_BACK": 10800.0, "SCHEDULE_MISSED": 1000,
        "WATCH_DEBOUNCE": 0.5, "WATCH_MOST": 10.0, "WATCH_ROOTS": 2.0, "WATCH_POLL": 1.0, "WATCH_NAMED": 10,
        "WATCH_NICE": 10, "WATCH_RETRY": 1.0, "WATCH_RETRY_MOST": 60.0, "WATCH_LINE_BYTES": 65536,
        "SAMPLE_IN_LOOP": 0.002, "SAMPLE_LEAST": 0.02, "SAMPLE_DETAIL": 5.0, "SENTINEL_DROP": 50331648,
        "JUDGE_STEP": 4194304, "JUDGE_EVERY": 55.0, "KEEP_EVERY": 55.0, "WALK_MOST": 1.0, "WALK_SHARE": 0.01,
        "BASIS_EVERY": 30.0,
        "PRESSURE_SLOW": 10.0, "FAULT_OVER": 60.0,
        "GUARD_SAVE": 60.0, "GUARD_SAVE_SOON": 1.0, "FLOORS_SAVE": 300.0, "FD_LOOK_EVERY": 300.0,
        "FD_LOOK_TRUE": 1800.0, "FD_LOOK_PAUSE": 0.05,
        "FD_AGAIN": 60.0, "FD_LOOK_LEAST": 30.0, "WAL_EVERY": 60.0, "WAL_WARN": 67108864, "WAL_MOST": 1073741824,
        "WAL_SHARES": (0.25, 0.5), "WAL_LEAST": (16777216, 268435456), "WAL_DISK": 0.1, "WAL_LOOKS": 10,
        "WAL_PROBE_EVERY": 300.0, "WAL_PROBE_WITHIN": 30.0, "WAL_HOLDERS": 10,
        "SERVICE_FILES": 4096, "PASSED_SOCKETS": 1024, "LOCK_MISSES": 3,
    }  # fmt: skip
    pinned = {f.name for f in d.FIGURES.values() if f.test == d._PIN}
    assert set(figures) == pinned
    assert {name: d.FIGURES[name].value for name in pinned} == figures


def test_run_gives_up_and_up_does_not() -> None:
    """`run` ends after ten crashes; a service of `up` never does unless it is told to."""
    assert d.RUN_CRASH_HARD == 10
    assert default_rules().budgets.crash_hard is None


def test_the_smaller_reserve_holds() -> None:
    """5 % of a small file system, 512 MiB of a large one."""
    assert d.low_disk_reserve(1 << 30) == int(0.05 * (1 << 30))
    assert d.low_disk_reserve(1 << 40) == 512 << 20
    assert default_logs().files == 5
