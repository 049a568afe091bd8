"""Whatever stands in a file: a valid configuration or a `ConfigError`, nothing else, and always with its place."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.config.explanation import explain
from midwatch.config.keys import MIDWATCH, SERVICE
from midwatch.config.loading import load, load_text
from midwatch.config.problems import ConfigError, Loaded, Problem
from midwatch.model.service import ServiceSpec

EXAMPLE = (Path(__file__).parents[2] / "examples" / "midwatch.toml").read_text()
ENVIRON = {"PATH": "/bin", "HOME": "/h"}


def tried(text: str) -> Loaded | None:
    """The result, checked for what always has to hold."""
    loaded: Loaded | None = None
    problems: tuple[Problem, ...] = ()
    try:
        loaded = load_text(text, "/srv/shop/midwatch.toml", environ=ENVIRON)
    except ConfigError as error:
        problems = error.problems
    for problem in problems:
        assert problem.file
        assert problem.message
        assert 1 <= problem.line <= text.count("\n") + 1 or problem.message.startswith("and ")
        assert "\n" not in str(problem)
        assert len(str(problem)) < 2000
    if loaded is None:
        assert problems
        return None
    assert (
        msgspec.json.decode(msgspec.json.encode(loaded.specs), type=tuple[ServiceSpec, ...]) == loaded.specs
    )
    assert explain(loaded)
    return loaded


@given(st.text())
def test_any_text(text: str) -> None:
    tried(text)


@given(
    st.lists(
        st.sampled_from([*EXAMPLE.split("\n"), "[service.web]", "[[service]]", "a", '"', "{", "]", "="]),
        max_size=40,
    )
)
def test_lines_of_a_real_file_in_any_order(lines: list[str]) -> None:
    tried("\n".join(lines))


@given(st.integers(0, len(EXAMPLE)), st.integers(0, 30), st.text(max_size=5))
def test_a_real_file_with_a_hole(at: int, size: int, put: str) -> None:
    """What an editor leaves when it crashes, or a person in the middle of a word."""
    tried(EXAMPLE[:at] + put + EXAMPLE[at + size :])


VALUES = st.recursive(
    st.one_of(
        st.none().map(lambda _: "false"),
        st.integers(-(10**20), 10**20).map(str),
        st.floats().map(lambda number: str(number) if "e" not in str(number) else "1.5"),
        st.sampled_from(["true", "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "inf", "nan"]),
        st.text(max_size=8).map(lambda text: msgspec.json.encode(text).decode()),
        st.sampled_from(
            [
                '"10s"',
                '"1G"',
                '"off"',
                '"10 in 60s"',
                '"http://h/"',
                '"TERM"',
                '"web"',
                '"a | b"',
                '"\\u0000"',
            ]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(
            st.sampled_from(["soft", "http", "A", "nofile", "web", "grace"]), inner, max_size=3
        ).map(lambda items: "{ " + ", ".join(f"{key} = {value}" for key, value in items.items()) + " }"),
    ),
    max_leaves=5,
)
PATHS = sorted({part for key in SERVICE for part in (key.path, key.parts[0])})


@given(
    st.dictionaries(st.sampled_from(PATHS), VALUES, max_size=6),
    st.sampled_from([key.path for key in MIDWATCH]),
    VALUES,
)
def test_any_value_for_any_key(keys: dict[str, Any], setting: str, value: str) -> None:
    """A wrong type is a problem, never a traceback."""
    body = "\n".join(f"{key} = {item}" for key, item in keys.items())
    tried(f"[midwatch]\n{setting} = {value}\n[service.web]\n{body}\n")


@given(data=st.binary(max_size=200))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Read from a real file."""
    file = tmp_path_factory.getbasetemp() / "any-bytes.toml"
    file.write_bytes(data)
    with contextlib.suppress(ConfigError):
        assert load(file, environ=ENVIRON).specs
