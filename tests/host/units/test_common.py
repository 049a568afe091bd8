"""The stamp, drift, and the computed times."""

from __future__ import annotations

import msgspec
from tests.host.units.conftest import web
from tests.plain import default_logs, default_rules

from midwatch.host.units import common, systemd
from midwatch.model.service import Launch as LaunchFacts
from midwatch.model.service import Probe, Rules, ServiceSpec


def spec(name: str, needs: tuple[str, ...] = (), grace: float = 10.0, **rules: object) -> ServiceSpec:
    plain = default_rules()
    stop = msgspec.structs.replace(plain.stop, grace=grace)
    mine: Rules = msgspec.structs.replace(plain, stop=stop, needs={f"p/{one}": "started" for one in needs}, **rules)
    return ServiceSpec("p", name, LaunchFacts(("x",), "/"), mine, default_logs())


def test_the_stop_of_all_is_the_sum_of_the_groups() -> None:
    """D11: stop groups go one after the other, each as long as its slowest."""
    db, web_, job = spec("db", grace=30.0), spec("web", ("db",), grace=1.0), spec("job", ("db",), grace=5.0)
    assert common.ladder(db) == 37.0
    assert common.layers_ladder((db, web_, job)) == 37.0 + 12.0
    assert common.layers_ladder((db, spec("other", grace=2.0))) == 37.0


def test_the_outer_manager_waits_longer_than_we_take() -> None:
    """D11: more than the ladder and 5 s."""
    for takes in (17.0, 17.2, 0.5):
        assert web(stop=takes).stop_timeout > takes + 5


def test_the_longest_honest_start() -> None:
    """A `run` that is still trying is not killed by a start timeout: ten tries with their pauses fit in."""
    slow = spec("slow", ready=Probe(log="x", within=40.0))
    pauses = 1 + 2 + 4 + 8 + 16 + 32 + 4 * 60
    assert common.longest_start(slow) > 10 * (40 + 17) + pauses
    assert common.longest_start(spec("plain")) > pauses


def test_the_start_limit_can_bite() -> None:
    """UNI-3, 0.1 e: longer than five lives with their pauses; 120 s by default."""
    assert common.limit_interval(15) == 120
    for life in (0, 7, 19, 65, 100):
        assert common.limit_interval(life) > 5 * (5 + life)


def test_the_stamp_survives_nothing_but_itself() -> None:
    """An unchanged file is untouched; one changed letter, also in a comment, is an edit."""
    text = systemd.make(web())
    mark = common.stamp(text)
    assert mark is not None
    assert mark[0] == "0.1.0"
    assert common.untouched(text)
    assert not common.untouched(text.replace("RestartSec=5", "RestartSec=6"))
    assert not common.untouched(text + "\n")
    assert common.stamp("[Service]\n") is None
    assert not common.untouched("[Service]\n")


def test_drift_is_told_with_its_reason() -> None:
    """The hash of the content tells an edit, that of the facts a change of the configuration."""
    old = systemd.make(web())
    assert common.drift(old, systemd.make(web(version="0.2.0"))) == []
    assert common.drift(old, systemd.make(web(stop=40.0)))[0].startswith("what it is made from has changed")
    edited = old.replace("KillMode=mixed", "KillMode=none")
    words = common.drift(edited, systemd.make(web()))
    assert words[0] == "it was edited by hand after it was made"
    assert "-KillMode=none" in words
    assert "+KillMode=mixed" in words
    other = common.stamped("[Service]\n", web())
    assert common.drift(other, old)[0] == "midwatch 0.1.0 made it otherwise than 0.1.0 does"
    assert common.drift("[Service]\n", old)[0] == "it bears no stamp: midwatch has not made it"
