"""Limits: the specification's numbers, and nothing that is no bound."""

from __future__ import annotations

import msgspec
import pytest

from midwatch.bounded.limits import DEFAULTS, Limits, checked_timeout
from midwatch.policy import defaults_bounded as d

MIB = 1 << 20


def test_the_defaults_are_those_of_the_specification() -> None:
    """2.0: what one call may show, keep, write."""
    assert (DEFAULTS.inline_cap, DEFAULTS.head, DEFAULTS.tail) == (40_960, 12_288, 20_480)
    assert (DEFAULTS.line_cap, DEFAULTS.lines_cap) == (2_048, 2_000)
    assert (DEFAULTS.spool_cap, DEFAULTS.spool_head, DEFAULTS.spool_tail) == (64 * MIB, 48 * MIB, 16 * MIB)
    assert (DEFAULTS.output_kill, DEFAULTS.spool_quota, DEFAULTS.spool_free) == (1024 * MIB, 2048 * MIB, 1024 * MIB)
    assert (DEFAULTS.spool_age, DEFAULTS.timeout_most, d.TIMEOUT) == (7 * 86_400, 3_600, 120)
    assert (DEFAULTS.item_inline, DEFAULTS.payload_chunk) == (8_192, 262_144)
    assert (DEFAULTS.ctx_bytes, DEFAULTS.ctx_items) == (1_572_864, 400)


@pytest.mark.parametrize("name", [field.name for field in msgspec.structs.fields(Limits)])
@pytest.mark.parametrize("value", [0, -1, None, True, float("inf"), float("nan"), "1"])
def test_what_is_no_bound_is_refused(name: str, value: object) -> None:
    """0, negative, nothing, infinite: there is no 'unlimited', and the message says which value it is."""
    with pytest.raises(ValueError, match=name):
        Limits(**{name: value})  # type: ignore[arg-type]


def test_a_cap_that_holds_no_preview_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2048"):
        Limits(inline_cap=2047)
    with pytest.raises(ValueError, match="line_cap"):
        Limits(inline_cap=2048, line_cap=4096)
    with pytest.raises(ValueError, match="line_cap"):
        Limits(line_cap=10)
    assert Limits(inline_cap=2048).head == 614


def test_a_timeout_has_an_end() -> None:
    assert checked_timeout("timeout", 3600, DEFAULTS) == 3600.0
    for value in (0, -1, 3601, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="idle_timeout"):
            checked_timeout("idle_timeout", value, DEFAULTS)
