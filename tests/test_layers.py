"""Who may import whom: the layers (import-linter, contracts in pyproject.toml), and what each may import.

The first half runs import-linter over the package; the second reads the sources, because "no clock in the
policy" and "the engine stays lean" are about the standard library.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "midwatch"
MODULES = sorted(SRC.rglob("*.py"))

# Time, chance, the system and the outside world: a decision that used one could not be replayed.
IMPURE = {
    *(
        "time",
        "datetime",
        "os",
        "random",
        "secrets",
        "uuid",
        "logging",
        "asyncio",
        "threading",
        "multiprocessing",
    ),
    *("subprocess", "socket", "select", "selectors", "pathlib", "tempfile", "io", "sqlite3", "sys"),
}
# Each costs the supervising processes megabytes for nothing (ssl alone: 4.4).
NEVER_IN_ENGINE = {"dataclasses", "inspect", "ssl", "logging", "typer", "rich", "psutil", "unittest", "pydoc"}
# Needed now and then, by a function that imports it: the engine must not hold it from the start.
NOT_AT_START = {
    *("argparse", "csv", "dataclasses", "difflib", "gzip", "http", "json", "multiprocessing", "psutil"),
    *("rich", "shutil", "sqlite3", "statistics", "tempfile", "tomllib", "typer", "unittest", "urllib.request"),
    *("cronsim", "watchfiles", "zoneinfo"),
}
KEEPER_NEVER = {"asyncio", "concurrent", "enum", "pathlib", "re", "typing"} | NOT_AT_START - {"json"}


def test_layers_hold() -> None:
    """Every import of ours goes down the house, never up and never sideways."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=SRC.parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", ["model", "policy"])
def test_decisions_know_no_clock_and_no_system(folder: str) -> None:
    """model/ and policy/ import nothing that tells the time, rolls dice or reaches the machine."""
    found = [f"{where}: {name}" for where, name in _imports(folder) if name in IMPURE]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", ["model", "policy", "machine", "record", "keeper", "engine"])
def test_the_supervising_side_stays_lean(folder: str) -> None:
    """No module of the engine's side imports what costs megabytes, wherever the import stands."""
    found = [f"{where}: {name}" for where, name in _imports(folder) if name in NEVER_IN_ENGINE]
    assert not found, "\n".join(found)


def test_the_engine_starts_small() -> None:
    """Importing the whole engine as its entry does loads no TLS, database, compressor, command line library."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); sys.modules['ssl'] = None; import midwatch.engine.boot; "
        "print(*(name for name, module in sys.modules.items() if module is not None))"
    )
    command = [sys.executable, "-I", "-c", code, str(SRC.parent)]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert "midwatch.engine.core" in loaded
    assert sorted(loaded & (NOT_AT_START | {"ssl", "_ssl"})) == []


def test_the_keeper_is_standard_library_only() -> None:
    """The process that must never die imports the small half of the standard library and its own modules."""
    allowed = sys.stdlib_module_names | {"midwatch.keeper"}
    found = [
        f"{where}: {name}"
        for where, name in _imports("keeper")
        if name not in allowed or name in KEEPER_NEVER | NEVER_IN_ENGINE
    ]
    assert not found, "\n".join(found)


def test_importing_the_package_costs_nothing() -> None:
    """`import midwatch`, which the keeper does, loads no other module of ours and no library."""
    code = (
        "import sys; before = set(sys.modules); sys.path.insert(0, sys.argv[1]); import midwatch; "
        "print(*sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(SRC.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["midwatch"]


def _imports(folder: str) -> Iterator[tuple[str, str]]:
    """(where, module) of each import: `midwatch.<folder>`, or a first name.

    Without imports for types only, and without `*_helper.py`: those are short-lived processes of their own.
    """
    for path in sorted((SRC / folder).rglob("*.py")):
        if path.stem.endswith("_helper"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        unreal = {id(n) for i in ast.walk(tree) if _for_types_only(i) for n in ast.walk(i)}
        for node in ast.walk(tree):
            if id(node) in unreal:
                continue
            for name in _named(node):
                parts = name.split(".")
                short = ".".join(parts[:2]) if parts[0] == "midwatch" else parts[0]
                yield f"{path.relative_to(SRC)}:{getattr(node, 'lineno', 0)}", short


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _named(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and node.module != "__future__":
        if node.module == "midwatch":
            return [f"midwatch.{alias.name}" for alias in node.names]
        return [node.module]
    return []
