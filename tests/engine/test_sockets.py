"""Sockets that are passed on, as the engine sees them: opened before a start, shared, kept, given back, lost.

Issue 3, item 5.
"""

from __future__ import annotations

from typing import Any

from tests.engine.conftest import Stagehand, a_spec

TCP, UNIX = "127.0.0.1:8787", "/run/app.sock"


def web(name: str = "a", *listen: str, **launch: Any) -> Any:
    return a_spec(name, launch={"listen": listen or (TCP, UNIX), **launch})


def spawned(stage: Stagehand) -> list[list[str]]:
    return [frame["listen"] for frame in stage.keeper.frames if frame["op"] == "spawn"]


def test_they_are_opened_before_the_first_start_and_kept_through_restarts(bare: Stagehand) -> None:
    bare.apply(web())
    assert [frame["op"] for frame in bare.keeper.frames] == ["listen", "listen", "spawn"]
    assert spawned(bare) == [["p.127.0.0.1_8787", "p./run/app.sock"]]
    bare.exits(code=0)
    assert bare.phase() == "up"
    bare.ask("restart", "a")
    assert len(spawned(bare)) == 3
    assert [frame["op"] for frame in bare.keeper.frames].count("listen") == 2
    assert bare.keeper.sockets == {"p.127.0.0.1_8787": TCP, "p./run/app.sock": UNIX}
    assert bare.engine.sockets.holds(bare.service().spec, 8787)
    assert not bare.engine.sockets.holds(bare.service().spec, 87)


def test_instances_share_theirs_and_the_last_one_gives_it_back(bare: Stagehand) -> None:
    bare.apply(web("a-1", TCP), web("a-2", TCP))
    assert bare.keeper.sockets == {"p.127.0.0.1_8787": TCP}
    bare.ask("stop", "a-1")
    assert bare.keeper.sockets
    bare.ask("stop", "a-2")
    assert bare.keeper.sockets == {}
    assert bare.events("listen.closed")[-1]["addresses"] == [TCP]
    bare.ask("start", "a-2")
    assert bare.keeper.sockets
    bare.apply(web("a-1", UNIX))
    assert list(bare.keeper.sockets.values()) == [UNIX]


def test_a_reload_with_other_addresses_restarts_and_closes_the_old(bare: Stagehand) -> None:
    bare.apply(web("a", TCP))
    found = bare.apply(web("a", UNIX))
    assert found.restarted == ["p/a"]
    assert bare.phase() == "up"
    assert bare.keeper.sockets == {"p./run/app.sock": UNIX}
    assert spawned(bare)[-1] == ["p./run/app.sock"]
    assert bare.events("listen.lost") == []


def test_the_death_of_the_engine_changes_nothing(bare: Stagehand) -> None:
    bare.apply(web())
    bare.engine_dies()
    bare.boot()
    bare.exits(code=0)
    assert bare.phase() == "up"
    assert [frame["op"] for frame in bare.keeper.frames].count("listen") == 2
    assert bare.events("listen.lost") == []


def test_after_the_keepers_death_nothing_is_opened_beside_the_adopted_service(bare: Stagehand) -> None:
    """It still holds its socket: said, and opened anew before its next start."""
    bare.apply(web())
    bare.keeper_dies()
    bare.boot()
    assert bare.phase() == "up"
    assert bare.keeper.sockets == {}
    assert [line["addresses"] for line in bare.events("listen.lost")] == [[TCP, UNIX]]
    bare.exits(code=0)
    assert bare.phase() == "up"
    assert len(bare.keeper.sockets) == 2


def test_an_address_that_somebody_else_has_is_waited_for(bare: Stagehand) -> None:
    """ORP-6: no crash is counted, its holder is named; free again, it starts."""
    stranger = bare.machine.stranger()
    bare.machine.listen(stranger.pid, 8787)
    bare.keeper.taken.add(TCP)
    bare.apply(web("a", TCP))
    assert bare.phase() == "waiting"
    assert bare.service().state.crash_count == 0
    assert f"pid {stranger.pid}" in bare.events("port.conflict")[0]["owner"]
    bare.machine.exit(stranger.pid)
    bare.keeper.taken.clear()
    bare.pass_time(10)
    assert bare.phase() == "up"


def test_a_path_that_cannot_be_bound_fails_the_start(bare: Stagehand) -> None:
    bare.keeper.taken.add(UNIX)
    bare.apply(web("a", UNIX))
    assert bare.phase() == "backoff"
    (line,) = bare.events("run.spawn_failed")
    assert (line["errno"], line["phase"]) == ("EADDRINUSE", "prepare")
    assert f"cannot listen on {UNIX}" in line["error"]
    bare.keeper.taken.clear()
    bare.pass_time(2)
    assert bare.phase() == "up"
    assert spawned(bare) == [["p./run/app.sock"]]


def test_no_gate_waits_with_a_socket_in_its_hands(stage: Stagehand) -> None:
    """It would keep a closed socket open, and the next one could not be bound."""
    stage.apply(web(), a_spec("b"))
    stage.pass_time(2)
    assert (stage.service("a").warm, stage.service("b").warm is None) == (None, False)
