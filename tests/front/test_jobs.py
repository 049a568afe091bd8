"""start, stop, restart, reset, down, wait: handed over as jobs, told truthfully, bounded in time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.front.conftest import Daemon, Done, row

Cli = Callable[..., Done]


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "reset"])
def test_a_command_is_a_job_with_an_author(cli: Cli, daemon: Daemon, verb: str) -> None:
    """The daemon gets exact ids and who asks; the job's words are printed; exit 0."""
    done = cli(verb, "web")
    assert done == Done(0, "shop/web  stopped, verified by cgroup\n", "")
    (params,) = daemon.of(verb)
    assert params["services"] == ["shop/web"]
    assert params["by"].startswith(f"midwatch {verb} (uid ")
    assert daemon.of("job")[0]["id"] == "j-1"


def test_stop_now_skips_the_grace(cli: Cli, daemon: Daemon) -> None:
    """--now is passed on, and only then."""
    cli("stop", "web")
    cli("stop", "web", "--now")
    assert [params.get("now") for params in daemon.of("stop")] == [None, True]


def test_a_failed_job_is_exit_1_on_stderr(cli: Cli, daemon: Daemon) -> None:
    """What could not be stopped is named on stderr, never reported as stopped."""
    outcome = {"shop/web": {"ok": False, "message": "2 processes are left"}}
    daemon.answers["job"] = {"id": "j-1", "state": "failed", "message": "", "services": outcome}
    done = cli("stop", "web")
    assert (done.code, done.out, done.err) == (1, "", "shop/web  2 processes are left\n")
    assert cli("stop", "web", "--json").json == {
        "schema_version": 1, "job": "j-1", "ok": False, "services": outcome,
    }  # fmt: skip


def test_a_slow_job_goes_on_without_us(cli: Cli, daemon: Daemon) -> None:
    """--timeout and --no-wait end our waiting, not the job: exit 1 and 0, and the words say so."""
    daemon.answers["job"] = {"id": "j-1", "state": "running", "message": "", "services": {}}
    slow = cli("stop", "web", "--timeout", "50ms")
    assert slow.code == 1
    assert "not finished in time; job j-1 goes on" in slow.err
    handed = cli("stop", "web", "--no-wait")
    assert handed.code == 0
    assert "goes on as job j-1" in handed.out
    assert cli("stop", "web", "--timeout", "soon").code == 2
    assert len(daemon.of("stop")) == 2


def test_which_services_are_meant(cli: Cli, daemon: Daemon) -> None:
    """No name: the project's; outside of one it asks back (2); --all: every one; both: refused."""
    daemon.services(row("web"), row("db", project="blog"))
    assert cli("stop").code == 2
    assert cli("stop", "web", "--all").code == 2
    assert daemon.of("stop") == []
    cli("stop", "--all")
    Path("midwatch.toml").write_text('[midwatch]\nproject = "blog"\n')
    cli("stop")
    assert [params["services"] for params in daemon.of("stop")] == [["shop/web", "blog/db"], ["blog/db"]]


def test_a_run_in_the_foreground_is_reached(cli: Cli, daemon: Daemon) -> None:
    """`midwatch stop NAME` of a `midwatch run` asks that instance, not the daemon."""
    place = daemon.layout.foreground("job")
    place.home.mkdir(parents=True)
    run = Daemon(place)
    run.services(row("job", project="run"))
    run.answers |= {"stop": {"job": "j-9"}, "job": {"id": "j-9", "state": "done", "services": {}}}
    try:
        assert cli("stop", "job").code == 0
        assert run.of("stop")[0]["services"] == ["run/job"]
        assert daemon.of("stop") == []
    finally:
        run.close()


def test_down(cli: Cli, daemon: Daemon) -> None:
    """A project by its folder or --project; --all ends the daemon too; without a project it asks back (2)."""
    assert cli("down").code == 2
    assert cli("down", "--all", "--project", "x").code == 2
    assert cli("down", "--project", "shop").code == 0
    Path("midwatch.toml").write_text('[midwatch]\nproject = "blog"\n')
    assert cli("down", "--now").code == 0
    asked = [(params["project"], params["all"], params.get("now", False)) for params in daemon.of("down")]
    assert asked == [("shop", False, False), ("blog", False, True)]


def test_down_without_a_daemon_is_done(cli: Cli) -> None:
    """Nothing runs: that is what was wanted, exit 0."""
    assert cli("down", "--all").code == 0
    assert cli("down", "--all", "--json").json["ok"] is True


@pytest.mark.parametrize(
    ("until", "state", "met", "code"),
    [
        ("ready", "up", True, 0),
        ("ready", "held", False, 3),
        ("ready", "gave_up", False, 3),
        ("done", "backoff", False, 1),
    ],
)
def test_wait(cli: Cli, daemon: Daemon, until: str, state: str, met: bool, code: int) -> None:
    """0 when it came true, 3 when it gave up or is held (at once), 1 when time is over."""
    answer: dict[str, Any] = {"met": met, "services": {"shop/web": row("web", state)}}
    daemon.answers["wait"] = answer
    done = cli("wait", "web", "--until", until, "--timeout", "100ms")
    assert done.code == code
    assert daemon.of("wait")[0]["until"] == until
    assert cli("wait", "web", "--until", until, "--timeout", "0", "--json").json["met"] is met


def test_a_wait_that_times_out_says_so(cli: Cli, daemon: Daemon) -> None:
    """On stderr, with what stands there instead; stdout stays empty, or JSON."""
    daemon.answers["wait"] = {"met": False, "services": {"shop/web": row("web", "starting", ready=False)}}
    said = "midwatch wait: not ready in time: shop/web is starting"
    done = cli("wait", "web", "--timeout", "50ms")
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[-1] == said
    scripted = cli("wait", "web", "--timeout", "50ms", "--json")
    assert (scripted.json["met"], scripted.err) == (False, said + "\n")


def test_down_of_nothing(cli: Cli, daemon: Daemon) -> None:
    """No service at all: that is said in words, not as 0 of 0."""
    daemon.answers["job"] = {"id": "j-1", "state": "done", "message": "stop: 0 of 0 services done", "services": {}}
    assert cli("down", "--all") == Done(0, "nothing was running\n", "")


def test_a_daemon_too_old_to_be_replaced_is_told_apart(cli: Cli, daemon: Daemon) -> None:
    """0.1.0 has no `upgrade`: what it is, that its services go on, and the way there."""
    daemon.answers["upgrade"] = {"error": {"code": -32601, "message": "no method 'upgrade'"}}
    done = cli("upgrade")
    assert done.code == 1
    assert "is midwatch 0.1.0, which cannot be replaced in place" in done.err
    assert "midwatch down --all" in done.err


def test_a_daemon_that_dies_while_it_answers_is_asked_once_more(cli: Cli, daemon: Daemon) -> None:
    """`ps` is a question: the successor of a killed engine answers it."""
    daemon.services()
    healthy = daemon.answers["ps"]

    def dies_once(_: dict[str, object]) -> dict[str, object]:
        daemon.answers["ps"] = healthy
        raise ConnectionResetError

    daemon.answers["ps"] = dies_once
    assert cli("ps", "--json").json["daemon"] is not None
    assert len(daemon.of("ps")) == 2
