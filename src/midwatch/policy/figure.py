"""A number with its name, unit, source and the test that pins it; and a table of such numbers.

Must not hold a number. Tests: tests/figures.py, used beside each table.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


class Figure(msgspec.Struct, frozen=True):
    name: str
    value: object
    unit: str
    why: str
    test: str


class Figures(dict[str, Figure]):
    """By name, in the order of their definition."""

    def add(self, name: str, value: T, unit: str, why: str, test: str) -> T:
        """Enter it; returns the value, so that the constant of that name is the figure's."""
        assert name not in self, f"{name} is defined twice"
        self[name] = Figure(name, value, unit, why, test)
        return value
