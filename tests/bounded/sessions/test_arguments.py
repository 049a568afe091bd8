"""What a library user gives and gets in the first ten minutes: arguments that are none are named, files are files."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from midwatch import sessions


def test_a_body_is_a_file_like_any_other(talk: sessions.Session) -> None:
    """`read()` gives all that is left: of a long body it gave 256 KiB, of a short one everything."""
    body = bytes(range(256)) * 4096
    for pos, data in enumerate((b"short", body), 1):
        talk.append("user", data, mime="application/octet-stream")
        assert talk.open(pos).read() == data
        file = talk.open(pos)
        file.seek(2)
        assert file.read(-1) == data[2:]
        assert file.read() == b""
    assert len(talk.open(2).read(1 << 30)) == 256 << 10


@pytest.mark.parametrize("body", [None, {"role": "user"}, ["a"], 7, io.StringIO("text")])
def test_a_body_that_is_none_is_named(talk: sessions.Session, body: object) -> None:
    """It was "'dict' object has no attribute 'read'"."""
    with pytest.raises(TypeError, match="a body is text, bytes or a file open for bytes, not"):
        talk.append("user", body)  # type: ignore[arg-type]
    assert talk.info().items == 0


@pytest.mark.parametrize("bound", [{"items": 0}, {"items": -1}, {"bytes": 0}, {"tokens": -5}, {"tokens": 0}])
def test_a_bound_that_is_none_is_refused(talk: sessions.Session, bound: dict[str, int]) -> None:
    """0 was the default, -1 items made a sentence about "None tokens"."""
    with pytest.raises(ValueError, match=f"{next(iter(bound))} is "):
        talk.assemble(**bound)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_a_store_is_a_file(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`:memory:` made a file of that name."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="a store is a file"):
        sessions.open(path)
    assert not list(tmp_path.iterdir())
