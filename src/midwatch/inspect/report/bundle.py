"""Puts a report together: a text to paste into an issue, and a zip with the longer parts. Scrubbed first, cut then.

Cutting a secret in half before it is looked for would let the half through, so parts are cut at line ends and only
after they were scrubbed. What was cut is said. Must not gather facts. Tests: tests/inspect/report/test_bundle.py.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from typing import Any

import msgspec

from midwatch.inspect.report.scrub import Scrub

TEXT_BYTES = 60_000  # an issue takes 65,536 characters
RAW_BYTES = 2 << 20  # of one part, before it is scrubbed
FILE_BYTES = 1 << 20  # of one file in the zip
MOST_FILES = 40
LINE = 400  # characters of a line in the text


class Part(msgspec.Struct, frozen=True):
    """One section: its lines for the text, and the whole for the zip under `file`. `raw`: lines as a program printed
    them, shown in a block.
    """

    title: str
    lines: tuple[str, ...] = ()
    most: int = 40
    raw: bool = True
    newest: bool = False  # when cut, the last lines stay


class Extra(msgspec.Struct, frozen=True):
    """One file of the zip. `value`: text, or anything for JSON."""

    name: str
    value: Any


class Report(msgspec.Struct, frozen=True):
    """Ready to be shared. `parts`: (what it is, bytes); `removed`: how many of each kind were taken out."""

    text: str
    archive: bytes
    parts: tuple[tuple[str, int], ...]
    removed: dict[str, int]


def compose(title: str, note: str, parts: list[Part], extras: list[Extra], scrub: Scrub) -> Report:
    """Everything scrubbed, the text within its bound, the zip within its own."""
    sections = [(part, _lines(scrub, part)) for part in parts]
    head = [f"# {scrub.text(title)}", "", scrub.text(note), ""]
    text, told = _fit(head, sections)
    files = {"report.md": text.encode()}
    for extra in extras[:MOST_FILES]:
        files[_safe(scrub.text(extra.name))] = _file(scrub, extra.value)
    archive = _zip(files)
    sizes = [*told, *((name, len(data)) for name, data in files.items() if name != "report.md")]
    return Report(text, archive, tuple(sizes), {kind: n for kind, n in sorted(scrub.removed.items()) if n})


def _lines(scrub: Scrub, part: Part) -> list[str]:
    raw = _whole_lines("\n".join(part.lines), RAW_BYTES, part.newest)
    return scrub.text(raw).split("\n") if raw else []


def _fit(head: list[str], sections: list[tuple[Part, list[str]]]) -> tuple[str, list[tuple[str, int]]]:
    """Fewer lines of each until it fits."""
    share = 1.0
    while True:
        blocks = [_block(part, lines, max(3, int(part.most * share))) for part, lines in sections]
        text = "\n".join(head + [line for block in blocks for line in block]) + "\n"
        if len(text.encode()) <= TEXT_BYTES or share < 0.0005:
            told = [(part.title, len("\n".join(block).encode()))
                    for (part, _), block in zip(sections, blocks, strict=True)]  # fmt: skip
            return _whole_lines(text, TEXT_BYTES, False), told
        share *= 0.7


def _block(part: Part, lines: list[str], most: int) -> list[str]:
    shown = lines[-most:] if part.newest else lines[:most]
    left = len(lines) - len(shown)
    cut = [line if len(line) <= LINE else line[: LINE - 1] + "…" for line in shown]
    cut = [line.replace("```", "'''") for line in cut] if part.raw else cut
    said = [f"({left} more lines, in the zip where it is kept)"] if left else []
    body = ["```text", *cut, "```"] if part.raw and cut else cut or ["(nothing)"]
    return [f"## {part.title}", "", *body, *said, ""]


def _file(scrub: Scrub, value: Any) -> bytes:
    """Scrubbed as a value, so that a name tells what is secret, and once more as text."""
    if isinstance(value, str):
        text = scrub.text(_whole_lines(value, RAW_BYTES, True))
    else:
        text = json.dumps(scrub.value(value), indent=1, ensure_ascii=False, default=str)
        text = scrub.text(text)
    return _whole_lines(text, FILE_BYTES, False).encode()


def _whole_lines(text: str, most: int, newest: bool) -> str:
    """At most so many bytes, cut at a line's end."""
    data = text.encode("utf-8", "replace")
    if len(data) <= most:
        return data.decode("utf-8", "replace")
    if newest:
        data = data[-most:]
        at = data.find(b"\n")
        return data[at + 1 :].decode("utf-8", "replace")
    data = data[:most]
    at = data.rfind(b"\n")
    return data[: at + 1 if at >= 0 else 0].decode("utf-8", "replace")


def _safe(name: str) -> str:
    clean = "".join(char if char.isalnum() or char in "-_." else "-" for char in name)
    return clean.lstrip(".")[:120] or "part"


def _zip(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(f"midwatch-report/{name}", time.gmtime()[:6])
            info.external_attr = 0o600 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return made.getvalue()
