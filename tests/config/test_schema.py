"""The JSON Schema and the reference: generated from the table of keys, and of one mind with the reader."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from midwatch.config.json_schema import schema
from midwatch.config.key import Key, Unset
from midwatch.config.keys import GROUPS, MIDWATCH, SERVICE, reference_rows

if TYPE_CHECKING:
    from tests.config.conftest import Read

ROOT = Path(__file__).parents[2]
VALIDATOR = jsonschema.Draft202012Validator(schema())


def alone(key: Key, value: str) -> str:
    """A text that holds one key and what has to be around it."""
    if key in MIDWATCH:
        return f"[midwatch]\n{key.path} = {value}\n[service.web]\ncommand = ['true']\n"
    lines = [f"{key.path} = {value}"]
    if key.path != "command":
        lines.insert(0, "command = ['true']")
    probe = key.parts[0] if key.parts[0] in ("ready", "health", "deep") else ""
    targets = ("http", "tcp", "command", "log", "file", "notify")
    if probe and (key.parts[1] not in targets or value == "false"):
        lines.append(f"{probe}.http = 'http://h/'")
    if key.parts[-1] in ("json_waiting", "json_active"):
        lines.append(f"{probe}.json_counter = 'done'")
    shorts = (("schedule.cron", "'@daily'"), ("watch.paths", "['src']"), ("sqlite.files", "['a.db']"))
    for group, needed in (*shorts, ("drain.signal", "'USR1'")):
        if key.parts[0] == group.split(".")[0] and key.path not in (group, "drain.command"):
            lines.append(f"{group} = {needed}")
    if key.path == "fds.per_unit":
        lines += ["health.http = 'http://h/'", "health.json_active = 'active'"]
    if key.path == "oneshot":
        lines.append("restart = {}")
    return "[service.web]\n" + "\n".join(lines) + "\n[service.db]\ncommand = 'true'\n"


ALL = [*MIDWATCH, *SERVICE]


def test_the_schema_is_valid_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("key", ALL, ids=lambda key: key.path)
def test_every_example_is_accepted_by_reader_and_schema(read: Read, key: Key) -> None:
    """The example in the reference works as it stands."""
    text = alone(key, key.example)
    if key.path != "env_files":  # its file would have to exist
        assert read(text, environ={"PATH": "/bin"}).specs
    VALIDATOR.validate(tomllib.loads(text))


@pytest.mark.parametrize(
    "key", [key for key in ALL if not isinstance(key.default, Unset)], ids=lambda key: key.path
)
def test_every_default_is_a_value_that_could_be_written(read: Read, key: Key) -> None:
    """Writing a default down changes nothing."""
    text = alone(key, key.shown)
    VALIDATOR.validate(tomllib.loads(text))
    without = text.replace(f"{key.path} = {key.shown}\n", "")
    assert read(text).specs[0].rules == read(without).specs[0].rules
    assert read(text).settings == read(without).settings


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("**/*.toml")), ids=lambda file: file.name)
def test_the_examples_fit_the_schema(file: Path) -> None:
    VALIDATOR.validate(tomllib.loads(file.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[services.x]",
        "[service.'a.b']\ncommand = 'x'",
        "[service.a]",
        "[service.a]\ncommand = []",
        "[service.a]\ncommand = 'x'\nnice = 25",
        "[service.a]\ncommand = 'x'\nstop.grase = '1s'",
        "[service.a]\ncommand = 'x'\nmemory.hard = '2Q'",
        "[service.a]\ncommand = 'x'\nrestart.clean = 10",
        "[service.a]\ncommand = 'x'\nenv.A = true",
        "[service.a]\ncommand = 'x'\nneeds.b = 'up'",
        "[service.a]\ncommand = 'x'\nrlimits.x = 1",
    ],
)
def test_what_the_reader_refuses_for_its_shape_the_schema_refuses(text: str) -> None:
    assert not VALIDATOR.is_valid(tomllib.loads(text))


def leaves(table: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for inner in table["properties"].values():
        if "properties" in inner:
            yield from leaves(inner)
        else:
            yield inner


def test_every_key_is_in_the_schema_with_its_meaning() -> None:
    """An editor shows what the reference says."""
    shown = [leaf["description"] for leaf in leaves(schema()["$defs"]["service"])]
    assert sorted(shown) == sorted(f"{key.meaning}. Default: {key.shown}" for key in SERVICE)


def test_the_reference_has_every_key_once() -> None:
    """The docs generator prints these rows."""
    rows = reference_rows()
    assert len({row.key for row in rows}) == len(rows) == len(ALL)
    assert all(row.meaning and row.example and row.default and row.kind for row in rows)
    (grace,) = [row for row in rows if row.key == "service.NAME.stop.grace"]
    assert (grace.default, grace.kind, grace.example) == ('"10s"', "a duration", 'stop.grace = "10s"')


def test_keys_of_later_releases_are_absent() -> None:
    """A key that is not built does not exist."""
    words = " ".join(row.key for row in reference_rows())
    assert not any(later in words for later in ("spool", "proxy", "cgroup_high", "sweep"))


def test_every_group_is_described() -> None:
    assert {key.parts[0] for key in SERVICE if len(key.parts) > 1} == GROUPS.keys()
