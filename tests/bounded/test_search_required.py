"""The text that every match contains."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.bounded.search.required import required


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("needle", "needle"),
        (r"a\.b+cde", "cde"),
        ("(?:one)+two", "one"),
        ("(group)x*", "group"),
        ("a|b", ""),
        ("x?y*", ""),
        ("[ab]c", "c"),
        ("(?i)word", ""),
        ("(?i:word)x", "x"),
        ("foo(?=bar)", "foo"),
        (".*x.*", "x"),
        ("", ""),
        (r"\w+\s*=", "="),
        ("(?x) a b", ""),
        ("(a|b)cd", "cd"),
        ("a{2,5}bc", "bc"),
        ("a{0,5}", ""),
        ("^abc$", "abc"),
    ],
)
def test_what_is_certain(pattern: str, text: str) -> None:
    """Alternatives, optional parts and ignored case are not."""
    assert [one.decode() for one in required(pattern.encode())[:1]] == ([text] if text else [])


def test_what_is_no_pattern() -> None:
    """Whoever compiles it says so."""
    assert required(b"(") == ()


@given(st.text("ab(|)*+?.^$", max_size=10), st.text("ab", max_size=20))
def test_no_match_lacks_it(pattern: str, line: str) -> None:
    """Against Python's own search."""
    try:
        found = re.search(pattern.encode(), line.encode())
    except re.error:
        return
    if found:
        assert all(text in found.group() for text in required(pattern.encode()))


def test_all_of_them_count() -> None:
    """At most four, the longest first."""
    assert required(b"one.*three.*two.*a.*b.*c") == (b"three", b"one", b"two", b"a")
