"""Which checks there are: every module below this package that has a CHECK. Nobody keeps a list.

Must not run one. Tests: tests/inspect/doctor/test_core.py.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from importlib import import_module

import midwatch.inspect.doctor as package
from midwatch.inspect.doctor.check import CATEGORIES, Check


def checks() -> list[Check]:
    """All of them, by the number of their id."""
    found: dict[str, Check] = {}
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        check = getattr(import_module(module.name), "CHECK", None)
        if isinstance(check, Check):
            assert check.id not in found, f"{check.id} is there twice: {module.name}"
            found[check.id] = check
    return sorted(
        found.values(), key=lambda check: (check.id.rstrip("0123456789"), int("0" + _digits(check.id)))
    )


def chosen(
    all_checks: Iterable[Check],
    categories: Iterable[str] = (),
    everything: bool = False,
    service: bool = False,
) -> list[Check]:
    """Those that are asked for (GEN-3): every cheap one; of named categories the slow ones too."""
    wanted = set(categories)
    assert wanted <= set(CATEGORIES)
    return [
        check
        for check in all_checks
        if (not wanted or check.category in wanted)
        and (everything or not check.slow or check.category in wanted)
        and (not service or check.services)
    ]


def _digits(text: str) -> str:
    return "".join(char for char in text if char.isdigit())
