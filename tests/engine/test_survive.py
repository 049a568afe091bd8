"""What else survives: commands that were half done, time in which nobody was awake, the outer manager's patience."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.conftest import Stagehand, a_spec, stop_rules

from midwatch.engine.outer import Outer
from midwatch.engine.pending import After, PendingJob, Step, load_jobs, save_jobs
from midwatch.model.service import Probe


def needing(*names: str) -> dict[str, Any]:
    return {f"p/{name}": "started" for name in names}


def test_a_half_finished_down_is_ended_by_the_next_engine(bare: Stagehand) -> None:
    """Three layers, the engine dies in the first: all three are stopped, in order, and leave the accepted specs."""
    web = a_spec("web", needs=needing("api"), stop=stop_rules(5))
    bare.apply(a_spec("db"), a_spec("api", needs=needing("db")), web)
    bare.machine.procs[bare.pid("web")].ignores.add(15)
    job = bare.do(lambda: bare.engine.applier.down(["p/db", "p/api", "p/web"], "test", now=False, everything=False).id)
    bare.pass_time(1)
    assert [bare.phase(name) for name in ("db", "api", "web")] == ["up", "up", "stopping"]
    bare.engine_dies()
    bare.boot()
    bare.pass_time(30)
    assert bare.engine.services == {}
    assert bare.job(job)["state"] == "done", "the id that a client waits for is known"
    ends = [line["service"] for line in bare.events("stop.done")]
    assert ends == ["p/web", "p/api", "p/db"]
    assert not bare.layout.jobs.exists()


def test_a_layered_stop_is_finished_after_the_death_of_both(bare: Stagehand) -> None:
    """The same with keeper and engine: what lives is adopted, then the rest of the layers is stopped."""
    bare.apply(a_spec("db"), a_spec("web", needs=needing("db"), stop=stop_rules(5)))
    bare.machine.procs[bare.pid("web")].ignores.add(15)
    bare.ask("stop", "db", "web")
    bare.keeper_dies()
    bare.boot()
    bare.pass_time(30)
    assert [bare.phase(name) for name in ("db", "web")] == ["stopped", "stopped"]


def test_what_settled_while_the_engine_died_is_told_from_the_state(bare: Stagehand) -> None:
    """The answer was lost, the service is stopped: the job is done, not hanging."""
    bare.apply(a_spec())
    bare.ask("stop", "a")
    bare.pass_time(1)
    assert bare.phase() == "stopped"
    boot = bare.machine.now().boot
    save_jobs(bare.layout.jobs, boot, [PendingJob(id="stop-1-1", verb="stop", asked=[Step("p/a", "stop")])])
    bare.engine_dies()
    bare.boot()
    assert bare.job("stop-1-1")["services"]["p/a"]["ok"]


def test_jobs_of_another_boot_and_torn_files_are_nothing(tmp_path: Any) -> None:
    """A file torn at every byte is no job and no error; another boot's jobs are history."""
    path = tmp_path / "jobs.json"
    job = PendingJob(id="x", verb="stop", layers=[[Step("p/a", "stop")]], after=After("down", ["p/a"]))
    save_jobs(path, "b1", [job])
    whole = path.read_bytes()
    assert [job.id for job in load_jobs(path, "b1")] == ["x"]
    assert load_jobs(path, "b2") == []
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert load_jobs(path, "b1") == []


def test_a_daemon_that_was_started_again_does_not_end_because_the_last_one_was_to() -> None:
    """`down --all` was cut short by the death of both: the services stop, the new daemon stays."""
    assert After("quit").without_end() is None
    assert After("down_all", ["p/a"]).without_end() == After("down", ["p/a"])


def test_a_suspend_forgives_failed_probes(bare: Stagehand) -> None:
    """G12: two failures, eight hours of sleep, one more failure: not unhealthy; the gap is said once."""
    bare.apply(a_spec(health=Probe(file="alive", every=30, timeout=1, failures=3)))
    bare.do(bare.engine.pulse.start)
    bare.pass_time(62)
    assert bare.service().state.probe_failures == 2
    bare.machine.sleep(8 * 3600)
    bare.pass_time(31)
    assert bare.events("health.failed") == []
    assert bare.service().state.probe_failures == 1
    [gap] = bare.events("clock.gap")
    assert round(gap["slept_ms"] / 1000) == 8 * 3600


def test_a_pause_forgives_deadlines_and_spreads_the_restarts(bare: Stagehand) -> None:
    """The container was frozen for a minute: nobody is blamed for not being ready, what died of it rises in turn."""
    names = [f"s{i}" for i in range(4)]
    bare.apply(a_spec("slow", ready=Probe(file="never", within=25)), *(a_spec(name) for name in names))
    bare.do(bare.engine.pulse.start)
    bare.pass_time(5)
    bare.machine.advance(60)
    bare.settle()
    assert bare.events("health.failed") == []
    for name in names:
        bare.exits(name, signum=15)
    counts = []
    for _ in range(4):
        counts.append(len(bare.keeper.ops("spawn")) - 5)
        bare.pass_time(0.25)
    assert counts == [1, 2, 3, 4], "one every quarter of a second"
    assert all(bare.phase(name) == "up" for name in names)


class Said:
    """The keeper's notify, recorded."""

    def __init__(self, stage: Stagehand, plan: dict[str, Any], *, foreground: bool) -> None:
        self.stage = stage
        self.outer = stage.do(lambda: Outer(stage.engine, plan, foreground=foreground))

    @property
    def lines(self) -> list[str]:
        texts = [frame["text"] for frame in self.stage.keeper.frames if frame["op"] == "notify"]
        return [line for text in texts for line in text.split("\n")]


def test_the_outer_manager_hears_ready_status_and_the_end(bare: Stagehand) -> None:
    """SVC-11: READY=1 once, a status that follows, STOPPING=1 and more time while the end takes long."""
    said = Said(bare, {"notify": "/run/x"}, foreground=False)
    bare.do(said.outer.booted)
    bare.apply(a_spec(), a_spec("b"))
    bare.pass_time(3)
    assert said.lines.count("READY=1") == 1
    assert said.lines[-1] == "STATUS=2 of 2 up"
    bare.do(said.outer.stopping)
    bare.do(said.outer.stopping)
    bare.pass_time(11)
    assert said.lines.count("STOPPING=1") == 1
    assert said.lines.count("EXTEND_TIMEOUT_USEC=15000000") == 3


@pytest.mark.parametrize(("usec", "seconds", "least"), [(500_000, 5.0, 20), (30_000_000, 60.0, 4)])
def test_the_watchdog_is_fed_at_half_its_interval(bare: Stagehand, usec: int, seconds: float, least: int) -> None:
    """SVC-11, scenario 12: no floor of a second; 500 ms means at least two pings per 500 ms."""
    said = Said(bare, {"notify": "@x", "watchdog_usec": usec}, foreground=False)
    bare.pass_time(seconds)
    assert said.lines.count("WATCHDOG=1") >= least


def test_a_run_is_ready_with_its_service_and_not_fed_while_that_fails(bare: Stagehand) -> None:
    """SVC-11: READY=1 only after the service is; scenario 12: a failing service stops the pings."""
    said = Said(bare, {"notify": "@x", "watchdog_usec": 1_000_000}, foreground=True)
    spec = a_spec(ready=Probe(file="ready", within=25), health=Probe(file="alive", every=1, failures=1))
    (bare.layout.home / "ready").touch()
    bare.do(said.outer.booted)
    bare.apply(spec)
    assert "READY=1" not in said.lines


def test_without_a_socket_nothing_is_said(bare: Stagehand) -> None:
    said = Said(bare, {}, foreground=False)
    bare.do(said.outer.booted)
    bare.do(said.outer.stopping)
    assert said.lines == []
