"""up and reload: the file is checked first, the difference is told, another file's project is left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.front.conftest import Daemon, Done, row

from midwatch.engine import launch
from midwatch.engine.layout import Layout

Cli = Callable[..., Done]
TOML = '[midwatch]\nproject = "shop"\n[service.web]\ncommand = ["sleep", "9"]\n[service.db]\ncommand = ["sleep", "9"]\n'


class Exec(Exception):
    """Stands for: this process is the keeper now."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "midwatch.toml"
    path.write_text(TOML)
    return path


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would have been executed."""
    calls: list[dict[str, Any]] = []

    def foreground(layout: Layout, specs: Any, **more: Any) -> None:
        calls.append({"layout": layout, "specs": list(specs), **more})
        raise Exec

    monkeypatch.setattr(launch, "foreground", foreground)
    monkeypatch.setenv("MIDWATCH_DEBUG", "1")
    return calls


def test_up_gives_a_running_daemon_the_difference(cli: Cli, daemon: Daemon, file: Path) -> None:
    """Specs go over whole, with project, source and author; what changed is one line each."""
    daemon.services(row("web", source=f"{file}:3"))
    daemon.answers["apply"] = {
        "job": "j-1", "added": ["shop/db"], "removed": ["shop/old"], "restarted": [], "changed": [],
        "unchanged": ["shop/web"],
    }  # fmt: skip
    done = cli("up")
    assert done == Done(0, "started: shop/db\nstopped, no longer in the file: shop/old\nunchanged: 1\n", "")
    (params,) = daemon.of("apply")
    assert (params["project"], params["source"], params["prune"]) == ("shop", str(file), True)
    assert [spec["name"] for spec in params["specs"]] == ["web", "db"]


def test_up_starts_what_is_at_rest_and_reload_does_not(cli: Cli, daemon: Daemon, file: Path) -> None:
    """A service stopped by hand: `up` wants it again and says so, `reload` leaves it and says so."""
    daemon.services(row("web", "stopped", source=f"{file}:3"), row("db", source=f"{file}:5"))
    daemon.answers["apply"] = lambda params: {
        "job": "j-1", "restarted": ["shop/web"], "unchanged": ["shop/db"],
        "started": ["shop/web"] if params["start"] else [],
    }  # fmt: skip
    assert cli("up") == Done(0, "started: shop/web\nunchanged: 1\n", "")
    assert cli("reload") == Done(0, "changed, still stopped: shop/web\nunchanged: 1\n", "")
    assert [params["start"] for params in daemon.of("apply")] == [True, False]
    assert cli("up", "--json").json["started"] == ["shop/web"]


def test_what_is_not_started_by_itself_is_not_called_started(cli: Cli, daemon: Daemon, file: Path) -> None:
    """autostart = false: added, and nothing more."""
    file.write_text(TOML + "autostart = false\n")
    daemon.services(row("web", source=f"{file}:3"))
    daemon.answers["apply"] = {"job": "j-1", "added": ["shop/db"], "unchanged": ["shop/web"]}
    assert cli("up").out == "added, to be started by hand: shop/db\nunchanged: 1\n"


def test_a_refused_file_changes_nothing_and_says_so(cli: Cli, daemon: Daemon, file: Path) -> None:
    """Exit 78; every problem is a line, and the last one says what has happened: nothing."""
    file.write_text(TOML + "portt = 1\n")
    for verb in ("up", "reload"):
        done = cli(verb)
        assert done.code == 78
        assert done.err.splitlines()[-1] == f"midwatch {verb}: nothing was changed"
    assert daemon.of("apply") == []


def test_a_project_of_another_file_is_left_alone(cli: Cli, daemon: Daemon, file: Path) -> None:
    """Two folders named alike must not stop each other's services: exit 78, nothing is sent."""
    done = cli("up", "-f", str(file))
    assert done.code == 78
    assert "already run from /srv/shop/midwatch.toml; nothing was done" in done.err
    assert daemon.of("apply") == []


def test_reload_dry_run_changes_nothing(cli: Cli, daemon: Daemon, file: Path) -> None:
    """--dry-run asks the daemon to compare only, and says what would happen."""
    daemon.services(row("web", source=f"{file}:3"))
    daemon.answers["apply"] = {"job": None, "restarted": ["shop/web"], "added": []}
    done = cli("reload", "--dry-run")
    assert done == Done(0, "would be restarted: shop/web\n", "")
    assert daemon.of("apply")[0]["dry_run"] is True
    assert daemon.of("job") == []
    document = cli("reload", "--dry-run", "--json").json
    assert (document["dry_run"], document["restarted"], document["ok"]) == (True, ["shop/web"], True)


def test_a_failed_service_is_exit_1(cli: Cli, daemon: Daemon, file: Path) -> None:
    """The others are up; the one that is not is named on stderr."""
    daemon.services(row("web", source=f"{file}:3"))
    daemon.answers["apply"] = {"job": "j-1", "added": ["shop/db"]}
    outcome = {"shop/db": {"ok": False, "message": "held: command not found"}}
    daemon.answers["job"] = {"id": "j-1", "state": "failed", "services": outcome}
    done = cli("up")
    assert done.code == 1
    assert "midwatch up: shop/db: held: command not found" in done.err


def test_up_without_a_daemon_becomes_it(
    cli: Cli, file: Path, home: Path, launched: list[dict[str, Any]]
) -> None:
    """No -d: this process is handed to the launcher, attached."""
    del file
    with pytest.raises(Exec):
        cli("up")
    assert (launched[0]["mode"], launched[0]["project"]) == ("attached", "shop")
    assert launched[0]["layout"].home == home


def test_detached_answers_after_the_first_spawns(
    cli: Cli, file: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H11: the JSON comes only when every service was spawned or is known to wait; it names daemon and pids."""
    started: list[Daemon] = []
    states = [row("web", "starting", pid=None), row("db", "pending", needs=["shop/web has to be ready"])]

    def detached(where: Layout, specs: list[Any], *, project: str, source: str, **_: Any) -> dict[str, Any]:
        assert (project, source) == (specs[0].project, str(file))
        fake = Daemon(where)
        seen: list[int] = []

        def answer(_: dict[str, Any]) -> dict[str, Any]:
            seen.append(1)
            web = states[0] if len(seen) < 3 else row("web", "up", pid=77)
            return {"daemon": {}, "services": [web, states[1]]}

        fake.answers["ps"] = answer
        started.append(fake)
        return {"pid": 5, "keeper_pid": 4, "version": "0.1.0"}

    monkeypatch.setattr(launch, "detached", detached)
    try:
        done = cli("up", "-d", "--json")
    finally:
        for fake in started:
            fake.close()
    assert done.code == 0
    assert done.json["daemon"]["keeper_pid"] == 4
    assert done.json["services"]["shop/web"] == {"state": "up", "pid": 77}
    assert layout.home == started[0].layout.home


def test_no_file_is_78(cli: Cli) -> None:
    """Nothing to read: the words name the file, -f and `run`."""
    done = cli("up")
    assert done.code == 78
    assert "midwatch.toml" in done.err
    assert "midwatch run -- CMD" in done.err


def test_a_folder_that_was_removed(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's folder is gone: said in words, exit 78; status still works."""
    cli("schema")  # the fixture has chosen its folder
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for words in (["up"], ["up", "-f", "x.toml"]):
        done = cli(*words)
        assert done.code == 78, done
        assert "which has been removed" in done.err
    monkeypatch.chdir(tmp_path)
