"""Search in a spool: which lines, the lines around them, and what cannot be searched."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.bounded.spooling import spooled, store_at

from midwatch.bounded.spool import SpoolError


def test_matches_with_the_lines_around_them(tmp_path: Path) -> None:
    """A17: line, column, offset, excerpt; before and after through the index."""
    store = store_at(tmp_path / "s")
    whole = b"".join(b"line %06d\n" % number for number in range(1, 100_001))
    ref = spooled(store, whole).ref
    found = store.search(ref, r"0500[05]0$", before=1, after=2)
    assert [(m.line, m.column, m.offset) for m in found.matches] == [
        (50_000, 5, 49_999 * 12 + 5),
        (50_050, 5, 50_049 * 12 + 5),
    ]
    first = found.matches[0]
    assert (first.before, first.excerpt, first.after) == (
        ("line 049999",),
        "line 050000",
        ("line 050001", "line 050002"),
    )
    assert found.complete
    assert found.text().startswith("49999- line 049999\n50000:6: line 050000\n50001- ")
    last = store.search(ref, "line 100000", after=20)
    assert last.matches[0].after == ("",)
    assert store.search(ref, "line 0", regex=False, most=7).why == "stopped at 7 matches"


def test_a_match_at_the_border_of_the_ring(tmp_path: Path) -> None:
    """What goes from the head into the ring is one line; behind a gap the line number is still right."""
    store = store_at(tmp_path / "s", spool_cap=40_000)
    fits = spooled(store, b"x" * 29_995 + b"needle" + b"y" * 9_000)
    assert [m.offset for m in store.search(fits.ref, "needle").matches] == [29_995]
    lines = b"".join(b"%09d\n" % number for number in range(1, 10_001))
    cut = spooled(store, lines)
    found = store.search(cut.ref, "9999", most=200)
    assert [m.line for m in found.matches if m.line > 9_000] == [9_999]
    assert found.gap == (cut.kept[0][1], cut.kept[1][0])
    assert "are not kept" in found.text()
    unbroken = spooled(store, b"z" * 100_000 + b"needle")
    match = store.search(unbroken.ref, "needle").matches[0]
    assert (match.line, match.column, match.offset) == (1, 100_000, 100_000)
    begun = spooled(store, b"a\n" * 20_000 + b"z" * 100_000 + b"needle")
    match = store.search(begun.ref, "needle").matches[0]
    assert (match.line, match.column, match.offset) == (20_001, None, 140_000)
    assert "20001:@140000: " in store.search(begun.ref, "needle").text()


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "", "a\nb", "x" * 5000, "(?P<n>a)(?P<n>b)"])
def test_a_bad_pattern_is_refused(tmp_path: Path, pattern: str) -> None:
    """With what is wrong about it."""
    store = store_at(tmp_path / "s")
    ref = spooled(store, b"x\n").ref
    with pytest.raises(SpoolError) as caught:
        store.search(ref, pattern)
    assert caught.value.code == "usage"


def test_a_text_of_two_hundred_matches_fits(tmp_path: Path) -> None:
    """At most 200 matches and 40,960 bytes, whatever the lines are."""
    store = store_at(tmp_path / "s")
    ref = spooled(store, (b"\x01" * 90 + b"hit" + b"\x02" * 900 + b"\n") * 1000).ref
    found = store.search(ref, "hit", before=2, after=2)
    assert len(found.matches) == 200
    assert max(len(m.excerpt.encode()) for m in found.matches) <= 200
    assert len(found.text().encode()) <= 40_960


def test_a_running_spool_can_be_searched(tmp_path: Path) -> None:
    """A18: what is there."""
    store = store_at(tmp_path / "s")
    writer = store.begin()
    writer.write(b"one\ntwo")
    assert writer.ref is not None
    found = store.search(writer.ref, "two")
    assert found.matches[0].line == 2
    assert "still being written" in found.text()
    writer.close()
