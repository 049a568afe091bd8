"""The text fits an issue, the zip is bounded, and nothing is cut before it was scrubbed."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.inspect.report import bundle
from midwatch.inspect.report.bundle import Extra, Part, compose
from midwatch.inspect.report.known import Known, forms
from midwatch.inspect.report.scrub import Scrub

SECRET = "Zq9xVb7Kw3-planted"
MACHINE = Known(secrets=tuple(forms(SECRET)), users=("marlowe",))


def _files(report: bundle.Report) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(report.archive)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_parts_titles_and_what_was_taken_out() -> None:
    """Sections in their order, files in the zip, sizes and counts told."""
    parts = [Part("Verdict", ("it fell over", f"token {SECRET}")), Part("Empty")]
    report = compose("midwatch report: shop/web", "Made by marlowe.", parts, [Extra("a b/../c.json", {"x": SECRET})],
                     Scrub(MACHINE))  # fmt: skip
    assert report.text.startswith("# midwatch report: shop/web\n\nMade by USER-1.\n")
    assert "## Verdict\n\n```text\nit fell over\ntoken [redacted]\n```" in report.text
    assert "## Empty\n\n(nothing)" in report.text
    files = _files(report)
    assert set(files) == {"midwatch-report/report.md", "midwatch-report/a-b-..-c.json"}
    assert json.loads(files["midwatch-report/a-b-..-c.json"]) == {"x": "[redacted]"}
    assert [name for name, _ in report.parts] == ["Verdict", "Empty", "a-b-..-c.json"]
    assert report.removed["secrets"] == 2


@given(st.integers(0, 400), st.integers(1, 60), st.booleans())
def test_a_secret_at_any_cut_does_not_come_through(offset: int, count: int, newest: bool) -> None:
    """Wherever lines, parts and files are cut, the secret is gone before."""
    line = "x" * offset + SECRET + "y" * 40
    part, extra = (
        Part("Log", (line,) * count, most=25, newest=newest),
        Extra("log.txt", "\n".join([line] * count)),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle, "RAW_BYTES", 9000)
        patch.setattr(bundle, "FILE_BYTES", 4000)
        patch.setattr(bundle, "TEXT_BYTES", 3000)
        report = compose("t", "n", [part], [extra], Scrub(MACHINE))
    for text in (report.text, *_files(report).values()):
        assert "Zq9xVb7Kw3" not in text
    assert len(report.text.encode()) <= 3000


def test_everything_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten parts and sixty files that are all too large: the text fits an issue, the zip has its most."""
    assert bundle.TEXT_BYTES < 65_536  # what an issue takes
    monkeypatch.setattr(bundle, "RAW_BYTES", 60_000)
    monkeypatch.setattr(bundle, "FILE_BYTES", 20_000)
    big = tuple(f"line {number} " + "ä" * 200 for number in range(400))
    parts = [Part(f"Part {number}", big, most=4000) for number in range(10)]
    report = compose("t", "n", parts, [Extra(f"f{n}", "\n".join(big)) for n in range(60)], Scrub(Known()))
    assert len(report.text.encode()) <= bundle.TEXT_BYTES
    assert "more lines, in the zip where it is kept" in report.text
    files = _files(report)
    assert len(files) == bundle.MOST_FILES + 1
    assert all(len(text.encode()) <= 20_000 for name, text in files.items() if not name.endswith(".md"))


def test_a_fence_inside_does_not_end_the_block() -> None:
    """A program that prints three backticks stays inside its block."""
    report = compose("t", "n", [Part("Output", ("```", "# not a heading"))], [], Scrub(Known()))
    assert report.text.count("```") == 2
