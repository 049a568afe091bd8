"""The place of every key in a TOML source: a table of edges, and an oracle that writes documents itself."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.config.locate import Path, locate

EDGES: list[tuple[str, str, dict[Path, int]]] = [
    ("a table and its keys", "[a]\nb = 1\n\n# c\nd = 2", {("a",): 1, ("a", "b"): 2, ("a", "d"): 5}),
    ("dotted keys", "a.b.c = 1\na.b . d = 2", {("a", "b", "c"): 1, ("a", "b", "d"): 2, ("a",): 1}),
    ("dotted headers", "[ a . b ]\nc.d = 1", {("a", "b"): 1, ("a", "b", "c", "d"): 2}),
    ("a header after its inner table", "[a.b]\n[a]\nc = 1", {("a",): 2, ("a", "b"): 1, ("a", "c"): 3}),
    ("quoted keys", '["a.b"]\n"c d" = 1\n\'e"f\' = 2', {("a.b",): 1, ("a.b", "c d"): 2, ("a.b", 'e"f'): 3}),
    ("escapes in keys", '"\\u0061\\t\\"" = 1', {('a\t"',): 1}),
    ("an empty key", '"" = 1\n[x.""]\ny = 2', {("",): 1, ("x", "", "y"): 3}),
    ("inline tables", "a = { b = 1, c = { d = 2 } }\ne = 3", {("a", "c", "d"): 1, ("e",): 2}),
    ("an inline table with dots", "a = { b.c = 1 }\nd = 2", {("a", "b", "c"): 1, ("d",): 2}),
    (
        "an array over lines",
        "a = [\n 1,\n # no\n [2,\n 3],\n]\nb = 1",
        {("a", 0): 2, ("a", 1, 1): 5, ("b",): 7},
    ),
    ("tables in an array", "a = [{ b = 1 },\n { b = 2 }]", {("a", 0, "b"): 1, ("a", 1, "b"): 2}),
    (
        "arrays of tables",
        "[[a]]\nb = 1\n[[a]]\nb = 2\n[a.c]\nd = 3",
        {("a", 1, "b"): 4, ("a", 1, "c", "d"): 6},
    ),
    (
        "arrays in arrays of tables",
        "[[a]]\n[[a.b]]\n[[a.b]]\nc = 1\n[[a]]",
        {("a", 0, "b", 1, "c"): 4, ("a", 1): 5},
    ),
    ("a multi-line string", 'a = """\n[no]\nb = 1\n"""\nc = 2', {("a",): 1, ("c",): 5}),
    ("quotes inside a multi-line string", 'a = """x""y"""""\nb = 1', {("b",): 2}),
    ("an escaped quote at its end", 'a = """x\\""""\nb = 1', {("b",): 2}),
    ("a literal multi-line string", "a = '''\n\\'''\nb = 2", {("b",): 3}),
    ("marks inside strings", "a = \"# [x] = {\"\nb = '] }'\nc = 1", {("b",): 2, ("c",): 3}),
    ("escapes inside strings", 'a = "\\"\\\\" # "\nb = 1', {("b",): 2}),
    (
        "Windows line ends",
        "[a]\r\nb = 1\r\nc = [\r\n1]\r\nd = 2",
        {("a", "b"): 2, ("a", "c", 0): 4, ("a", "d"): 5},
    ),
    (
        "dates and numbers",
        "a = 1979-05-27 07:32:00\nb = [0x1F, +inf]\nc = 1",
        {("a",): 1, ("b", 1): 2, ("c",): 3},
    ),
    ("no end of line", "a = 1", {("a",): 1}),
]


def paths(value: Any, base: Path = ()) -> list[Path]:
    """Every path of a parsed document."""
    if isinstance(value, dict):
        return [found for key in value for found in [(*base, key), *paths(value[key], (*base, key))]]
    if isinstance(value, list):
        return [found for at, item in enumerate(value) for found in [(*base, at), *paths(item, (*base, at))]]
    return []


@pytest.mark.parametrize(("text", "lines"), [edge[1:] for edge in EDGES], ids=[edge[0] for edge in EDGES])
def test_every_key_has_its_line(text: str, lines: dict[Path, int]) -> None:
    """Each edge of the grammar: the expected lines, and a place for every path that tomllib sees."""
    places, again = locate(text)
    assert {path: places[path][0] for path in lines} == lines
    assert not again
    assert set(paths(tomllib.loads(text))) <= set(places)


def test_columns_count_from_one() -> None:
    """The column is where the key begins, also inside a line."""
    places, _ = locate("a = 1\n  b = { cc = 1, d = 2 }")
    assert [places[path] for path in [("a",), ("b",), ("b", "d")]] == [(1, 1), (2, 3), (2, 17)]


def test_a_name_defined_again_is_told() -> None:
    """tomllib refuses such a document without saying where the first one was."""
    places, again = locate("[service.web]\nx = 1\n[service.web]\nx = 2")
    assert places["service", "web"] == (1, 1)
    assert again[0] == (("service", "web"), (3, 1))


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=0, max_size=6)
LEAVES = st.one_of(
    st.integers(-9, 9).map(str),
    st.booleans().map(lambda flag: str(flag).lower()),
    st.sampled_from(
        ['"a # b"', "'[x]'", '"""\n[t]\n"""', "'''\na = 1\n'''", "[1, { z = 2 }]", "1979-05-27 07:32:00Z"]
    ),
)


def written(name: str) -> str:
    """A key in quotes, as TOML wants it."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, LEAVES, max_size=4), max_size=4), st.integers(0, 3))
def test_lines_are_those_that_a_writer_put_there(tables: dict[str, dict[str, str]], blanks: int) -> None:
    """Oracle: a document written table by table, noting the line of each key."""
    lines: list[str] = []
    expected: dict[Path, int] = {}
    for table, keys in tables.items():
        lines += ["# [comment]"] * blanks
        expected[table,] = len(lines) + 1
        lines.append(f"[{written(table)}]")
        for key, value in keys.items():
            expected[table, key] = len(lines) + 1
            lines += f"{written(key)} = {value}".split("\n")
    text = "\n".join(lines)
    places, _ = locate(text)
    assert {path: places[path][0] for path in expected} == expected
    assert set(paths(tomllib.loads(text))) <= set(places)


@given(st.text(st.sampled_from("ab.=[]{},\"'\\#\n \tu0041")))
def test_it_never_raises(text: str) -> None:
    """On text that is no TOML it returns what it had found."""
    places, _ = locate(text)
    assert all(line >= 1 and column >= 1 for line, column in places.values())
    try:
        document = tomllib.loads(text)
    except ValueError:
        return
    assert set(paths(document)) <= set(places)


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "{ a = " * 5000, "x." * 3000 + "x = 1"])
def test_depth_does_not_break_it(text: str) -> None:
    """Absurd nesting ends early and quietly."""
    assert locate(text)[0]
