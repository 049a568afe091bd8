"""A context as it is sent: valid JSON, within its bytes, previews that say how to read on."""

from __future__ import annotations

import base64
import json
import os
import random
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from midwatch import sessions
from midwatch.bounded.sessions.shapes import MARK, around
from midwatch.bounded.sessions.values import Item

MIB = 1 << 20


def sent(talk: sessions.Session, **words: Any) -> list[dict[str, Any]]:
    context = talk.assemble(**words)
    data = b"".join(context)
    assert len(data) <= context.bytes <= words.get("bytes", 1_572_864)
    assert context.length() == len(data)
    assert all(context)  # an empty chunk would end an HTTP body
    found = json.loads(data)
    assert isinstance(found, list)
    return found


def test_a_small_session_is_sent_as_it_is(talk: sessions.Session) -> None:
    """Texts with quotes, newlines, controls and emoji come out as they went in."""
    texts = ['say "hi"\n\\o/', "tab\tand \x01 and \x7f", "häuser 😀 €", ""]
    for text in texts:
        talk.append("user", text)
    assert [one["content"] for one in sent(talk)] == texts


def test_s20_of_163_messages_all_are_seen(store: sessions.Store, talk: sessions.Session) -> None:
    """S20: 40 results of 2 MB: previews with references, the newest >= 4 KiB, none a bare placeholder, pairs
    intact."""
    result = "".join(f"match {number}: {random.Random(number).random()}\n" for number in range(70_000))
    talk.append("system", "be good")
    talk.append("user", "find it")
    for number in range(80):
        talk.append("tool_use", '{"q": 1}', name="grep", calls=f"c{number}")
        talk.append("tool_result", f"{number} {result}" if number % 2 else "none", calls=f"c{number}")
    talk.append("user", "and now?")
    found = sent(talk)
    assert len(found) == 163
    large = [one for one in found if "not shown here" in one["content"]]
    assert len(large) == 40
    for one in large:
        assert one["content"].split(" ")[0].isdigit()
        assert 'sessions_read(ref="talk/' in one["content"]
        assert one["content"].endswith("\n")
        assert len(one["content"]) > 500
    assert len(large[-1]["content"]) >= 4096 - 300
    assert {one["calls"][0] for one in found if one["kind"] == "tool_use"} == {
        one["calls"][0] for one in found if one["kind"] == "tool_result"
    }


def test_s21_head_and_tail_and_the_way_to_the_rest(store: sessions.Store, talk: sessions.Session) -> None:
    """S21: a result of 5 MB: both ends are there, and what the notice names leads to exactly the next byte."""
    lines = [f"line {number:06d}\n" for number in range(400_000)]
    text = "".join(lines)
    talk.append("user", "go")
    talk.append("tool_use", "{}", calls="c")
    talk.append("tool_result", text, calls="c")
    content = sent(talk)[-1]["content"]
    head, _, rest = content.partition("\n[")
    notice, _, tail = rest.partition("]\n")
    assert text.startswith(head)
    assert text.endswith(tail)
    assert len(head) > 4096
    assert len(tail) > 4096
    offset = int(notice.rpartition("offset=")[2].rstrip(")"))
    ref = notice.partition('ref="')[2].partition('"')[0]
    page = store.read(ref, offset)
    assert head + page.text == text[: len(head) + len(page.text)]
    assert f"{len(text) - len(head) - len(tail):,} of {len(text):,} bytes" in notice


def test_previews_survive_what_tools_print(talk: sessions.Session) -> None:
    """Colours, controls, emoji at every border, invalid bytes, binary: valid JSON within its room, no escape
    character."""
    talk.append("user", "go")
    bodies = [
        ("\x1b[31mred\x1b[0m " * 60_000).encode(), b"\x01\x02\x03" * 100_000, ("😀" * 100_000).encode(),
        b"caf\xe9 " * 50_000, os.urandom(300_000), b'"\\' * 200_000, "ä".encode()[:1] * 200_000,
    ]  # fmt: skip
    for number, body in enumerate(bodies):
        talk.append("tool_use", "{}", calls=f"c{number}")
        talk.append("tool_result", body, calls=f"c{number}")
    found = sent(talk)
    assert len(found) == 1 + 2 * len(bodies)
    for one in found:
        assert "\x1b" not in one["content"]
    assert "binary output" in found[10]["content"]
    assert "red red" in found[2]["content"]


def _png(width: int, height: int, size: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(size)


def test_b8_pictures(talk: sessions.Session) -> None:
    """A picture is sent as base64 while it is new, costs what its pixels cost, and is a reference three turns
    later."""
    picture = _png(1000, 750, 200_001)
    item = talk.append("user", picture, mime="image/png")
    assert item.tokens == 1000
    shown = sent(talk)[0]
    assert base64.b64decode(shown["content"]) == picture
    assert shown["mime"] == "image/png"
    for _ in range(3):
        talk.append("user", "next")
    shown = sent(talk)[0]
    assert "older picture" in shown["content"]
    assert "talk/1" in shown["content"]
    assert "mime" not in shown


def test_what_is_no_text_is_shown_as_hex(talk: sessions.Session) -> None:
    """A small binary body: its kind, its bytes, its reference."""
    talk.append("user", b"\x7fELF" + bytes(100), mime="application/octet-stream")
    assert "ELF program" in sent(talk)[0]["content"]


def test_shapes_of_providers(talk: sessions.Session) -> None:
    """The chat form, and one of your own."""
    talk.append("system", "be good")
    talk.append("user", "list it")
    talk.append("tool_use", '{"path":"."}', name="ls", calls="c1")
    talk.append("tool_result", "a b", calls="c1")
    assert sent(talk, shape=sessions.chat) == [
        {"role": "system", "content": "be good"},
        {"role": "user", "content": "list it"},
        {"role": "assistant", "content": None,
         "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "ls", "arguments": '{"path":"."}'}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "a b"},
    ]  # fmt: skip

    def own(item: Item, picture: bool) -> tuple[str, str]:
        return around({"who": item.role, "parts": [{"text": MARK}]})

    assert sent(talk, shape=own)[0] == {"who": "system", "parts": [{"text": "be good"}]}


def test_it_can_be_gone_through_again_while_the_session_grows(talk: sessions.Session) -> None:
    """B6: a retry sends the same bytes, whatever was appended meanwhile."""
    talk.append("user", "x" * 100_000)
    context = talk.assemble()
    first = b"".join(context)
    talk.append("assistant", "more")
    assert b"".join(context) == first


def test_a_session_that_is_deleted_meanwhile_stays_valid_json(store: sessions.Store, talk: sessions.Session) -> None:
    talk.append("user", "x" * 100_000)
    talk.append("user", "short")
    context = talk.assemble()
    store.delete("talk")
    store.clean()
    found = json.loads(b"".join(context))
    assert all("cannot be read" in one["content"] for one in found)


def test_a_long_session_is_not_walked(store: sessions.Store, talk: sessions.Session) -> None:
    """Of 3,000 items only the newest pages and the anchors are looked at."""
    talk.append("system", "be good")
    talk.append("user", "the request")
    for number in range(3000):
        talk.append("assistant", str(number))
    rows = [0]
    with store.connections.reader("test") as connection:
        connection.set_progress_handler(lambda: rows.__setitem__(0, rows[0] + 1) or 0, 1000)
    talk.assemble()
    assert rows[0] < 80  # thousands of steps; all items would be 300
    found = sent(talk)
    assert len(found) == 400
    assert [one["content"] for one in found[:2]] == ["be good", "the request"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=8), st.integers(1, 400), st.integers(9000, 60_000))
def test_any_bytes_at_any_budget_are_valid_json(
    store: sessions.Store, parts: list[bytes], times: int, room: int
) -> None:
    """Whatever the bytes: the JSON parses and stays within its bound, whole and as a preview."""
    talk = store.create()
    for part in parts:
        talk.append("user", part * times)
    context = talk.assemble(bytes=room)
    data = b"".join(context)
    assert len(data) <= room
    assert len(json.loads(data)) == len(context.shown)


def test_a_budget_that_holds_nothing_is_refused(talk: sessions.Session) -> None:
    talk.append("system", "x" * 50_000)
    with pytest.raises(sessions.TooLarge, match="bytes at least"):
        talk.assemble(bytes=1000)
