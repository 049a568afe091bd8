"""The numbers of the session store: each has a unit, a reason, and a test that is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.figures import cases_below, check, check_whole

from midwatch.policy import defaults_sessions as d
from midwatch.policy.figure import Figure

HERE = Path(__file__).parent


TESTS_THERE = cases_below(HERE)


@pytest.mark.parametrize("figure", d.FIGURES.values(), ids=d.FIGURES)
def test_each_figure_is_explained_and_pinned(figure: Figure) -> None:
    check(figure, d, TESTS_THERE)


def test_no_constant_is_left_out_of_the_table() -> None:
    check_whole(d)


def test_figures_that_no_decision_depends_on() -> None:
    """Those that only make it faster or smaller are in sensible order."""
    assert d.STREAM_BYTES <= d.BATCH_BYTES
    assert d.WAL_BEFORE_PAYLOAD + d.BATCH_BYTES < d.WAL_PASSIVE < d.WAL_LIMIT < d.WAL_WARN
    assert d.WRITER_CACHE + d.READERS * d.READER_CACHE == 8 << 20
    assert d.WAL_PAGES * 4096 < d.WAL_PASSIVE
    assert d.TOUCH_S >= 1
    assert d.READER_WAIT <= d.BUSY_S
    assert d.ORPHAN_S > 60
    assert d.SWEEP_CHUNKS * 262_144 <= d.BATCH_BYTES
    assert d.PIECE <= 262_144
    assert d.BACKUP_PAGES == 256
    assert d.KEEP_AGE == 90 * 86_400
    assert d.PIECE < d.FOREIGN_WINDOW <= 2**21
