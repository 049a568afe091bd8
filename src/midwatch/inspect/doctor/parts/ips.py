"""Reads a Mac's crash, jetsam and panic reports just far enough for a check: what, when, who, and whose code it was in.

The first line is a JSON header, the rest a second JSON; a truncated body keeps the header (TRI-2). The culprit is the
first frame of the faulting thread that is neither system plumbing nor an interpreter (TRI-4). Must not judge.
Tests: tests/inspect/doctor/test_crashes.py.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, NamedTuple

_PLUMBING = re.compile(r"(libsystem_|libdispatch|libobjc|dyld|libc\+\+|libc[-.]|ld-linux|libpthread|libxpc)")
_INTERPRETER = re.compile(r"(Python$|python\d|libpython|node$|libnode)")
# Shared libraries by the package that ships them: a few that crash often, by the image's file name.
_PACKAGES = (
    ("_pydantic_core", "pydantic-core"), ("_rust.abi3", "cryptography"), ("libcrypto", "openssl"), ("etree", "lxml"),
    ("libxml2", "lxml"), ("_imaging", "Pillow"), ("libjpeg", "Pillow"), ("_multiarray_umath", "numpy"),
    ("openblas", "numpy"), ("cygrpc", "grpcio"), ("orjson", "orjson"), ("_greenlet", "greenlet"), ("libtorch", "torch"),
    ("onnxruntime", "onnxruntime"),
    ("libarrow", "pyarrow"), ("tokenizers", "tokenizers"), ("uvloop", "uvloop"),
    ("_watchfiles", "watchfiles"), ("_sqlite3", "sqlite3"), ("_ssl", "ssl"),
)  # fmt: skip


class Report(NamedTuple):
    """One report. `kind`: crash | jetsam | panic | other; `when`: seconds, 0 unknown; `problem`: what is missing."""

    kind: str
    when: float
    app: str = ""
    parent: str = ""
    culprit: str = ""
    signal: str = ""
    words: str = ""  # a panic's text, a jetsam's largest process
    problem: str = ""


def parse(text: str) -> Report:
    """Of an .ips file. Raises ValueError when it is none."""
    first, _, rest = text.lstrip("\ufeff\r\n").partition("\n")
    header = json.loads(first)
    if not isinstance(header, dict):
        raise ValueError("the first line is no object")
    try:
        body = json.loads(rest) if rest.strip() else header
        problem = "" if isinstance(body, dict) else "body is no object"
    except ValueError:
        body, problem = {}, "body unreadable"
    body = body if isinstance(body, dict) else {}
    kind = {"309": "crash", "298": "jetsam", "210": "panic"}.get(str(header.get("bug_type", "")), "other")
    when = moment(str(body.get("captureTime", ""))) or moment(str(header.get("timestamp", "")))
    app = str(body.get("procName") or header.get("app_name") or header.get("name") or "")
    if kind == "jetsam":
        return Report(kind, when, words=str(body.get("largestProcess", "")), problem=problem)
    if kind == "panic":
        return Report(kind, when, words=str(body.get("panicString", ""))[:2000], problem=problem)
    exception = body.get("exception") if isinstance(body.get("exception"), dict) else {}
    signal = str(exception.get("signal", "")) if isinstance(exception, dict) else ""
    return Report(kind, when, app, str(body.get("parentProc", "")), culprit(body), signal, problem=problem)


def moment(text: str) -> float:
    """Seconds of "2026-03-02 09:14:07.00 +0100"; 0 when it is none."""
    for form in ("%Y-%m-%d %H:%M:%S.%f %z", "%Y-%m-%d %H:%M:%S %z"):
        try:
            return datetime.strptime(text.strip(), form).timestamp()  # noqa: DTZ007 - it has %z
        except ValueError:
            continue
    return 0.0


def culprit(body: dict[str, Any]) -> str:
    """Whose code it was in: a package, an image's name, "interpreter", or "" when the body does not tell."""
    try:
        frames = body["threads"][body.get("faultingThread", 0)]["frames"]
        images = body["usedImages"]
        names = [str(images[frame["imageIndex"]].get("name", "")) for frame in frames]
    except (KeyError, IndexError, TypeError, AttributeError):
        return ""
    for name in names:
        if not _PLUMBING.search(name) and not _INTERPRETER.search(name):
            return package(name) if name else "jump to garbage"
    return "interpreter" if any(_INTERPRETER.search(name) for name in names) else "system"


def package(image: str) -> str:
    """The package that ships an image, else its name."""
    return next((name for part, name in _PACKAGES if part in image), image.partition(".")[0] or image)


def panic_class(text: str) -> str:
    """What kind of panic: only "driver" is one's fault who wrote a driver."""
    said = text.partition("):")[2] or text
    if "no checkins from watchdogd" in said or "no successful checkins from" in said:
        return "watchdog"
    if "userspace watchdog" in said or "watchdog timeout" in said:
        return "userspace watchdog"
    if "vm_fault" in said or "guest" in said.lower() or "hv_" in said:
        return "guest"
    if "jetsam" in said.lower() or "memory" in said.lower() or "zone_map_exhausted" in said:
        return "memory"
    return "driver"
