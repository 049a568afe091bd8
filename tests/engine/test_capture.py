"""Evidence before a stop on the fake machine: the order, what is in it, and that nothing waits for ever."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.engine.conftest import FakeLoop, Stagehand, a_spec, stop_rules

from midwatch.engine import capture
from midwatch.model.service import Probe
from midwatch.policy import defaults

SICK = Probe(file="/nonexistent/alive", every=1.0, failures=2)


def bundle(stage: Stagehand, number: int = 0) -> tuple[dict[str, Any], str]:
    """Facts and tail of one."""
    path = Path(stage.events("evidence.captured")[number]["path"])
    return json.loads((path / "facts.json").read_text()), (path / "tail.txt").read_text()


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
    assert bare.machine.signals == [(pid, signal.SIGUSR1)]
    output(bare, "Current thread (most recent call first)\n")
    bare.pass_time(defaults.CAPTURE_DUMP)
    assert bare.machine.signals == [(pid, signal.SIGUSR1), (pid, signal.SIGTERM)]
    assert "most recent call first" in bundle(bare)[1]
    order = [e["event"] for e in bare.events("health.failed", "evidence.captured", "run.exited")]
    assert order == ["health.failed", "evidence.captured", "run.exited"]


def test_without_a_declaration_no_signal_is_sent(bare: Stagehand) -> None:
    """HLT-8: USR1 would end a program that does not know it."""
    bare.apply(a_spec(health=SICK))
    pid = bare.pid()
    bare.pass_time(3)
    assert bare.machine.signals[0] == (pid, signal.SIGTERM)


def test_a_capture_that_hangs_holds_a_stop_for_three_seconds(
    bare: Stagehand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded: then the run is stopped without it."""
    collect = FakeLoop.run_in_executor

    def stuck(self: FakeLoop, executor: Any, func: Any, *args: Any) -> Any:
        return self.create_future() if func is capture.collect else collect(self, executor, func, *args)

    monkeypatch.setattr(FakeLoop, "run_in_executor", stuck)
    bare.apply(a_spec(health=SICK))
    pid = bare.pid()
    bare.pass_time(2.1 + defaults.CAPTURE_WAIT - 0.2)
    assert bare.machine.signals == []
    bare.pass_time(0.3)
    assert bare.machine.signals == [(pid, signal.SIGTERM)]


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
