"""What holds of every table of figures (policy/defaults*.py); used by the test beside each. Must not know a figure."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

from midwatch.policy.figure import Figure

NO_FIGURES = {"KIB", "MIB", "GIB", "DAY", "FIGURES"}


def cases_below(*folders: Path, root: Path | None = None) -> set[str]:
    """FILE::TEST of each test there; FILE is the bare name, or the path from `root`."""
    return {
        f"{path.relative_to(root) if root else path.name}::{node.name}"
        for folder in folders
        for path in folder.rglob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def check(figure: Figure, module: ModuleType, tests: set[str]) -> None:
    """The cited test exists, unit and reason are said, and the constant of that name is the figure's value."""
    assert figure.test in tests, figure.test
    assert figure.unit
    assert figure.why
    assert getattr(module, figure.name) == figure.value


def check_whole(module: ModuleType) -> None:
    """No constant is left out of the table."""
    names = {name for name in vars(module) if name.isupper() and name[0] != "_"} - NO_FIGURES
    assert names == set(module.FIGURES)
