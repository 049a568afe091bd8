"""The JSON around an item's body, for this or that kind of provider.

A shape says what stands before and behind the body's text; the body itself is streamed between them. Write your own
for another provider: a function of an item and whether it is shown as a picture. Must not read. Tests:
tests/bounded/sessions/test_assemble.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from midwatch.bounded.sessions.values import Item

Shape = Callable[[Item, bool], tuple[str, str]]
_MARK = "\x01body\x01"
_INSIDE = msgspec.json.encode(_MARK).decode()[1:-1]


def plain(item: Item, picture: bool) -> tuple[str, str]:
    """{"role", "content", and where there are any "kind", "name", "calls", "agent"}; a picture's content is base64."""
    fields: dict[str, Any] = {"role": item.role, "kind": item.kind}
    fields.update({name: value for name in ("name", "agent") if (value := getattr(item, name))})
    if item.calls:
        fields["calls"] = item.calls
    if picture:
        fields["mime"] = item.mime
    return around({**fields, "content": _MARK})


def chat(item: Item, picture: bool) -> tuple[str, str]:
    """Messages of the chat-completions form: roles, tool_calls with arguments as text, tool_call_id, image_url."""
    if picture:
        url = {"type": "image_url", "image_url": {"url": f"data:{item.mime};base64,{_MARK}"}}
        return around({"role": "user", "content": [url]})
    if item.kind == "tool_use":
        call = {"id": item.calls[0], "type": "function", "function": {"name": item.name, "arguments": _MARK}}
        return around({"role": "assistant", "content": None, "tool_calls": [call]})
    if item.kind == "tool_result":
        return around({"role": "tool", "tool_call_id": item.calls[0], "content": _MARK})
    return around({"role": item.role, "content": _MARK})


def around(value: dict[str, Any]) -> tuple[str, str]:
    """What stands before and behind the place of the body."""
    before, _, behind = msgspec.json.encode(value).decode().partition(_INSIDE)
    return before, behind


MARK = _MARK
