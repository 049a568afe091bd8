"""Unit text: what is written reads back as the same words (UNI-7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.host.units import unitfile

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(st.lists(TEXT, min_size=1, max_size=5))
def test_words_round_trip(words: list[str]) -> None:
    """UNI-7: quotes, blanks, percent and dollar signs, backslashes, line ends, any letter."""
    assert unitfile.words(unitfile.command_value(words), command=True) == words


@given(TEXT)
def test_variables_round_trip(value: str) -> None:
    """UNI-7: an Environment line carries any value, on one line."""
    line = unitfile.environment_value("NAME", value)
    assert "\n" not in line
    assert unitfile.words(line) == [f"NAME={value}"]


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("/usr/bin/web", "/usr/bin/web"),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ("a b", '"a b"'),
        ("", '""'),
        (";", '";"'),
        ("it's", '"it\'s"'),
        ('say "x"', '"say \\"x\\""'),
        ("a\\b", '"a\\\\b"'),
    ],
)
def test_words_as_systemd_wants_them(word: str, written: str) -> None:
    assert unitfile.word(word, command=True) == written


def test_a_dollar_sign_means_nothing_in_a_variable() -> None:
    assert unitfile.environment_value("PRICE", "5$") == '"PRICE=5$"'


def test_reading_a_unit() -> None:
    """Comments are left out, lines joined, repeated keys kept; the last one counts."""
    unit = unitfile.parse(
        "# x\n; y\n[Unit]\nDescription=a \\\n# between\n  b\n"
        "[Service]\nRestart=no\nRestart=always\nEnvironment=A=1\nnonsense\n"
    )
    assert unitfile.last(unit, "Unit", "Description") == "a  b"
    assert unitfile.last(unit, "Service", "Restart") == "always"
    assert unitfile.last(unit, "Service", "Type") is None
    assert len(unit["Service"]) == 3
