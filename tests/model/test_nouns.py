"""The nouns: what they derive, and that they survive the journal."""

from __future__ import annotations

import msgspec
import pytest
from tests.plain import default_rules

from midwatch.model.event import Event, Exited, Tick
from midwatch.model.exit import ExitFacts
from midwatch.model.service import Launch, Logs, ServiceSpec


def test_a_service_is_known_by_project_and_name() -> None:
    launch = Launch(("sleep", "1"), "/tmp")
    assert ServiceSpec("shop", "db", launch, default_rules(), Logs(1, 1, True)).id == "shop/db"


@pytest.mark.parametrize(("status", "code", "signal"), [
    (0, 0, None), (3 << 8, 3, None), (9, None, 9), (11 | 0x80, None, 11), (None, None, None),
])  # fmt: skip
def test_code_and_signal_come_from_the_raw_status(status: int | None, code: int | None, signal: int | None) -> None:
    """Code or signal, never both; a core dump's flag is not part of the signal; unknown stays unknown."""
    facts = ExitFacts(status, 1.0)
    assert (facts.code, facts.signal) == (code, signal)


def test_events_survive_the_journal() -> None:
    """An event is JSON in the journal and the same value when it comes back."""
    for event in (Exited("p.web.1", ExitFacts(9, 1.5, oom_kills=1), "f"), Tick()):
        assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event
