"""Env files (SVC-15): parsed literally, never sourced."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.config.dotenv import SHELLS_OWN, EnvFileError, parse


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=1\nB = 2 \n", {"A": "1", "B": "2"}),
        ("# a\n\n  # b\nA=1", {"A": "1"}),
        ("export A=1\nexport\tB=2", {"A": "1", "B": "2"}),
        ("A=\nB=''\nC=\"\"", {"A": "", "B": "", "C": ""}),
        ("A=1 # why\nB=1#no\nC=#x\nD= # x", {"A": "1", "B": "1#no", "C": "", "D": ""}),
        ("A=$HOME\nB=`id`\nC=$(id)\nD=~", {"A": "$HOME", "B": "`id`", "C": "$(id)", "D": "~"}),
        ("A='$x \\n \"'", {"A": '$x \\n "'}),
        ('A="a\\nb\\t\\"\\\\\\$ \\x"', {"A": 'a\nb\t"\\$ \\x'}),
        ("A='x' # c\nB=\"y\"#c", {"A": "x", "B": "y"}),
        ('KEY="-----BEGIN\nline\n-----END"\nB=2', {"KEY": "-----BEGIN\nline\n-----END", "B": "2"}),
        ("A=1\r\nB='2'\r\n", {"A": "1", "B": "2"}),
        ("\ufeffA=1", {"A": "1"}),
        ("A=1\nA=2", {"A": "2"}),
        ("A=x=y&z", {"A": "x=y&z"}),
        ("A=it's", {"A": "it's"}),
        ("  A=1", {"A": "1"}),
        ("UID=1\nGID=1\nEUID=1\nEGID=1\nPPID=1\nA=1", {"A": "1"}),
        ("", {}),
    ],
)
def test_values(text: str, values: dict[str, str]) -> None:
    """Each form that is in use, and none of it expanded."""
    assert parse(text) == values


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("A=1\nrubbish\n", 2, "expected NAME=VALUE"),
        ("=1", 1, "expected NAME=VALUE"),
        ("1A=1", 1, "expected NAME=VALUE"),
        ("\n\nA='x\nB=2\n", 3, "the quote ' is never closed"),
        ("A='x'y", 1, "text after the closing quote '"),
        ('A="a\nb"c', 2, 'text after the closing quote "'),
        ("A=\0", 1, "the value of A contains a NUL character"),
    ],
)
def test_a_bad_line_is_named(text: str, line: int, message: str) -> None:
    with pytest.raises(EnvFileError, match=message) as caught:
        parse(text)
    assert caught.value.line == line


@given(st.text(st.sampled_from("AB=\"'\\ \n\r\t#$é\0")))
def test_it_ends_and_raises_nothing_else(text: str) -> None:
    """Any text: values or one error with a line inside the text."""
    values: dict[str, str] = {}
    line = 1
    try:
        values = parse(text)
    except EnvFileError as error:
        line = error.line
    assert 1 <= line <= text.count("\n") + 1
    assert not values.keys() & SHELLS_OWN


NAMES = st.from_regex("[A-Z_][A-Z0-9_]{3,9}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\0\r'", exclude_categories=["Cs"]))


@given(st.dictionaries(NAMES, VALUES))
def test_single_quotes_keep_everything(values: dict[str, str]) -> None:
    """Oracle: what was written in single quotes comes back."""
    expected = {name: value for name, value in values.items() if name not in SHELLS_OWN}
    assert parse("\n".join(f"{name}='{value}'" for name, value in values.items())) == expected
