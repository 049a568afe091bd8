"""What SQLite and the system say, in our words: what, where, what to do."""

from __future__ import annotations

import errno
import sqlite3

import pytest

from midwatch.bounded.sessions import errors as e


def _sqlite(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("words of the library")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "kind"),
    [(5, e.Busy), (517, e.Busy), (6, e.Busy), (13, e.DiskFull), (11, e.Corrupt), (267, e.Corrupt), (26, e.Corrupt),
     (8, e.Unwritable), (14, e.Unwritable), (18, e.TooLarge), (1, e.StoreError)],
)  # fmt: skip
def test_codes_of_sqlite(code: int, kind: type[e.StoreError]) -> None:
    found = e.translated(_sqlite(code), "/tmp/a.db", "append")
    assert type(found) is kind
    assert "append" in str(found)
    assert "/tmp/a.db" in str(found)
    assert ". " in str(found) or "; " in str(found)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, e.DiskFull), (errno.EDQUOT, e.DiskFull), (errno.ENOENT, e.Missing), (errno.EACCES, e.Unwritable),
     (errno.ELOOP, e.Unwritable), (errno.EIO, e.StoreError)],
)  # fmt: skip
def test_errors_of_the_system(number: int, kind: type[e.StoreError]) -> None:
    assert type(e.translated(OSError(number, "words", "/x"), "/tmp/a.db", "open")) is kind


def test_codes_are_stable_and_differ() -> None:
    kinds = [
        e.StoreError,
        e.Busy,
        e.Corrupt,
        e.DiskFull,
        e.TooLarge,
        e.NotOurs,
        e.TooNew,
        e.Missing,
        e.Unwritable,
        e.Closed,
    ]
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert all(issubclass(kind, e.StoreError) for kind in kinds)


def test_a_full_disk_in_the_middle_is_typed() -> None:
    with pytest.raises(e.DiskFull), e.told("/tmp/a.db", "append"):
        raise _sqlite(13)
