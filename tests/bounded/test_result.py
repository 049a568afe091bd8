"""`Result`: one number for a shell, and no bound that looks like a success."""

from __future__ import annotations

import msgspec
import pytest

from midwatch.bounded import Result
from midwatch.bounded.result import State


@pytest.mark.parametrize(
    ("state", "exit_code", "signal", "code"),
    [
        ("exited", 0, None, 0), ("exited", 7, None, 7), ("exited", None, None, 1),
        ("signaled", None, 11, 139),
        ("timeout", 0, None, 124), ("timeout", 3, None, 3), ("timeout", None, 15, 143), ("timeout", None, None, 124),
        ("output_limit", None, 9, 137), ("cancelled", 0, None, 124),
    ],
)  # fmt: skip
def test_the_code_of_each_ending(state: State, exit_code: int | None, signal: int | None, code: int) -> None:
    """Design 6: the command's own, 128+N; never 0 for what we ended, nor for what nobody knows."""
    result = Result(state=state, exit_code=exit_code, signal=signal)
    assert result.code == code
    assert result.ok == (state == "exited" and exit_code == 0)


def test_a_failed_start_is_told_as_shells_do() -> None:
    assert Result(state="failed", reason="ENOENT").code == 127
    assert Result(state="failed", reason="EACCES").code == 126


def test_it_survives_json() -> None:
    """What `exec --json` prints can be read back as the same value."""
    result = Result(state="timeout", signal=15, reason="timeout", head="ä\n", duration_ms=1500, command=("a", "b"))
    assert msgspec.json.decode(msgspec.json.encode(result), type=Result) == result
    assert result.duration == 1.5
