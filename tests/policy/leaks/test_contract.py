"""The detector on seeded traces: no worse than its contract (guards 8.3, 9.3, tests 1 and 10).

Six seeds here; all thirty: make detector-table.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.policy.leaks import contract, shapes

PAGE = Path(__file__).parents[3] / "docs" / "leaks-detector.md"


@pytest.mark.slow
def test_six_seeds_are_within_the_contract() -> None:
    """Alarms a process-day for each healthy shape, hours for each leak, descriptors by kind."""
    assert contract.broken(6) == []


def test_the_traces_are_the_same_everywhere() -> None:
    """Seeded by name: what a review compares is the detector, not the weather."""
    assert shapes.memory("sessions", 3) == shapes.memory("sessions", 3)
    assert shapes.memory("sessions", 3) != shapes.memory("sessions", 4)
    assert all(len(shapes.memory(shape, 0)[0]) == shapes.MINUTES for shape in shapes.SHAPES)
    pool = shapes.sockets(0)
    assert 10 <= min(pool) < 25
    assert 55 < max(pool) <= 70


def test_the_page_has_the_table_of_all_rows() -> None:
    """docs/leaks-detector.md carries what `make detector-table` wrote: every detector, every shape."""
    table = PAGE.read_text().partition("<!-- table")[2].partition("<!-- end")[0]
    for row in contract.ROWS:
        assert re.search(rf"^\| \*{{0,2}}{re.escape(row)}\*{{0,2}} \| [.\d]+ \|", table, re.MULTILINE), row
    assert all(shape.replace("_", " ") in table for shape in contract.SHAPES)
