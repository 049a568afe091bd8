"""Every threshold of the looks and checks has a unit, a reason and a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from tests.figures import cases_below, check, check_whole

from midwatch.policy import defaults_inspect as d
from midwatch.policy.figure import Figure

FOLDER = Path(__file__).parent


TESTS_THERE = cases_below(FOLDER, root=FOLDER)


@pytest.mark.parametrize("figure", d.FIGURES.values(), ids=d.FIGURES)
def test_each_figure_is_explained_and_pinned(figure: Figure) -> None:
    check(figure, d, TESTS_THERE)


def test_no_constant_is_left_out_of_the_table() -> None:
    check_whole(d)


def test_the_tests_that_a_module_names_exist() -> None:
    """A docstring that sends its reader to a file that is not there is worse than none."""
    root = FOLDER.parents[1]
    for folder in ("inspect", "front"):
        for path in (root / "src" / "midwatch" / folder).rglob("*.py"):
            said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            gone = [name for name in re.findall(r"tests/[\w/]+\.py", said) if not (root / name).exists()]
            assert not gone, f"{path}: {gone}"


def test_no_advice_names_a_command_that_is_not_built() -> None:
    """Design 6: a verb that is not built is absent everywhere, also in what a check tells to type."""
    unbuilt = re.compile(r"midwatch (?:guard|top|web|mcp|mcp-server|audit|triage)\b")
    for path in (FOLDER.parents[1] / "src" / "midwatch" / "inspect").rglob("*.py"):
        assert not unbuilt.search(path.read_text(encoding="utf-8")), path
