"""How large a body becomes in JSON: exact for text, never less than it will be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from midwatch.bounded.sessions.showing import escape
from midwatch.bounded.sessions.wide import Widths


def _fed(data: bytes, step: int) -> Widths:
    widths = Widths()
    for at in range(0, len(data), step):
        widths.feed(data[at : at + step])
    widths.end()
    return widths


@given(st.text(), st.integers(1, 7))
def test_text_is_exact(text: str, step: int) -> None:
    data = text.encode("utf-8", "backslashreplace")
    assert _fed(data, step).wide == len(escape(data.decode()))


@given(st.binary(), st.integers(1, 7))
def test_bytes_are_never_more(data: bytes, step: int) -> None:
    assert _fed(data, step).wide >= len(escape(data.decode("utf-8", "replace")))
