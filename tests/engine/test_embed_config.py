"""The tables of an embedding program: the same service as from a file, the same refusals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import midwatch
from midwatch import config
from midwatch.engine.embed.config import from_tables

FILE = """
[midwatch]
project = "shop"
[service.db]
command = ["sleep", "9"]
oneshot = true
[service.web]
command = ["sleep", "10"]
needs = ["db"]
restart = { crash = 5, killed = "3 in 1h" }
stop = { grace = "3s" }
env = { A = "1" }
instances = 2
"""
TABLES: dict[str, Any] = {
    "db": {"command": ["sleep", "9"], "oneshot": True},
    "web": {
        "command": ("sleep", "10"), "needs": ["db"], "restart": {"crash": 5, "killed": "3 in 1h"},
        "stop": {"grace": "3s"}, "env": {"A": "1"}, "instances": 2,
    },
}  # fmt: skip


def test_a_dict_means_what_the_file_means(tmp_path: Path) -> None:
    """One vocabulary: the specs are equal but for where they were written; tuples and paths count as TOML's values."""
    path = tmp_path / "midwatch.toml"
    path.write_text(FILE)
    loaded = config.load(path)
    made = from_tables(TABLES, project="shop", folder=tmp_path)
    bare = [[msgspec.structs.replace(spec, source="") for spec in one.specs] for one in (loaded, made)]
    assert bare[0] == bare[1]
    assert made.settings == loaded.settings
    assert made.specs[0].source == "Supervisor(): services.db"


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"w": {"command": ["x"], "grace": 3}}, r"service\.w\.grace: unknown key"),
        ({"w": {}}, r"service\.w\.command: "),
        ({"w": {"command": ["x"], "stop": {"grace": "soon"}}}, r"service\.w\.stop\.grace: "),
        ({"w": {"command": ["x"], "needs": ["v"]}}, r'there is no service "v"'),
        ({"a b": {"command": ["x"]}}, "is not a name for a service"),
        ({"w": ["x"]}, "expected a table"),
        ({}, "there is no service"),
    ],
)
def test_what_a_file_may_not_say_a_dict_may_not(tables: dict[str, Any], words: str) -> None:
    """The messages of the file, all problems at once, and the type is public."""
    with pytest.raises(midwatch.ConfigError, match=words):
        from_tables(tables, project="p", folder=None)


def test_a_project_needs_a_name() -> None:
    """It becomes a folder's and a run's name."""
    with pytest.raises(midwatch.ConfigError, match="is not a name for a project"):
        from_tables(TABLES, project="a/b", folder=None)


def test_the_public_names_are_there_and_cost_nothing_unused() -> None:
    """Every name of __all__ resolves; the first one loads the engine, `import midwatch` does not."""
    for name in midwatch.__all__:
        assert getattr(midwatch, name) is not None
    assert dir(midwatch) == midwatch.__all__
    with pytest.raises(AttributeError, match="no attribute 'Supervisr'"):
        midwatch.Supervisr  # noqa: B018
    code = (
        "import sys, midwatch; assert 'midwatch.engine' not in sys.modules; midwatch.SupervisorError; "
        "assert 'midwatch.engine.core' not in sys.modules; midwatch.Supervisor; "
        "print(sorted({'typer', 'rich', 'psutil', 'sqlite3', 'tomllib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
