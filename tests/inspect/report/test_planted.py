"""A whole report, with secrets and names planted at random in every fact it is made of: nothing planted survives.

What the engine, the journal and doctor tell is built here as they tell it; the planted values are in the environment
that the scrubber is told of, or betray themselves by form or by what stands before them.
"""

from __future__ import annotations

import base64
import io
import random
import string
import zipfile
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.inspect.doctor.machines import Machine

from midwatch.inspect.report import known
from midwatch.inspect.report.bundle import Extra, Part, compose
from midwatch.inspect.report.scrub import Scrub

WORD = st.text(string.ascii_letters + " .,:/-_\n", max_size=15)
PRINTED = string.ascii_letters + string.digits + "!#$%&*+-._~^"


class Planted:
    """One machine's secrets, by a seed: told to nobody but the environment."""

    def __init__(self, seed: int) -> None:
        dice = random.Random(seed)

        def some(alphabet: str, least: int, most: int) -> str:
            return "".join(dice.choice(alphabet) for _ in range(dice.randint(least, most)))

        self.password = "Pw0" + some(PRINTED, 6, 30)
        self.key = "k7" + some(PRINTED, 10, 60)
        self.token = "ghp_" + some(string.ascii_letters + string.digits, 36, 36)
        self.user = some(string.ascii_lowercase, 5, 12) + "qz"
        self.host = f"{some(string.ascii_lowercase, 4, 8)}qx-{dice.randint(1, 99)}"
        self.env = {"DB_PASSWORD": self.password, "SERVICE_KEY": self.key, "LEVEL": "info"}
        self.machine = Machine()
        self.machine.recorded = True
        self.machine.home = f"/home/{self.user}"
        self.machine.put("/etc/hostname", f"{self.host}\n")

    def all(self) -> list[str]:
        return [self.password, self.key, self.token, self.user, self.host]

    def dressed(self, way: int, before: str, after: str) -> str:
        """One of them, somewhere in a text."""
        coded = base64.b64encode(f"{before}:{self.password}:{after}".encode()).decode()
        at = 1 + way % 5
        return [
            f"{before}{self.password}{after}", f"{before}{self.key[:at]}\n{self.key[at:]}{after}",
            f"{before} {self.token} {after}", f"/home/{self.user}/{before}",
            f"{before}{self.user.upper()}{after}", f"{before}{self.host}{after}",
            f"https://{self.user}:{self.password}@{self.host}:5432/{after}", f"Authorization: Basic {coded}",
            f"x --password {self.password} --at {self.host}", f'{{"token": "{self.token}", "by": "{self.user}"}}',
            f"{before}{self.host[:at]}\r\n  {self.host[at:]}{after}",
            f"{before}{self.user}{self.host}{self.password}{after}",
        ][way % 12]  # fmt: skip


def _texts(archive: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        return [packed.read(name).decode() for name in packed.namelist()] + packed.namelist()


@settings(max_examples=60)
@given(st.integers(0, 1 << 32), st.lists(st.tuples(st.integers(0, 59), WORD, WORD), min_size=6, max_size=6))
def test_nothing_planted_survives(seed: int, where: list[tuple[int, str, str]]) -> None:
    """In arguments, environment, logs, journal, paths, doctor's words, names of files: every text is clean."""
    planted = Planted(seed)
    said, argv, log, path, told, title = (planted.dressed(*one) for one in where)
    event: dict[str, Any] = {
        "event": "run.tail",
        "text": said,
        "argv": ["web", argv, "--token", planted.token],
    }
    spec = {
        "launch": {"argv": [argv], "cwd": path, "env": dict(planted.env)},
        path: {"env": [f"A={planted.key}"]},
    }
    parts = [
        Part("Verdict", (told, said)), Part("Timeline", (str(event), said)),
        Part("Last output", tuple(log.splitlines())),
        Part("Configuration", (str(spec),)), Part("Doctor", (f"warn  DOC-17 {path} is full, {told}",), raw=False),
    ]  # fmt: skip
    extras = [
        Extra(f"{title}.json", spec),
        Extra("events.jsonl", str(event)),
        Extra("output.txt", log),
        Extra("why.json", event),
    ]
    names = known.of_machine(planted.machine, [planted.env])
    report = compose(title, said, parts, extras, Scrub(names))
    for text in [report.text, *_texts(report.archive), *(name for name, _ in report.parts)]:
        joined = "".join(text.split())
        for secret in planted.all():
            assert secret.lower() not in text.lower()
            assert secret.lower() not in joined.lower()
    assert base64.b64encode(planted.password.encode()).decode().rstrip("=")[:-2] not in report.text
