"""`why`: the journal's verdict in words a tired person understands, and why something is not running now."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.front.conftest import Daemon, Done, row, write_journal, write_log

from midwatch.engine.layout import Layout
from midwatch.front.cli import story
from midwatch.front.cli.whyscreen import screen
from midwatch.model.exit import Cause
from midwatch.model.state import Phase

Cli = Callable[..., Done]
NOW = 1780367480.0  # 2026-06-02T02:31:20Z


def ended(run: int, cause: str, service: str = "shop/web", **more: Any) -> dict[str, Any]:
    return {
        "event": "run.exited", "service": service, "run_id": f"{service.replace('/', '.')}.{run}", "pid": 4000 + run,
        "code": 3, "signal": None, "cause": cause,
        "confidence": 0.9, "because": ["exit code 3 after 2 ms"], "against": [],
        "do": [], "duration_ms": 2000, "crash_count": run, **more,
    }  # fmt: skip


DEATH = (
    {"event": "run.spawned", "service": "shop/web", "run_id": "shop.web.4", "pid": 4004},
    ended(
        4,
        "killed",
        code=None,
        signal=9,
        because=["SIGKILL arrived from outside"],
        against=["the sender is not known"],
    ),
    {"event": "backoff", "service": "shop/web", "ms": 0, "decision": "restart at once, 1 of 10 in 10 m"},
    {"event": "run.spawning", "service": "shop/web", "run_id": "shop.web.5"},
    {"event": "service.asked", "service": "shop/web", "decision": "not about that death"},
)


def test_every_cause_and_state_has_words() -> None:
    """The closed sets of causes and states, each in plain words."""
    assert set(story.CAUSES) == set(get_args(Cause))
    assert set(story.STATES) == set(get_args(Phase))


def test_json_has_the_promised_shape(cli: Cli, layout: Layout) -> None:
    """design 6: {service, run_id, cause, confidence, because, against, do, evidence}; works without a daemon."""
    write_journal(layout, *DEATH)
    write_log(layout, "shop/web", 4, b"password=hunter2\nlast words\n")
    document = cli("why", "web", "--json").json
    assert set(document) >= {
        "schema_version",
        "service",
        "run_id",
        "cause",
        "confidence",
        "because",
        "against",
        "do",
        "evidence",
    }
    assert (document["service"], document["run_id"], document["cause"]) == (
        "shop/web",
        "shop.web.4",
        "killed",
    )
    assert document["against"] == ["the sender is not known"]
    assert document["decision"] == "restart at once, 1 of 10 in 10 m"
    assert document["evidence"]["exit"]["signal"] == 9
    assert document["evidence"]["output"] == ["password=[redacted]", "last words"]
    assert "hunter2" not in str(document)


def test_a_golden_screen() -> None:
    """Verdict, reasons for and against, what was decided, what it printed, what to do: in 80 columns."""
    lines = [{"ts": f"2026-06-02T02:31:{n:02}.000Z", **line} for n, line in enumerate(DEATH)]
    present = row("web", "backoff", retry_at=NOW + 8)
    document = story.answer("shop/web", lines, lines[1], present)
    document["evidence"]["output"] = ["last words"]
    found = screen(document, 80, NOW)
    when = found[1].split("ended ")[1].split(" (")[0]
    at = found[9].split("next try ")[1].split(" (")[0]
    assert found == [
        "shop/web is not running; it waits for its next try.",
        f"Run shop.web.4 (pid 4004) ended {when} (19s ago) after 2s, signal 9.",
        "Cause: killed (somebody killed it; it was not midwatch), confidence 0.90 (almost",
        "certain).",
        " because  SIGKILL arrived from outside",
        " against  the sender is not known",
        " not      midwatch: no stop was asked, and no guard and no probe acted on this",
        "          run",
        " decided  restart at once, 1 of 10 in 10 m",
        f" now      next try {at} (in 8s)",
        " printed  last words",
        " do       midwatch logs shop/web --run shop.web.4  # its last output",
        "          midwatch reset shop/web  # tries again now",
    ]


@pytest.mark.parametrize(
    ("words", "run"),
    [(["web"], "shop.web.3"), (["shop.web.2"], "shop.web.2"), (["4001"], "shop.web.1"), ([], "blog.db.1")],
)
def test_what_is_meant(cli: Cli, layout: Layout, words: list[str], run: str) -> None:
    """A name: its last end. A run id, a pid: that run. Nothing: the newest end that nobody asked for."""
    write_journal(
        layout,
        ended(1, "crash"),
        ended(2, "oom"),
        ended(1, "segfault", "blog/db", pid=9),
        ended(3, "requested"),
    )
    for folder in ("shop.web", "blog.db"):
        (layout.logs / folder).mkdir(parents=True)
    assert cli("why", *words, "--json").json["run_id"] == run


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["99999"], 1, "was never a run"),
        (["shop.web.77"], 1, "no end of shop.web.77"),
        (["wbe"], 2, "did you mean"),
    ],
)
def test_what_the_record_does_not_know(
    cli: Cli, layout: Layout, words: list[str], code: int, said: str
) -> None:
    """Nothing is invented: the words say what is missing."""
    write_journal(layout, ended(1, "crash"))
    (layout.logs / "shop.web").mkdir(parents=True)
    done = cli("why", *words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_why_it_is_not_running(cli: Cli, daemon: Daemon, layout: Layout) -> None:
    """Needs that are not met, the obstacle of a held service, and the command that goes on from here."""
    daemon.services(
        row("web", "pending", needs=["shop/db has to be ready (it is held)"]),
        row("db", "held", retry_at=NOW),
        row("old", "stopped"),
        row("good"),
    )
    failed = {
        "event": "run.spawn_failed", "service": "shop/db", "run_id": "shop.db.1", "errno": "ENOENT", "phase": "lookup",
        "error": "command 'pg' does not exist", "cause": "spawn-failed", "decision": "held",
    }  # fmt: skip
    write_journal(layout, failed)
    web, db, old, good = (cli("why", name).out for name in ("web", "db", "old", "good"))
    assert "it waits for what it needs" in web
    assert "shop/db has to be ready (it is held)" in web
    assert "midwatch why shop/db" in web
    assert "trying again cannot help until something changes" in db
    assert "Start shop.db.1 failed" in db
    assert db.count("command 'pg' does not exist") == 1
    assert "midwatch reset shop/db" in db
    assert "midwatch start shop/old" in old
    assert good.startswith("shop/good is up.\n")


def test_nothing_has_died(cli: Cli, daemon: Daemon) -> None:
    """Calm is exit 0."""
    daemon.services(row("web"))
    done = cli("why")
    assert done.code == 0
    assert "nothing has died" in done.err


def test_what_killed_it_is_shown(layout: Layout, cli: Cli) -> None:
    """The stop or the failed probes that led to the end stand before it."""
    run = {"service": "shop/web", "run_id": "shop.web.1"}
    write_journal(
        layout,
        {"event": "health.failed", **run, "detail": "connection refused", "count": 3},
        ended(1, "unhealthy"),
    )
    (layout.logs / "shop.web").mkdir(parents=True)
    assert cli("why", "web", "--json").json["evidence"]["journal"][0]["event"] == "health.failed"
    assert "health.failed" in cli("why", "web").out
    assert Path(layout.journal).is_dir()


def alone(layout: Layout, run: str, pid: int) -> None:
    """A run record of this very process, and no daemon."""
    start = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    layout.runs.mkdir(parents=True, exist_ok=True)
    record = {"run": run, "service": "shop/web", "pid": pid, "start": start, "spawned_wall": NOW}
    (layout.runs / f"{run}.json").write_text(json.dumps(record))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_run_that_outlived_midwatch_is_unwatched(cli: Cli, layout: Layout) -> None:
    """Its pid, and what the next start does with it: it adopts it; by name and by pid."""
    alone(layout, "shop.web.5", os.getpid())
    write_journal(layout, ended(4, "crash"))
    out = cli("why", "web").out
    assert out.startswith("shop/web is unwatched")
    assert f"pid {os.getpid()} (shop.web.5); the next start takes it back" in out
    assert "midwatch up  # takes it back as it is" in out
    assert cli("why", str(os.getpid()), "--json").json["now"]["state"] == "unwatched"


def test_a_lost_end_invents_no_code(cli: Cli, layout: Layout) -> None:
    """No status: no code; who ended it, when the next start did."""
    unseen = ended(4, "lost", code=None, signal=None, because=["it ended while nobody could read its status"])
    orphaned = {
        "event": "run.orphaned", "service": "shop/web", "run_id": "shop.web.4", "pid": 4004, "ended": 1, "left": 0,
        "verified_by": "cgroup",
    }  # fmt: skip
    (layout.logs / "shop.web").mkdir(parents=True)
    write_journal(layout, unseen)
    plain = cli("why", "web").out
    assert "Run shop.web.4 (pid 4004) was found ended" in plain
    assert "None" not in plain
    write_journal(layout, orphaned, unseen)
    out = " ".join(cli("why", "web").out.split())
    assert "outlived midwatch and was ended by its next start" in out
    assert "verified by cgroup" in out
    assert "None" not in out
    assert cli("why", "web", "--json").json["evidence"]["exit"]["orphaned"]["verified_by"] == "cgroup"


def test_not_ready_yet_is_not_a_failing_health_probe(cli: Cli, daemon: Daemon, layout: Layout) -> None:
    """A service with a ready probe alone: what that probe said last, and nothing about health."""
    starting = row("web", "starting", ready=False, run_id="shop.web.1")
    write_journal(
        layout,
        {"event": "probe.failed", "service": "shop/web", "run_id": "shop.web.1", "kind": "ready", "detail": "refused"},
    )
    daemon.services(starting)
    assert "its ready probe last said: refused" in cli("why", "web").out
    daemon.services({**starting, "health": "failing"})
    late = cli("why", "web").out
    assert "it was not ready in time" in late
    assert "health" not in late


def test_before_lists_nothing_later_than_the_end(cli: Cli, layout: Layout) -> None:
    """What follows the end is not among what led to it."""
    run = {"service": "shop/web", "run_id": "shop.web.1"}
    write_journal(
        layout, {"event": "stop.begin", **run}, ended(1, "requested"), {"event": "stop.done", **run, "ended": 1}
    )
    (layout.logs / "shop.web").mkdir(parents=True)
    journal = cli("why", "web", "--json").json["evidence"]["journal"]
    assert [line["event"] for line in journal] == ["stop.begin"]


def test_commands_can_be_pasted() -> None:
    """One line each, also with long names: rather wider than the screen than broken; the comment goes first."""
    service = "a-project-with-a-long-name/" + "s" * 60
    lines = [{"ts": "2026-06-02T02:31:00.000Z", **ended(1, "crash", service)}]
    document = story.answer(service, lines, lines[0], row("x", "backoff"))
    found = screen(document, 80, NOW)
    run = f"a-project-with-a-long-name.{'s' * 60}.1"
    assert f" do       midwatch logs {service} --run {run}" in found
    assert any(line.strip().startswith(f"midwatch reset {service}") for line in found)
