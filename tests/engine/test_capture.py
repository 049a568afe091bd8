"""Evidence before a stop on the fake machine: the order, what is in it, and that nothing waits for ever."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.engine.conftest import FakeLoop, Stagehand, a_spec, stop_rules

from midwatch.engine import collect
from midwatch.model.action import Capture, Kill
from midwatch.model.service import Probe
from midwatch.policy import defaults

SICK = Probe(file="/nonexistent/alive", every=1.0, failures=2)


def bundle(stage: Stagehand, number: int = 0) -> tuple[dict[str, Any], str]:
    """Facts and tail of one."""
    path = Path(stage.events("evidence.captured")[number]["path"])
    return json.loads((path / "facts.json").read_text()), (path / "tail.txt").read_text()


def told(stage: Stagehand) -> list[tuple[int, int]]:
    """The signals that ask for something: standing still and going on are not among them."""
    return [sent for sent in stage.machine.signals if sent[1] not in (signal.SIGSTOP, signal.SIGCONT)]


def output(stage: Stagehand, text: str) -> None:
    """What the run has printed."""
    run = stage.service().run
    assert run is not None
    path = Path(run.streams["out"]["log"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_hlt7_a_bundle_says_what_was_seen(bare: Stagehand) -> None:
    """HLT-7: the processes, the probes' last answers, the last output; secrets are taken out."""
    bare.apply(a_spec(health=SICK, stop=stop_rules(5.0)))
    pid = bare.pid()
    output(bare, "started\nDB_PASSWORD=hunter2hunter2\nlast words\n")
    bare.pass_time(3)
    facts, tail = bundle(bare)
    assert (facts["run_id"], facts["service"], facts["reason"], facts["pid"]) == ("p.a.1", "p/a", "health", pid)
    assert [process["pid"] for process in facts["processes"]] == [pid]
    assert facts["command"] == list(a_spec().launch.argv)
    assert set(facts["versions"]) == {"midwatch", "kernel"}
    assert [answer["ok"] for answer in facts["answers"]] == [False, False]
    assert "alive" in facts["answers"][0]["detail"]
    assert tail.startswith("started\n")
    assert "last words" in tail
    assert "hunter2" not in tail
    [event] = bare.events("evidence.captured")
    assert event["bytes"] > 100
    assert event["path"].endswith("/evidence/p.a.1-health-1")


def test_hlt8_the_declared_signal_comes_first_and_its_dump_is_in_the_tail(bare: Stagehand) -> None:
    """HLT-8: only a service that declares it gets it; TERM comes after the evidence."""
    bare.apply(a_spec(health=SICK, dump_signal=int(signal.SIGUSR1)))
    pid = bare.pid()
    process = bare.machine.procs[pid]
    process.ignores = {signal.SIGUSR1}
    bare.pass_time(2.2)
    assert told(bare) == [(pid, signal.SIGUSR1)]
    output(bare, "Current thread (most recent call first)\n")
    bare.pass_time(defaults.CAPTURE_DUMP)
    assert told(bare) == [(pid, signal.SIGUSR1), (pid, signal.SIGTERM)]
    assert "most recent call first" in bundle(bare)[1]
    order = [e["event"] for e in bare.events("health.failed", "evidence.captured", "run.exited")]
    assert order == ["health.failed", "evidence.captured", "run.exited"]


def test_without_a_declaration_no_signal_is_sent(bare: Stagehand) -> None:
    """HLT-8: USR1 would end a program that does not know it."""
    bare.apply(a_spec(health=SICK))
    pid = bare.pid()
    bare.pass_time(3)
    assert told(bare)[0] == (pid, signal.SIGTERM)


def test_a_capture_that_hangs_holds_a_stop_for_three_seconds(
    bare: Stagehand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded: then the run is stopped without it."""
    really = FakeLoop.run_in_executor

    def stuck(self: FakeLoop, executor: Any, func: Any, *args: Any) -> Any:
        return self.create_future() if func is collect.collect else really(self, executor, func, *args)

    monkeypatch.setattr(FakeLoop, "run_in_executor", stuck)
    bare.apply(a_spec(health=SICK))
    pid = bare.pid()
    bare.pass_time(2.1 + defaults.CAPTURE_WAIT - 0.2)
    assert told(bare) == []
    bare.pass_time(0.3)
    assert told(bare) == [(pid, signal.SIGTERM)]


def test_a_disk_that_refuses_is_told_and_the_stop_goes_on(bare: Stagehand) -> None:
    """ENOSPC and the like: one line, no evidence, no hang."""
    (bare.layout.home / "evidence").write_text("a file where the folder should be")
    bare.apply(a_spec(health=SICK))
    bare.pass_time(3)
    assert "evidence about p.a.1 could not be written" in bare.events("limit.warning")[0]["message"]
    assert bare.service().state.run == "p.a.2"


def test_a_look_that_fails_is_said_in_the_bundle(bare: Stagehand) -> None:
    """What could be had is kept."""
    bare.apply(a_spec(health=SICK))
    bare.machine.fail("inspect_tree", OSError(13, "Permission denied"))
    bare.pass_time(3)
    assert bundle(bare)[0]["missing"] == ["the tree: Permission denied"]


def test_a_stop_by_a_person_waits_for_an_open_capture_and_then_ends_it(bare: Stagehand) -> None:
    """A kill during a capture is held as well, and not lost."""
    bare.apply(a_spec(health=SICK, dump_signal=int(signal.SIGUSR1)))
    pid = bare.pid()
    bare.machine.procs[pid].ignores = {signal.SIGUSR1, signal.SIGTERM}
    bare.pass_time(2.1)
    job = bare.ask("stop", "a", now=True)
    assert not bare.dead(pid)
    bare.pass_time(1)
    assert (bare.dead(pid), bare.phase(), bare.job(job)["state"]) == (True, "stopped", "done")


def test_only_the_end_of_the_output_is_kept(bare: Stagehand) -> None:
    """At most 64 KiB, from the start of a line."""
    bare.apply(a_spec(health=SICK))
    output(bare, "x" * 99 + "\n" + ("y" * 99 + "\n") * 1000)
    bare.pass_time(3)
    tail = bundle(bare)[1]
    assert len(tail) <= defaults.EVIDENCE_TAIL
    assert set(tail.splitlines()) == {"y" * 99}


def manifest(stage: Stagehand, number: int = 0) -> dict[str, Any]:
    """What a bundle says of itself."""
    found = json.loads((Path(stage.events("evidence.captured")[number]["path"]) / "manifest.json").read_text())
    assert isinstance(found, dict)
    return found


def test_g10_the_manifest_lists_each_collector_and_its_failure(bare: Stagehand) -> None:
    """guards 10: stage after stage; what failed is a line, and stops nothing."""
    bare.apply(a_spec(health=SICK))
    bare.engine.captures.samples = lambda run_id: [{"run": run_id, "held": 7}]
    bare.machine.fail("scene", OSError(5, "Input/output error"))
    bare.pass_time(3)
    found = manifest(bare)
    assert (found["state"], found["stage"], found["run_id"], found["reason"]) == ("done", 3, "p.a.1", "health")
    problems = {one["name"]: one["problem"] for one in found["collectors"]}
    assert problems["surroundings"] == "Input/output error"
    assert problems["python stacks"] == "no Python process"
    assert {name for name, problem in problems.items() if problem == ""} >= {
        "output", "samples", "events", "processes", "pause", "mappings and kernel stacks", "stood still",
    }  # fmt: skip
    folder = Path(bare.events("evidence.captured")[0]["path"])
    assert json.loads((folder / "samples.json").read_text()) == [{"run": "p.a.1", "held": 7}]
    assert "run.spawned" in [line["event"] for line in json.loads((folder / "events.json").read_text())]
    assert not (folder / "paused").exists()


def test_g10_a_run_stands_still_only_while_it_is_looked_at(bare: Stagehand) -> None:
    """guards 10, stage 2: stopped, looked at, and let go before it is asked to leave."""
    bare.apply(a_spec(health=SICK))
    pid = bare.pid()
    bare.pass_time(3)
    assert [signum for _, signum in bare.machine.signals if _ == pid][:3] == [
        signal.SIGSTOP, signal.SIGCONT, signal.SIGTERM,
    ]  # fmt: skip


def test_g10_a_capture_that_may_only_read_does_not_touch(bare: Stagehand) -> None:
    """Stage 1: no pause, no dump signal, no py-spy."""
    bare.apply(a_spec(dump_signal=int(signal.SIGUSR1)))
    bare.do(lambda: bare.engine.captures.take(bare.service(), Capture(run="p.a.1", reason="growing", stage=1)))
    bare.pass_time(1)
    assert bare.machine.signals == []
    names = [one["name"] for one in manifest(bare)["collectors"]]
    assert names == ["output", "events", "processes", "surroundings"]


def test_g62_a_frozen_capture_leaves_it_frozen_for_the_kill(bare: Stagehand) -> None:
    """guards 6.2: it grows too fast; nobody lets it go between the evidence and the kill."""
    bare.apply(a_spec())
    pid = bare.pid()
    bare.do(lambda: bare.engine.captures.take(bare.service(), Capture(run="p.a.1", reason="memory", freeze=True)))
    bare.pass_time(0.1)
    assert bare.machine.signals == [(pid, signal.SIGSTOP)]
    assert manifest(bare)["stage"] == 1
    bare.do(lambda: bare.engine.ender.kill(bare.service(), Kill(run="p.a.1")))
    bare.pass_time(0.1)
    assert bare.dead(pid)


def test_g62_a_trip_during_a_capture_holds_the_run_at_once(
    bare: Stagehand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """guards 6.2: evidence of its growth is being taken when it crosses the line: no second bundle, no growth."""
    held = FakeLoop.run_in_executor

    def stuck(self: FakeLoop, executor: Any, func: Any, *args: Any) -> Any:
        return self.create_future() if func is collect.collect else held(self, executor, func, *args)

    monkeypatch.setattr(FakeLoop, "run_in_executor", stuck)
    bare.apply(a_spec())
    pid = bare.pid()
    bare.do(lambda: bare.engine.captures.take(bare.service(), Capture(run="p.a.1", reason="growing", stage=1)))
    bare.do(lambda: bare.engine.captures.take(bare.service(), Capture(run="p.a.1", reason="memory", freeze=True)))
    assert bare.machine.procs[pid].stopped
    bare.pass_time(defaults.PAUSE_MOST + 0.1)
    assert not bare.machine.procs[pid].stopped


def test_g10_the_next_engine_lets_go_whom_a_dead_one_left_standing(bare: Stagehand) -> None:
    """A capture cut short by the death of its engine: the run goes on, the bundle is told as what it is."""
    bare.apply(a_spec())
    run = bare.service().run
    assert run is not None
    assert run.tree is not None
    kept = collect.store(bare.layout.home)
    bundle = kept.begin(run.id, "health", {"run_id": run.id, "service": "p/a", "reason": "health"})
    bundle.add("tail.txt", b"last words\n")
    pause = collect.Pause(bare.machine, run.tree, bundle.path)
    pause.begin()
    pause._timer.cancel()  # the dead engine's timer died with it
    assert bare.machine.procs[bare.pid()].stopped
    bare.do(bare.engine.captures.recover)
    bare.pass_time(0.1)
    assert not bare.machine.procs[bare.pid()].stopped
    [event] = bare.events("evidence.captured")
    assert (event["state"], event["path"], event["run_id"]) == ("cut short", str(bundle.path), "p.a.1")
    assert event["bytes"] > 11
    assert manifest(bare)["state"] == "cut short"
    assert sorted(path.name for path in bundle.path.iterdir()) == ["manifest.json", "tail.txt"]
    bare.do(bare.engine.captures.recover)
    bare.pass_time(0.1)
    assert len(bare.events("evidence.captured")) == 1


def test_a_pause_ends_by_itself(bare: Stagehand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the collectors do, after two seconds a timer lets the run go."""
    bare.apply(a_spec())
    run = bare.service().run
    assert run is not None
    assert run.tree is not None
    monkeypatch.setattr(defaults, "PAUSE_MOST", 0.0)
    pause = collect.Pause(bare.machine, run.tree, bare.layout.home)
    pause.begin()
    pause._timer.join(10)
    pause.end()
    assert [signum for _, signum in bare.machine.signals].count(signal.SIGCONT) == 1
    assert not (bare.layout.home / "paused").exists()


def test_s50_a_kill_that_was_quicker_than_every_look_leaves_what_was_known(stage: Stagehand) -> None:
    """The kernel's OOM killer: its last output, the facts and the events are kept although nobody could look."""
    stage.apply(a_spec(launch={"memory_hard": 64 << 20}))
    output(stage, "loading the model\n")
    pid = stage.pid()
    stage.do(lambda: stage.machine.grow(pid, 128 << 20))
    stage.settle()
    facts, tail = bundle(stage)
    assert (facts["reason"], facts["run_id"], facts["pid"]) == ("oom", "p.a.1", pid)
    assert "processes" not in facts
    assert tail == "loading the model\n"
