"""The table of states: complete, unambiguous, and nothing in it that no code carries out."""

from __future__ import annotations

from typing import get_args

import pytest

from midwatch.model.event import Ask, Event, Probed, Verb
from midwatch.policy import state, step


def test_every_pair_of_phase_and_event_is_hit_exactly_once() -> None:
    """Each (phase, event) has one row; IGNORED is written down, not implied."""
    pairs = [(p, k) for row in state.TABLE for p in row.phases for k in row.keys]
    assert len(pairs) == len(set(pairs)) == len(state.PHASES) * len(state.KEYS)
    assert set(pairs) == {(p, k) for p in state.PHASES for k in state.KEYS}


def test_a_double_row_and_a_hole_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table cannot be loaded when a pair is hit twice or never."""
    monkeypatch.setattr(state, "TABLE", (*state.TABLE, state.TABLE[0]._replace(why="again")))
    with pytest.raises(ValueError, match="two rows"):
        state.cells()
    monkeypatch.setattr(state, "TABLE", state.TABLE[1:-1])
    with pytest.raises(ValueError, match="holes"):
        state.cells()


def test_the_keys_are_the_closed_union_of_events() -> None:
    """No event is without a key, no key without an event."""
    keys = {f"ask.{verb}" for verb in get_args(Verb)} | {"probed.ready", "probed.health", "probed.deep"}
    plain = {tag for kind, tag in step._TAGS.items() if kind not in (Ask, Probed)}
    assert keys | plain == set(state.KEYS)
    assert set(get_args(Event)) == set(step._TAGS)


def test_rows_lead_only_to_phases_that_exist() -> None:
    for row in state.TABLE:
        assert row.leads_to <= set(state.PHASES)
        assert row.handler != state.IGNORED or not row.leads_to
