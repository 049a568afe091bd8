"""An export is JSON lines, streamed, and loses nothing."""

from __future__ import annotations

import base64
import json
import os

from midwatch import sessions


def test_every_item_is_a_line(talk: sessions.Session) -> None:
    """Text as text, bytes as base64, in pieces of bounded size; a branch has all that it shares."""
    noise = os.urandom(200_000)
    talk.append("user", 'say "ü"\n')
    talk.append("tool_use", "{}", name="ls", calls="c", more={"a": 1})
    talk.append("tool_result", noise, calls="c", mime="application/octet-stream")
    talk.append("assistant", "long " * 100_000)
    fork = talk.branch(3)
    pieces: list[bytes] = []
    total = talk.export(pieces.append)
    assert total == sum(map(len, pieces))
    assert max(map(len, pieces)) < 300_000
    rows = [json.loads(line) for line in b"".join(pieces).splitlines()]
    assert [row["pos"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["body"] == 'say "ü"\n'
    assert (rows[1]["name"], rows[1]["calls"], rows[1]["more"]) == ("ls", ["c"], {"a": 1})
    assert base64.b64decode(rows[2]["body"]) == noise
    assert rows[2]["encoding"] == "base64"
    assert rows[3]["body"] == "long " * 100_000
    again: list[bytes] = []
    fork.export(again.append)
    assert len(b"".join(again).splitlines()) == 3
