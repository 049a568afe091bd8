"""`ps`: golden screens, the shape scripts rely on, and what it says while nothing runs."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.front.conftest import DAEMON, Daemon, Done, row

from midwatch.engine.layout import Layout
from midwatch.front.cli import ps

Cli = Callable[..., Done]
NOW = 1795263000.0
ROWS = [
    row("web", restarts={"crash": 1, "clean": 2}, memory={"held_bytes": 1717986918, "quality": "exact"}),
    row(
        "worker", "backoff", restarts={"crash": 3}, retry_at=NOW + 4,
        decision="crash 3 of 10, resets after 5 m of life, next try in 8 s",
    ),
    row("needy", "pending", needs=["shop/worker has to be ready (it is backoff)"], decision="start asked by me"),
    row("sick", health="failing", decision="3 of 3 probes failed: connection refused"),
]  # fmt: skip


def test_a_narrow_screen() -> None:
    """80 columns: decisions stand under their service, numbers are right-aligned, absent is never 0."""
    assert ps.screen(ROWS, DAEMON, 80, NOW) == [
        "NAME    STATE         PID     UP   MEM     FDS  RESTARTS",
        "needy   pending         -      -     -       -         0",
        "    waits: shop/worker has to be ready (it is backoff)",
        "sick    up, failing  4410  3h12m  ≤41M  8/1024         0",
        "    3 of 3 probes failed: connection refused",
        "web     up           4410  3h12m  1.6G  8/1024         3",
        "worker  backoff         -      -     -       -         3",
        "    crash 3 of 10, resets after 5 m of life, next try in 8 s (4s left)",
        "midwatch 0.1.0, pid 411 under keeper 410, holds 18M",
    ]


def test_a_wide_screen() -> None:
    """Where they fit, decisions are a column."""
    lines = ps.screen(ROWS, None, 140, NOW)
    assert lines[0].split() == [*ps.HEAD, "DECISION"]
    assert lines[-1].endswith("next try in 8 s (4s left)")
    assert len(lines) == len(ROWS) + 1


def test_several_projects_are_told_apart() -> None:
    """With more than one project the names carry it; without services there is one line."""
    lines = ps.screen([row("web"), row("web", project="blog")], None, 80, NOW)
    assert [line.split()[0] for line in lines[1:]] == ["blog/web", "shop/web"]
    assert ps.screen([], DAEMON, 80, NOW)[0] == "no services"


def test_nothing_raw_reaches_the_terminal() -> None:
    """A probe's answer in a decision cannot move the cursor."""
    lines = ps.screen([row("w", "held", decision="it said \x1b[2J and\r\n more")], None, 80, NOW)
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("room", [80, 100, 132])
def test_no_line_is_wider_than_the_terminal(room: int) -> None:
    """Also with names of 64 characters and long decisions."""
    rows = [row("n" * 64, "held", decision="x " * 200), row("m" * 40, project="p" * 64)]
    assert max(len(line) for line in ps.screen(rows, DAEMON, room, NOW)) <= room


def test_json_has_the_promised_shape(cli: Cli, daemon: Daemon) -> None:
    """design 6: {schema_version, daemon, services:[...]} with at least these fields."""
    document = cli("ps", "--json").json
    assert document["schema_version"] == 1
    assert set(document["daemon"]) >= {"pid", "keeper_pid", "version", "held_bytes", "cpu_s"}
    for service in document["services"]:
        assert set(service) >= {
            "name", "project", "state", "pid", "run_id", "since", "restarts", "memory", "fds", "ready", "health",
            "decision",
        }  # fmt: skip
        assert set(service["memory"]) >= {"held_bytes", "quality", "soft_bytes", "hard_bytes"}
        assert set(service["fds"]) >= {"open", "soft_limit"}
    assert [method for method, _ in daemon.asked] == ["ps"]


def test_a_project_shows_its_own(cli: Cli, daemon: Daemon) -> None:
    """Inside a project's folder: that project; -a: all; a name: that one; colours never in a pipe."""
    daemon.services(row("web"), row("db", project="blog"))
    assert len(cli("ps", "--json").json["services"]) == 2
    Path("midwatch.toml").write_text('[midwatch]\nproject = "blog"\n')
    assert [s["name"] for s in cli("ps", "--json").json["services"]] == ["db"]
    assert len(cli("ps", "-a", "--json").json["services"]) == 2
    assert [s["name"] for s in cli("ps", "web", "--json").json["services"]] == ["web"]
    assert "\x1b" not in cli("ps").out


def test_without_a_daemon_the_record_speaks(cli: Cli, layout: Layout) -> None:
    """Exit 1, one line on stderr, and what the record knows: a living process is unwatched, never up."""
    layout.runs.mkdir(parents=True)
    layout.specs.write_text(
        '{"version":1,"specs":[{"project":"shop","name":"web"},{"project":"shop","name":"db"}]}'
    )
    start = int(Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[19])
    record: dict[str, Any] = {"run": "shop.web.4", "service": "shop/web", "pid": os.getpid(), "start": start}
    (layout.runs / "shop.web.4.json").write_text(json.dumps({**record, "spawned_wall": NOW}))
    (layout.runs / "torn.json").write_text('{"run":')
    stale = {**record, "service": "shop/db", "start": start + 1}
    (layout.runs / "shop.db.1.json").write_text(json.dumps(stale))
    done = cli("ps", "--json")
    assert done.code == 1
    assert "the daemon is not running" in done.err
    assert done.json["daemon"] is None
    states = {s["name"]: (s["state"], s["pid"], s["memory"]["held_bytes"]) for s in done.json["services"]}
    assert states == {"web": ("unwatched", os.getpid(), None), "db": ("not running", None, None)}
    screen = cli("ps").out
    assert "nobody watches it" in screen
    assert "'midwatch up' takes it back" in " ".join(screen.split())


def test_nothing_to_list_leads_on_not_back(cli: Cli, daemon: Daemon, layout: Layout) -> None:
    """An empty list never advises what was just typed: it names other services, else what the record has."""
    Path("midwatch.toml").write_text('[midwatch]\nproject = "blog"\n')
    assert "'midwatch ps -a' shows all 2" in cli("ps").out
    daemon.services()
    assert cli("ps", "-a").out.splitlines()[0] == "no services"
    for name in ("shop.web", "shop.db"):
        (layout.logs / name).mkdir(parents=True)
    for words in (["ps"], ["ps", "-a"]):
        out = cli(*words).out
        assert "ps -a" not in out
        assert "the record has what ran here: shop/db, shop/web; 'midwatch why NAME'" in out


def test_a_start_that_is_not_ready_shows_no_old_decision(cli: Cli, daemon: Daemon) -> None:
    """What was decided before the start is over once its process is there."""
    daemon.services(row("web", "starting", ready=False, decision="start asked by me; waits for what it needs"))
    out = cli("ps").out
    assert "not ready yet" in out
    assert "asked by" not in out
    daemon.services(row("web", "starting", ready=False, pid=None, decision="crash 1 of 10, next try in 1 s"))
    out = cli("ps").out
    assert "is being started" in out
    assert "next try" not in out


def test_status_needs_no_network(cli: Cli, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """H12: only Unix sockets are opened, no name is looked up, the database is not touched."""
    real = socket.socket

    def only_unix(family: int = socket.AF_INET, *more: Any, **named: Any) -> socket.socket:
        assert family == socket.AF_UNIX, "a network socket"
        return real(family, *more, **named)

    def no_lookup(*_: Any, **__: Any) -> None:
        raise AssertionError("a name was looked up")

    monkeypatch.setattr(socket, "socket", only_unix)
    monkeypatch.setattr(socket, "getaddrinfo", no_lookup)
    assert cli("ps").code == 0
    assert not daemon.layout.history.exists()


def test_foreground_runs_are_listed(cli: Cli, daemon: Daemon, layout: Layout) -> None:
    """A `midwatch run` is an instance of its own and still in `ps`; one that has ended is not."""
    ended, living = layout.foreground("old"), layout.foreground("job")
    ended.home.mkdir(parents=True)
    living.home.mkdir(parents=True)
    run = Daemon(living)
    run.services(row("job", project="run"))
    try:
        assert [s["name"] for s in cli("ps", "--json").json["services"]] == ["web", "worker", "job"]
    finally:
        run.close()
    assert [s["name"] for s in cli("ps", "--json").json["services"]] == ["web", "worker"]


def test_the_rungs_are_told_in_words() -> None:
    """`ps -v`: what works here, and what is done instead; long reasons are wrapped."""
    told = {"kill": "yes", "memory release": "needs Linux 5.15", "freeze": "SIGSTOP only: " + "no cgroup " * 12}
    lines = ps.rungs(told, 80)
    assert lines[0] == "on this machine, as tried:"
    assert "  kill:                   yes" in lines
    assert "  memory release:         needs Linux 5.15" in lines
    assert all(len(line) <= 80 for line in lines)
    assert ps.rungs({}, 80) == ["on this machine, as tried: nothing is known yet"]
