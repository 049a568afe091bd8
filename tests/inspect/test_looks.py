"""The kept looks: rates from them, thinned, bounded, private, and never in the way."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.inspect.look import past as looks
from midwatch.inspect.look.past import Look
from midwatch.policy import defaults_inspect as d


def at(when: float, value: float, boot: str = "b") -> Look:
    return Look(when, boot, {"k": value})


def test_story_7_the_ninth_hour_is_announced_in_the_first() -> None:
    """CC#67402: 40 ptys, an hour later 85: 0.0125 a second."""
    assert looks.rate([at(0, 40)], "k", 85, 3600, 511) == 45 / 3600


def test_a_rate_needs_two_looks_of_one_thing() -> None:
    """None: nobody knows yet; 0.0: it does not rise; a look a moment ago says nothing."""
    assert looks.rate([], "k", 5, 100, 10) is None
    assert looks.rate([at(0, 5)], "other", 50, 100, 99) is None
    assert looks.rate([at(90, 5)], "k", 50, 100, 99) is None
    assert looks.rate([at(0, 50)], "k", 40, 100, 99) == 0.0


@pytest.mark.parametrize(
    ("now", "limit", "rises"), [(13, 100, False), (14, 100, True), (40, 10_000, False), (60, 10_000, True)]
)
def test_a_rise_has_to_be_worth_the_name(now: float, limit: float, rises: bool) -> None:
    """LOOK_RISE: four units, and half a per cent of the limit."""
    rate = looks.rate([at(0, 10)], "k", now, 1000, limit)
    assert rate is not None
    assert (rate > 0) is rises


def test_one_odd_look_changes_nothing() -> None:
    """The median of the slopes; a burst a minute ago is no leak."""
    kept = [at(0, 10), at(1000, 20), at(2000, 200), at(3000, 40)]
    assert looks.rate(kept, "k", 50, 4000, 1000) == pytest.approx(0.01)


def test_looks_are_thinned_and_bounded(tmp_path: Path) -> None:
    """LOOKS_KEPT over LOOKS_AGE at LOOKS_APART, LOOKS_NUMBERS each, LOOKS_BYTES in all: whatever a person types."""
    kept: tuple[Look, ...] = ()
    for second in range(0, 90_000, 60):
        kept = looks.thinned(kept, at(float(second), second))
        assert len(kept) <= d.LOOKS_KEPT
    assert kept[-1].at == 89940
    assert kept[-1].at - kept[0].at > d.LOOKS_AGE * 0.9
    gaps = [b.at - a.at for a, b in itertools.pairwise(kept)]
    assert max(gaps) < 4 * d.LOOKS_AGE / d.LOOKS_KEPT
    burst = kept
    for second in range(30):
        burst = looks.thinned(burst, at(90_000.0 + second, 1))
    assert burst[0].at == kept[0].at or len(burst) == d.LOOKS_KEPT
    assert len(burst) <= d.LOOKS_KEPT
    many = looks.numbers((f"key{n:04}", float(n), n / 1000) for n in range(1000))
    assert len(many) == d.LOOKS_NUMBERS
    assert "key0999" in many
    assert looks.save(tmp_path, [], Look(1.0, "b", {"x" * 1000 + str(n): 1.0 for n in range(400)})) != ""
    assert not (tmp_path / looks.NAME).exists()


def test_kept_and_read_again(tmp_path: Path) -> None:
    """0600 in a folder of ours; another boot, another day and a future clock are left out."""
    folder = tmp_path / "a" / "home"
    assert looks.save(folder, [], at(1000.0, 5)) == ""
    assert os.stat(folder / looks.NAME).st_mode & 0o777 == 0o600
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert [look.at for look in looks.load(folder, "b", 2000.0)] == [1000.0]
    assert looks.load(folder, "other boot", 2000.0) == ()
    assert looks.load(folder, "b", 1000.0 + d.LOOKS_AGE + 1) == ()
    assert looks.load(folder, "b", 500.0) == ()


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[1]", b'{"looks":[{"at":"x"}]}', b"\xff", b"x" * (d.LOOKS_BYTES + 10)]
)
def test_a_damaged_file_is_no_file(data: bytes, tmp_path: Path) -> None:
    (tmp_path / looks.NAME).write_bytes(data)
    assert looks.load(tmp_path, "b", 1.0) == ()


def test_a_planted_link_or_fifo_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    os.symlink(tmp_path / "target", tmp_path / looks.NAME)
    assert looks.load(tmp_path, "b", 1.0) == ()
    looks.save(tmp_path, [], at(1.0, 1))
    assert (tmp_path / "target").read_text() == "precious"
    os.unlink(tmp_path / looks.NAME)
    os.mkfifo(tmp_path / looks.NAME)
    assert looks.load(tmp_path, "b", 1.0) == ()


@pytest.mark.unprivileged("root writes everywhere")
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "could not be kept" in looks.save(tmp_path, [], at(1.0, 1))
    tmp_path.chmod(0o700)


def test_processor_time_since_the_last_look() -> None:
    """Of one process by pid and start; the newest look that is old enough."""
    kept = [Look(0.0, "b", {"cpu:5:7": 10.0}), Look(990.0, "b", {"cpu:5:7": 11.0})]
    assert looks.shares(kept, {(5, 7): 60.0, (5, 8): 60.0}, 1000.0) == {(5, 7): 0.05}


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e9)), max_size=30), st.floats(0, 1e9))
def test_a_rate_is_never_negative(points: list[tuple[float, float]], value: float) -> None:
    rate = looks.rate([at(*point) for point in points], "k", value, 1e6, 1e9)
    assert rate is None or rate >= 0.0
