"""The numbers of the session store: each has a unit, a reason, and a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

from midwatch.policy import defaults_sessions as d

HERE = Path(__file__).parent


def test_each_figure_names_a_test_that_exists() -> None:
    for figure in d.FIGURES.values():
        file, _, name = figure.test.partition("::")
        assert figure.unit
        assert figure.why
        assert re.search(rf"def {name}\(", (HERE / file).read_text()), f"{figure.name}: {figure.test}"


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
    assert d.FRAME_BYTES >= 4 * d.FIELD_BYTES
