"""Commands written as one string: words as a shell would quote them, and a refusal of what only a shell understands."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.config.shell import split

if TYPE_CHECKING:
    from tests.config.conftest import Refused


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("python server.py --port 80", ["python", "server.py", "--port", "80"]),
        ("  a  'b c' \"d e\" f\\ g ", ["a", "b c", "d e", "f g"]),
        ("a '| & ; < > ( ) $x ` ~ #' \"| & ;\"", ["a", "| & ; < > ( ) $x ` ~ #", "| & ;"]),
        ("a b=c d#e f~g 5$ *.py", ["a", "b=c", "d#e", "f~g", "5$", "*.py"]),
        ("a \\| \\$x \\~", ["a", "|", "$x", "~"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert split(text) == words


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a | b", "a pipe"),
        ("a && b", "&&"),
        ("a &", "& or"),
        ("a; b", "a second command"),
        ("a > log", "a redirection"),
        ("a 2>&1", "a redirection"),
        ("a < x", "a redirection"),
        ("(a)", "a subshell"),
        ("a $HOME", "a variable"),
        ("a ${X}", "a variable"),
        ('a "$(b)"', "a variable or substitution"),
        ('a "`b`"', "a command substitution"),
        ("~/bin/a", "a home folder"),
        ("a # why", "a comment"),
        ("a\nb", "a second line"),
        ("X=1 a", "the assignment X="),
        ("a 'b", "cannot be split into words: no closing quotation"),
        ("a \\", "cannot be split into words: no escaped character"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    """Run literally, each of these would be a surprise."""
    with pytest.raises(ValueError, match=reason.replace("(", r"\(")):
        split(text)


def test_the_hint_is_the_line_to_write(refused: Refused) -> None:
    """The way out is in the message."""
    (problem,) = refused("[service.web]\ncommand = 'a | b'")
    assert problem.message == "contains a pipe or ||, which only a shell understands"
    assert problem.hint == 'use ["sh", "-c", "a | b"], or a list of words'


@pytest.mark.parametrize("text", ["''", '""', "'  '", "\"''\"", "[]", "['']"])
def test_an_empty_command_is_refused(refused: Refused, text: str) -> None:
    assert refused(f"[service.web]\ncommand = {text}")[0].message == "is empty"


def test_a_list_holds_strings_only(refused: Refused) -> None:
    """Each offending word is named."""
    problems = refused("[service.web]\ncommand = ['sleep', 60, true]")
    assert [problem.key for problem in problems] == ["service.web.command[1]", "service.web.command[2]"]


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), min_size=1
    )
)
def test_quoted_words_come_back(words: list[str]) -> None:
    """Oracle: whatever shlex.join quoted is no shell feature any more."""
    text = shlex.join(words)
    if "=" not in words[0]:
        assert split(text) == words
