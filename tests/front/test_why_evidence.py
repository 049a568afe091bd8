"""`why`: evidence with its manifest, measurements with their quality, what followed, and which run a pid means."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.front.conftest import Daemon, Done, row, write_journal
from tests.front.test_why import ended

from midwatch.engine.layout import Layout
from midwatch.front.cli import bundles, samples
from midwatch.record.series import Row, Series

Cli = Callable[..., Done]
MIB = 1 << 20
AT = 1780367460.0  # 2026-06-02T02:31:00Z


def bundle(layout: Layout, run: str, state: str = "done", **more: Any) -> Path:
    """A bundle as the engine leaves it: manifest first."""
    path = layout.home / "evidence" / f"{run}-memory-1"
    path.mkdir(parents=True)
    collectors = [{"name": "facts", "ms": 12}, {"name": "py-spy", "ms": 3, "problem": "permission, ptrace_scope=2"}]
    manifest = {"schema_version": 1, "run_id": run, "service": "shop/web", "reason": "memory", "stage": 3, "at": AT,
                "state": state, "collectors": collectors}  # fmt: skip
    (path / "manifest.json").write_text(json.dumps(manifest))
    (path / "facts.json").write_text(json.dumps({"run_id": run, "at": AT, "processes": [{"pid": 7777}]}))
    for name, value in more.items():
        (path / f"{name}.json").write_text(json.dumps(value))
    return path


def test_the_manifest_says_what_was_captured_and_what_failed(cli: Cli, layout: Layout) -> None:
    """The folder, what is in it, and each collector that failed with its reason."""
    (layout.logs / "shop.web").mkdir(parents=True)
    path = bundle(layout, "shop.web.1")
    write_journal(layout, {"event": "run.spawned", "service": "shop/web", "run_id": "shop.web.1", "pid": 4001},
                  {"event": "evidence.captured", "service": "shop/web", "run_id": "shop.web.1", "path": str(path)},
                  ended(1, "memory-guard"))  # fmt: skip
    [found] = cli("why", "web", "--json").json["evidence"]["bundles"]
    assert (found["state"], found["got"], found["stage"]) == ("done", ["facts"], 3)
    assert found["failed"] == [{"name": "py-spy", "problem": "permission, ptrace_scope=2"}]
    out = " ".join(cli("why", "web").out.split())
    assert f"{path}: has facts; not py-spy: permission, ptrace_scope=2" in out


def test_a_capture_cut_short_and_one_that_is_gone_say_so(cli: Cli, layout: Layout) -> None:
    """A capture whose engine died is found without its line; one that made room for newer ones is named as gone."""
    (layout.logs / "shop.web").mkdir(parents=True)
    bundle(layout, "shop.web.1", "open")
    gone = {"event": "evidence.captured", "service": "shop/web", "run_id": "shop.web.1", "path": "/nowhere/x-1"}
    write_journal(layout, gone, ended(1, "memory-guard"))
    out = " ".join(cli("why", "web").out.split())
    assert "was cut short" in out
    assert "/nowhere/x-1: no longer there" in out
    other = bundles.of_run(layout.home, "shop.web", [])
    assert other == [], "shop.web.1's is not of a run called shop.web"


def test_a_torn_manifest_and_an_older_bundle_are_read(layout: Layout) -> None:
    """Half a manifest: cut short. No manifest at all (0.2): its facts tell what is missing."""
    path = bundle(layout, "shop.web.1")
    (path / "manifest.json").write_text('{"run')
    [torn] = bundles.of_run(layout.home, "shop.web.1", [str(path)])
    assert torn["state"] == "done"
    (path / "facts.json").unlink()
    [torn] = bundles.of_run(layout.home, "shop.web.1", [str(path)])
    assert torn["state"] == "cut short"
    (path / "manifest.json").unlink()
    (path / "facts.json").write_text(json.dumps({"run_id": "shop.web.1", "missing": ["the tree: No such process"]}))
    [old] = bundles.of_run(layout.home, "shop.web.1", [])
    assert (old["state"], old["failed"][0]["problem"]) == ("done", "the tree: No such process")
    assert "not the tree: No such process" in bundles.words(old)


def test_peak_slope_and_last_value_come_from_the_series(cli: Cli, layout: Layout) -> None:
    """What the sampler kept: only of this run, growth over its last minute, the quality said."""
    ring = Series(layout.home / "series", print)
    for second in range(20):
        ring.add("shop/web", Row(AT - 40 + second, 5 * MIB, run=3))
    for second in range(20):
        ring.add("shop/web", Row(AT - 20 + second, (100 + 20 * second) * MIB, "upper-bound", 4, fds=9, fd_limit=1024))
    ring.close()
    write_journal(layout, {"event": "run.spawned", "service": "shop/web", "run_id": "shop.web.4", "pid": 4004},
                  ended(4, "memory-guard"))  # fmt: skip
    (layout.logs / "shop.web").mkdir(parents=True)
    found = cli("why", "web", "--json").json["evidence"]["samples"]
    assert found["peak_bytes"] == found["last_bytes"] == 480 * MIB
    assert found["slope_bytes_per_s"] == 20 * MIB
    assert (found["fds"], found["fd_limit"], found["quality"]) == (9, 1024, "upper-bound")
    out = " ".join(cli("why", "web").out.split())
    assert "memory: at most 480M at the last look, 2s before its end; peak 480M of 20 looks in 19s" in out
    assert "memory grew by 20M a second over its last 19s" in out


def test_a_number_that_stands_still_is_flat(cli: Cli, layout: Layout) -> None:
    """While nothing changes no row is written; the last one holds until the last look."""
    ring = Series(layout.home / "series", print)
    for second in range(4):
        ring.add("shop/web", Row(AT - 1000 + second, (100 + second) * MIB, run=1))
    ring.seen()
    ring.close()
    found = samples.recorded(layout, "shop/web", "shop.web.1", AT)
    assert found[-1]["at"] == AT
    assert found[-1]["held"] == 103 * MIB


def test_without_the_series_the_evidence_has_the_samples(cli: Cli, layout: Layout) -> None:
    """The copy in the bundle; rows that are not samples, or absent, are passed over and never zero."""
    rows = [{"at": float(n), "held": {"value": n * MIB, "quality": "exact"}} for n in range(1, 9)]
    bundle(layout, "shop.web.1", samples=[None, {"at": 9.0, "held": {"value": None, "quality": "absent"}}, *rows])
    (layout.logs / "shop.web").mkdir(parents=True)
    write_journal(layout, ended(1, "memory-guard"))
    found = cli("why", "web", "--json").json["evidence"]["samples"]
    assert (found["peak_bytes"], found["count"]) == (8 * MIB, 8)
    assert samples.summary([{"at": 1.0, "held": None}]) is None
    assert samples.words(None) == []
    assert "fds" in found
    assert found["fds"] is None


def test_what_followed_is_told(cli: Cli, layout: Layout) -> None:
    """The next run, when it came, and how it fared."""
    spawned = {"event": "run.spawned", "service": "shop/web", "run_id": "shop.web.2", "pid": 4002}
    (layout.logs / "shop.web").mkdir(parents=True)
    write_journal(layout, ended(1, "crash"), spawned, ended(2, "oom"))
    assert cli("why", "shop.web.1", "--json").json["followed"] == [
        "shop.web.2 was started 1s later (pid 4002); it ended after 2s: oom"
    ]
    assert cli("why", "shop.web.2", "--json").json["followed"] == []


def test_a_living_run_tells_where_it_comes_from(cli: Cli, daemon: Daemon, layout: Layout) -> None:
    """By pid or run id: not a death, but why it exists and what happened to it so far."""
    daemon.services(row("web", run_id="shop.web.5", pid=4005))
    write_journal(
        layout, ended(4, "oom", decision="out of memory 1 of 5 in 1 h, next try in 1 s"),
        {"event": "run.spawned", "service": "shop/web", "run_id": "shop.web.5", "pid": 4005},
        {"event": "health.failed", "service": "shop/web", "run_id": "shop.web.5", "count": 1, "detail": "timeout"},
    )  # fmt: skip
    for name in ("4005", "shop.web.5"):
        found = cli("why", name, "--json").json
        assert (found["cause"], found["confidence"], found["run_id"]) == (None, None, "shop.web.5")
        decision = "out of memory 1 of 5 in 1 h, next try in 1 s"
        assert found["came"] == [f"it came after shop.web.4, which ended: oom ({decision})"]
        out = cli("why", name).out
        assert "it came after shop.web.4" in out
        assert "health.failed" in out
        assert "None" not in out


def test_a_pid_that_was_used_twice_means_the_newest_and_says_when(cli: Cli, layout: Layout) -> None:
    """Numbers come back: the newest run that had it, and when the earlier one had it."""
    write_journal(
        layout,
        {"event": "run.spawned", "service": "shop/web", "run_id": "shop.web.1", "pid": 4321},
        ended(1, "crash", pid=4321),
        {"event": "port.conflict", "service": "shop/web", "run_id": "shop.web.2", "pid": 4321, "owner": "a stranger"},
        {"event": "run.spawned", "service": "shop/web", "run_id": "shop.web.9", "pid": 4321},
        ended(9, "killed", pid=4321),
    )
    (layout.logs / "shop.web").mkdir(parents=True)
    found = cli("why", "4321", "--json").json
    assert (found["run_id"], found["cause"]) == ("shop.web.9", "killed")
    assert "4321 was used more than once: earlier by shop.web.1 (" in found["note"]
    assert "this is the newest, shop.web.9" in found["note"]
    assert "was used more than once" in cli("why", "4321").out


def test_a_child_of_a_run_has_no_verdict_of_its_own(cli: Cli, layout: Layout) -> None:
    """Seen in the evidence: its run is named, and that children are not recorded. Never seen: said."""
    (layout.logs / "shop.web").mkdir(parents=True)
    bundle(layout, "shop.web.1")
    write_journal(layout, ended(1, "crash"))
    seen = cli("why", "7777")
    assert seen.code == 1
    assert "was in the tree of run shop.web.1 when evidence was captured" in seen.err
    assert "only a run's main process" in seen.err
    assert "was never a run of midwatch" in cli("why", "7778").err


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_a_living_grandchild_names_its_run(cli: Cli, layout: Layout) -> None:
    """By its environment's marker, and only of an instance that we know."""
    (layout.logs / "shop.web").mkdir(parents=True)
    write_journal(layout, ended(1, "crash"))
    for instance, said in ((layout.instance, "belongs to the tree of run shop.web.3"), ("0badf00d", "is not ours")):
        marked = {**os.environ, "MIDWATCH_RUN": f"{instance}:shop.web.3"}
        with subprocess.Popen(["cat"], env=marked, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(b"here\n")
            child.stdin.flush()
            assert child.stdout.readline() == b"here\n"
            assert said in cli("why", str(child.pid)).err
            child.communicate()


def test_another_process_with_a_strangers_number(cli: Cli, layout: Layout) -> None:
    """`why` of a living process that has nothing to do with midwatch says that it lives."""
    (layout.logs / "shop.web").mkdir(parents=True)
    write_journal(layout, ended(1, "crash"))
    if Path("/proc/1").exists():
        assert "a process with that number lives now" in cli("why", "1").err
