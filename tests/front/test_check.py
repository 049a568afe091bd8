"""`check` and `schema`: right or wrong with the place, every default explained, nothing started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jsonschema
from tests.front.conftest import Done

Cli = Callable[..., Done]


def test_a_right_file_is_explained(cli: Cli, home: Path) -> None:
    """Services, what they do, and the defaults that were filled in; as JSON too; the home stays empty."""
    Path("midwatch.toml").write_text("[service.web]\ncommand = ['true']\n")
    done = cli("check")
    assert (done.code, done.err) == (0, "")
    assert "web" in done.out
    assert "stop.grace" in done.out
    document = cli("check", "midwatch.toml", "--json").json
    assert document["ok"] is True
    assert document["filled"]
    assert list(home.iterdir()) == []


def test_a_wrong_file_is_78_with_places(cli: Cli) -> None:
    """Each problem: file, line, key, message, hint."""
    Path("midwatch.toml").write_text("[service.web]\ncommand = ['true']\n[service.web.stop]\ngrase = '3s'\n")
    done = cli("check", "--json")
    assert done.code == 78
    (problem,) = done.json["problems"]
    assert (problem["line"], problem["key"]) == (4, "service.web.stop.grase")
    assert "grace" in problem["hint"]
    plain = cli("check")
    assert plain.code == 78
    assert "midwatch.toml:4" in plain.err
    assert cli("check", "midwatch.toml", "-f", "midwatch.toml").code == 2
    assert cli("check", "/nonexistent.toml").code == 78


def test_the_schema_is_one(cli: Cli) -> None:
    """A valid JSON Schema; with --json it is wrapped with its version."""
    schema = cli("schema").json
    jsonschema.validators.validator_for(schema).check_schema(schema)
    wrapped = cli("schema", "--json").json
    assert wrapped == {"schema_version": 1, "schema": schema}
