"""Deep probes, accept queues and watchdogs on the fake machine: what is told, and when."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.engine.conftest import Stagehand, a_spec, stop_rules

from midwatch.engine import asking, notify
from midwatch.engine.asking import _judge
from midwatch.engine.run import Run
from midwatch.machine.fake_stage import FakeQueue
from midwatch.model.service import Launch, Probe
from midwatch.policy import defaults

PORT = 8787


def served(**rules: Any) -> Any:
    return a_spec(launch={"port": PORT}, **rules)


def queue(stage: Stagehand, waiting: int, backlog: int | None = 128) -> None:
    """Its accept queue from now on."""
    process = stage.machine.procs[stage.pid()]
    process.ports.add(PORT)
    process.queues[PORT] = FakeQueue("127.0.0.1", inode=77, waiting=waiting, backlog=backlog)


# -- the accept queue


def test_hlt6_three_looks_with_waiting_connections(bare: Stagehand) -> None:
    """HLT-6, scenario 30: 3 samples 5 s apart; restarted, after its evidence was taken."""
    bare.apply(served(backlog="restart"))
    queue(bare, waiting=1)
    bare.pass_time(14)
    assert (bare.events("health.failed"), bare.service().state.run) == ([], "p.a.1")
    bare.pass_time(2)
    [line] = bare.events("health.failed")
    assert line["reason"] == "backlog"
    assert "1 connection(s) wait at 127.0.0.1:8787, 3 looks in a row over 10 s" in line["detail"]
    bare.pass_time(4)
    assert bare.service().state.run == "p.a.2"
    order = [e["event"] for e in bare.events("health.failed", "evidence.captured", "run.exited")]
    assert order == ["health.failed", "evidence.captured", "run.exited"]


def test_hlt6_a_full_queue_is_enough_once(bare: Stagehand) -> None:
    """HLT-6: more than the backlog, once."""
    bare.apply(served(backlog="restart"))
    queue(bare, waiting=6, backlog=5)
    bare.pass_time(5.1)
    assert "is full: 6 connection(s) wait" in bare.events("health.failed")[0]["detail"]


def test_a_queue_that_is_served_now_and_then_is_no_wedge(bare: Stagehand) -> None:
    """Only looks in a row count."""
    bare.apply(served(backlog="restart"))
    for waiting in (1, 1, 0) * 4:
        queue(bare, waiting)
        bare.pass_time(defaults.BACKLOG_EVERY)
    assert bare.events("health.failed") == []


def test_by_default_it_is_told_and_left_alone(bare: Stagehand) -> None:
    """backlog = "warn": once an episode, with evidence, and when it is over."""
    bare.apply(served())
    queue(bare, waiting=3)
    bare.pass_time(120)
    assert bare.service().state.run == "p.a.1"
    assert len(bare.events("evidence.captured")) == 1
    queue(bare, waiting=0)
    bare.pass_time(6)
    assert len(bare.events("health.recovered")) == 1


def test_g9_a_new_watch_takes_back_what_the_last_one_said(bare: Stagehand) -> None:
    """A new engine: the warning of before is closed all the same, and the next one is told."""
    bare.apply(served())
    queue(bare, waiting=3)
    bare.pass_time(20)
    bare.engine_dies()
    bare.boot()
    queue(bare, waiting=0)
    bare.pass_time(6)
    assert len(bare.events("health.recovered")) == 1
    queue(bare, waiting=3)
    bare.pass_time(20)
    assert len(bare.events("health.warn")) == 2


@pytest.mark.parametrize("rules", [{"backlog": "off"}, {}], ids=["off", "somebody else's"])
def test_what_is_not_watched(bare: Stagehand, rules: dict[str, Any]) -> None:
    """Switched off; or the queue of a process outside the tree."""
    bare.apply(served(**rules))
    if rules:
        queue(bare, waiting=9, backlog=1)
    else:
        pid = bare.machine.stranger().pid
        bare.machine.listen(pid, PORT, waiting=9, backlog=1)
    bare.pass_time(60)
    assert bare.events("health.warn", "health.failed", "evidence.captured") == []


def test_one_timer_for_all_queues_and_none_without_any(bare: Stagehand) -> None:
    """The look ends with the last run that is looked at."""
    bare.apply(served(), a_spec("b"))
    liveness = bare.engine.liveness
    assert (list(liveness._backlogs), liveness._timer is not None) == (["p.a.1"], True)
    bare.ask("stop", "a")
    bare.pass_time(1)
    assert (list(liveness._backlogs), liveness._timer) == ([], None)


# -- the watchdog


class Speaker:
    """A process that writes to a run's NOTIFY_SOCKET; who the kernel says it is, the test says."""

    def __init__(self, stage: Stagehand, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stage = stage
        self.sender: int | None = None
        monkeypatch.setattr(notify, "_sender", lambda extra: self.sender)

    def say(self, *lines: str, sender: int | None = None) -> None:
        self.sender = self.stage.pid() if sender is None else sender
        path = self.stage.engine.notify.path_for(self.stage.service().state.run or "")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto("\n".join(lines).encode(), path)
        self.stage.settle()


@pytest.fixture
def speaker(bare: Stagehand, monkeypatch: pytest.MonkeyPatch) -> Iterator[Speaker]:
    return Speaker(bare, monkeypatch)  # type: ignore[return-value]


def test_a_service_that_pings_is_left_alone_and_one_that_stops_is_restarted(bare: Stagehand, speaker: Speaker) -> None:
    """WATCHDOG=1 re-arms the timer from the start on; silence is a wedge, evidence first."""
    bare.apply(a_spec(watchdog=10.0, stop=stop_rules(5.0)))
    env = bare.machine.procs[bare.pid()].env
    assert env["WATCHDOG_USEC"] == "10000000"
    assert env["NOTIFY_SOCKET"].endswith("/p.a.1")
    assert "WATCHDOG_PID" not in env
    for _ in range(5):
        bare.pass_time(9)
        speaker.say("WATCHDOG=1")
    assert bare.events("health.failed") == []
    bare.pass_time(9.9)
    assert bare.events("health.failed") == []
    bare.pass_time(0.2)
    [line] = bare.events("health.failed")
    assert (line["reason"], line["detail"]) == ("watchdog", "no WATCHDOG=1 within 10 s")
    bare.pass_time(5)
    assert bare.events("run.exited")[0]["cause"] == "unhealthy"
    assert bare.service().state.run == "p.a.2"
    assert [e["reason"] for e in bare.events("evidence.captured")] == ["watchdog"]


def test_after_a_pause_of_everything_it_gets_its_time_again(bare: Stagehand, speaker: Speaker) -> None:
    """A stopped container: we come as late as it does, so nobody is blamed; then silence counts again."""
    bare.apply(a_spec(watchdog=10.0))
    bare.pass_time(5)
    bare.machine.awake += 3600
    bare.settle()
    assert bare.events("health.failed") == []
    bare.pass_time(10.1)
    assert len(bare.events("health.failed")) == 1


def test_trigger_and_another_interval(bare: Stagehand, speaker: Speaker) -> None:
    """WATCHDOG_USEC=n changes the promise, WATCHDOG=trigger breaks it at once; nonsense changes nothing."""
    bare.apply(a_spec(watchdog=10.0))
    speaker.say("WATCHDOG_USEC=60000000")
    speaker.say("WATCHDOG_USEC=-1")
    speaker.say("WATCHDOG_USEC=soon")
    bare.pass_time(50)
    assert bare.events("health.failed") == []
    speaker.say("WATCHDOG=trigger")
    assert "WATCHDOG=trigger" in bare.events("health.failed")[0]["detail"]


def test_a_service_that_says_it_is_stopping_need_not_ping(bare: Stagehand, speaker: Speaker) -> None:
    """STOPPING=1 ends the watchdog, not the run."""
    bare.apply(a_spec(watchdog=10.0))
    speaker.say("STOPPING=1", "STATUS=writing the last page")
    bare.pass_time(100)
    assert bare.events("health.failed") == []
    from midwatch.engine.status import status_of

    assert status_of(bare.engine, bare.service(), bare.machine.now())["status"] == "writing the last page"


def test_it_begins_when_the_run_is_ready(bare: Stagehand, speaker: Speaker) -> None:
    """A start may take longer than the watchdog's interval."""
    bare.apply(a_spec(watchdog=5.0, ready=Probe(notify=True, within=60.0)))
    bare.pass_time(30)
    assert (bare.phase(), bare.events("health.failed")) == ("starting", [])
    speaker.say("READY=1", "STATUS=serving")
    assert bare.phase() == "up"
    bare.pass_time(4.9)
    assert bare.events("health.failed") == []
    bare.pass_time(0.2)
    assert bare.events("health.failed")[0]["reason"] == "watchdog"


def test_a_start_that_asks_for_more_time_gets_it(bare: Stagehand, speaker: Speaker) -> None:
    """EXTEND_TIMEOUT_USEC: from now, never less than it had; then the deadline counts again."""
    bare.apply(a_spec(ready=Probe(notify=True, within=10.0)))
    speaker.say("EXTEND_TIMEOUT_USEC=1000000")
    bare.pass_time(9)
    speaker.say("EXTEND_TIMEOUT_USEC=20000000")
    bare.pass_time(19.5)
    assert bare.phase() == "starting"
    assert bare.events("health.failed", "probe.failed") == []
    bare.pass_time(1)
    assert bare.events("health.failed")[0]["reason"] == "not_ready"


def test_only_the_runs_own_tree_is_heard(bare: Stagehand, speaker: Speaker) -> None:
    """A process outside the tree is told once and not heard; a child is; one that is gone already is."""
    bare.apply(a_spec(ready=Probe(notify=True, within=60.0)))
    stranger = bare.machine.stranger().pid
    speaker.say("READY=1", sender=stranger)
    speaker.say("READY=1", sender=stranger)
    assert bare.phase() == "starting"
    [line] = bare.events("limit.warning")
    assert f"process {stranger} spoke on its NOTIFY_SOCKET" in line["message"]
    child = bare.do(lambda: bare.machine.fork(bare.pid())).pid
    speaker.say("STATUS=x", sender=child)
    assert bare.service().run is not None
    assert bare.service().run.status == "x"  # type: ignore[union-attr]
    speaker.say("READY=1", sender=99999)
    assert bare.phase() == "up"


def test_mainpid_is_not_followed(bare: Stagehand, speaker: Speaker) -> None:
    """MAINPID of somebody else: told once, ignored; its own: nothing to say."""
    bare.apply(a_spec(watchdog=60.0))
    pid = bare.pid()
    speaker.say(f"MAINPID={pid}")
    assert bare.events("limit.warning") == []
    speaker.say("MAINPID=1")
    speaker.say("MAINPID=1")
    assert len(bare.events("limit.warning")) == 1
    assert bare.pid() == pid


def test_after_an_engines_death_the_socket_is_there_again(bare: Stagehand, speaker: Speaker) -> None:
    """READY holds, pings are heard, silence is noticed."""
    bare.apply(a_spec(watchdog=10.0, ready=Probe(notify=True, within=60.0)))
    speaker.say("READY=1")
    bare.engine_dies()
    bare.boot()
    assert bare.phase() == "up"
    for _ in range(3):
        bare.pass_time(9)
        speaker.say("WATCHDOG=1")
    assert bare.events("health.failed") == []
    bare.pass_time(11)
    assert bare.events("health.failed")[0]["reason"] == "watchdog"


def test_descriptors_that_come_along_are_closed(bare: Stagehand) -> None:
    """FDSTORE=1, BARRIER=1: nobody can fill our table of descriptors, and a barrier is released."""
    bare.apply(a_spec(watchdog=60.0))
    path = bare.engine.notify.path_for("p.a.1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(path)
        read, write = os.pipe()
        socket.send_fds(sock, [b"BARRIER=1"], [write])
        os.close(write)
    bare.settle()
    assert os.read(read, 1) == b"", "the other end was closed"
    os.close(read)


# -- probes


def test_hlt4_the_deep_probe_has_its_own_rhythm_and_its_own_count(bare: Stagehand, tmp_path: Path) -> None:
    """HLT-4: beside the health probe; three in a row; evidence before the restart."""
    good, deep = tmp_path / "good", tmp_path / "deep"
    good.touch()
    health = Probe(file=str(good), every=3600.0, failures=3)
    bare.apply(a_spec(health=health, deep=Probe(file=str(deep), every=30.0, failures=3)))
    service = bare.service()
    assert service.probe is not None
    assert [part._kind for part in service.probe.parts] == ["health", "deep"]  # type: ignore[attr-defined]
    bare.pass_time(89)
    assert (service.state.deep_failures, bare.events("health.failed")) == (2, [])
    bare.pass_time(2)
    assert bare.events("health.failed")[0]["reason"] == "deep"
    bare.pass_time(5)
    assert bare.service().state.run == "p.a.2"


def test_hlt5_each_kind_of_probe_has_its_own_counter() -> None:
    """HLT-5, scenario 31: flat between two own probes is wedged; a missing field says nothing."""
    run = Run("p.a.1", "p/a", Launch(argv=("x",), cwd="/"), "m")
    probe = Probe(http="http://h/", json_counter="loop.requests_total")

    def asked(kind: str, body: bytes) -> bool:
        return _judge(probe, run, kind, 200, body).ok

    at_seven = b'{"loop": {"requests_total": 7}}'
    assert asked("health", at_seven)
    assert asked("deep", at_seven), "the other probe's count does not matter"
    assert not asked("health", at_seven)
    assert asked("health", b'{"loop": {"requests_total": 8}}')
    assert asked("health", b'{"loop": {}}')
    assert not asked("deep", at_seven)


def test_several_weak_signals_make_a_strong_one() -> None:
    """G1, G2: work waits, nothing is under way and the count stands still; any other combination is not wedged."""
    run = Run("p.a.1", "p/a", Launch(argv=("x",), cwd="/"), "m")
    probe = Probe(http="http://h/", json_counter="done", json_waiting="queue.waiting", json_active="queue.active")

    def asked(done: int, waiting: object, active: object) -> str:
        body = msgspec.json.encode({"done": done, "queue": {"waiting": waiting, "active": active}})
        answer = _judge(probe, run, "health", 200, body)
        return "" if answer.ok else answer.detail

    assert asked(7, 3, 0) == "", "the first look has nothing to compare"
    assert asked(7, 0, 0) == "", "idle"
    assert asked(7, 5, 2) == "", "G2: something is being done, however long it takes"
    assert asked(7, 5, 0) == "HTTP 200, but done stands still at 7 while 5 wait: it makes no progress"
    assert asked(8, 5, 0) == "", "progress"
    assert asked(8, None, None).endswith("done stands still at 8: it does not serve")
    assert asked(8, "?", 1) == ""


def test_where_probes_ask() -> None:
    """Host and port of a target, wildcards as loopback."""
    assert asking.target_of(Probe(tcp="0.0.0.0:5")) == ("127.0.0.1", 5)
    assert asking.target_of(Probe(http="http://[::]:6/x")) == ("::1", 6)
    assert asking.target_of(Probe(file="x")) is None
