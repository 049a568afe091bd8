"""Every number of bounded execution, spool and sessions has a reason and a test that exists."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.figures import cases_below, check, check_whole

from midwatch.policy import defaults_bounded as d
from midwatch.policy.figure import Figure

TESTS = Path(__file__).parents[1]


TESTS_THERE = cases_below(TESTS / "bounded", TESTS / "system", TESTS / "front")


@pytest.mark.parametrize("figure", d.FIGURES.values(), ids=d.FIGURES)
def test_each_figure_is_explained_and_pinned(figure: Figure) -> None:
    check(figure, d, TESTS_THERE)


def test_no_constant_is_left_out_of_the_table() -> None:
    check_whole(d)


def test_figures_that_no_decision_depends_on() -> None:
    """Those are pinned here, so that a change is seen."""
    figures = {
        "SPOOL_SHARE": 0.1,
        "SPOOL_STEP": 8388608,
        "SPOOL_LOCK": 5.0,
        "SPOOL_ADOPT": 30.0,
        "SPOOL_SWEEP": 60.0,
        "SPOOL_TRIES": 5,
        "SPOOL_TAIL_LINES": 100,
        "MATCHES_MOST": 1000000,
        "SEARCH_MEMORY": 268435456,
        "FILE_NEAR": 1048576,
        "VERIFY": 1.0,
        "MEMORY_EVERY": 0.1,
        "HOLDERS_MOST": 16,
        "READ_BUFFER": 262144,
        "PIPE_BYTES": 1048576,
    }
    pinned = {figure.name for figure in d.FIGURES.values() if figure.test == d._PIN}
    assert {name: d.FIGURES[name].value for name in pinned} == figures
