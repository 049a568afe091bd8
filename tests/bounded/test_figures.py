"""Every number of bounded execution, spool and sessions has a reason and a test that exists."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from midwatch.policy import defaults_bounded as d
from midwatch.policy.defaults import Figure
from midwatch.policy.defaults_bounded import FIGURES

TESTS = Path(__file__).parents[1]


@cache
def _tests() -> set[str]:
    folders = (TESTS / "bounded", TESTS / "system", TESTS / "front")
    return {
        f"{path.name}::{node.name}"
        for folder in folders
        for path in folder.rglob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_each_figure_is_explained_and_pinned(figure: Figure) -> None:
    """The cited test exists, the reason is said, and the constant of that name is the figure's value."""
    assert figure.test in _tests()
    assert figure.why
    assert getattr(d, figure.name) == figure.value


def test_no_constant_is_left_out_of_the_table() -> None:
    names = {name for name in vars(d) if name.isupper() and name[0] != "_"} - {"KIB", "MIB", "GIB", "T"}
    assert names == set(FIGURES) | {"FIGURES"}


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
    pinned = {figure.name for figure in FIGURES.values() if figure.test == d._PIN}
    assert {name: FIGURES[name].value for name in pinned} == figures
