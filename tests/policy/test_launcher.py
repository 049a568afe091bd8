"""A launcher that exits with 0 while its child serves: SVC-2, ORP-7 and scenario 14 (the bug of hermes-webui)."""

from __future__ import annotations

from typing import Any

import pytest

from midwatch.model.action import Follow, Kill, Precheck, Spawn, Watch
from midwatch.model.event import Exited, Prechecked, Probed, Resumed, Spawned
from midwatch.model.exit import ExitFacts
from midwatch.model.service import Probe

READY = Probe(tcp="x:1", within=25.0)


def launch(w: Any, code: int = 0, heir: int = 500) -> list[Any]:
    return w.exit(code, 0.3, heir=heir, port=8787, strays=1)  # type: ignore[no-any-return]


def test_the_child_is_followed_as_the_run(world: Any) -> None:
    """Scenario 14: named, followed, nothing spent, no second copy; its later end is the run's end."""
    w = world().come_up()
    launch(w)
    assert w.named("run.daemonised")[0] == {
        "run_id": "p.web.1", "pid": 500, "launcher_pid": 101, "port": 8787, "action": "followed",
        "decision": "it left with 0 after 300 ms, its child 500 has port 8787: followed as the run",
    }  # fmt: skip
    assert w.done(Follow) == [Follow("p.web.1", 500)]
    assert (w.state.phase, w.state.pid, w.state.followed, w.state.windows) == ("up", 500, True, {})
    assert len(w.done(Spawn)) == 1
    assert Watch("p.web.1", None) not in w.done(Watch)
    w.exit(3, 100.0)
    assert w.field("run.exited", "pid") == [500]
    assert w.state.crash_count == 1
    w.come_up()
    assert not w.state.followed


def test_one_that_is_not_ready_yet_stays_on_its_way(world: Any) -> None:
    """The ready probe and its deadline go on; the job waits for the answer."""
    w = world(ready=READY)
    w.ask("start", "go")
    w.come_up()
    deadline = w.state.wake_at
    launch(w)
    assert (w.state.phase, w.state.wake_at) == ("starting", deadline)
    w.feed(Probed("p.web.1", "ready", True), 1.0)
    assert (w.state.phase, w.jobs["go"]) == ("up", [True])


def test_a_followed_run_is_stopped_and_resumed_like_any_other(world: Any) -> None:
    w = world().come_up()
    launch(w)
    assert w.feed(Resumed(alive=True))[-1] == Watch("p.web.1", "health")
    w.ask("stop")
    w.exit(signal=15)
    w.tree_gone()
    assert w.state.phase == "stopped"


def test_refused_is_held_with_the_fix(world: Any) -> None:
    """launcher = "refuse": the tree is ended, the words name the fix, a change of the file is a new try."""
    w = world(launcher="refuse").come_up()
    w.feed(Exited("p.web.1", ExitFacts(0, 0.3, heir=500, port=8787, strays=1), fingerprint="f1"))
    assert w.done(Kill) == [Kill("p.web.1", 10.0, 5.0)]
    assert not w.done(Follow)
    assert w.field("run.daemonised", "action") == ["refused"]
    w.tree_gone(ended=1)
    assert (w.state.phase, w.state.windows) == ("held", {})
    held = w.named("service.held")[0]
    assert held["reason"] == "daemonised"
    assert "--foreground" in held["decision"]
    assert 'launcher = "follow"' in held["decision"]
    assert w.tick() == [Precheck()]
    w.feed(Prechecked("f1"))
    assert w.state.phase == "held"
    w.feed(Prechecked("f2"))
    assert w.state.phase == "starting"


@pytest.mark.parametrize("code", [1, 78])
def test_a_launcher_that_fails_is_judged_as_ever(world: Any, code: int) -> None:
    """A code other than 0 is no daemon: the rest of the tree is ended."""
    w = world().come_up()
    w.exit(code, 0.3, heir=500)
    assert w.done(Kill)
    assert not w.done(Follow)


def test_without_a_known_launcher_nobody_is_followed(world: Any) -> None:
    """An exit before the spawn was told (a new engine): judged, and the tree is ended."""
    w = world()
    w.ask("start")
    w.come_up()
    w.state = type(w.state)(**{**{f: getattr(w.state, f) for f in w.state.__struct_fields__}, "phase": "starting",
                               "pid": None})  # fmt: skip
    launch(w)
    assert w.done(Kill)
    assert w.feed(Spawned("p.web.1", 7)) == []
