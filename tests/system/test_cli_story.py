"""The command line over a real daemon: one working day of a person and of a script."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.system.conftest import Instance, wait_for

TOML = """
[service.web]
command = ["python3", "-c", "import time; print('web here', flush=True); time.sleep(600)"]

[service.bad]
command = ["sh", "-c", "echo oops password=hunter2; exit 3"]
backoff = { first = "30s" }

[service.missing]
command = ["/nonexistent/thing"]

[service.needy]
command = ["sleep", "600"]
needs = { missing = "started" }
"""


def _settled(rows: dict[str, dict[str, object]]) -> bool:
    states = {name: row["state"] for name, row in rows.items()}
    return states == {"web": "up", "bad": "backoff", "missing": "held", "needy": "pending"}


def test_a_working_day(instance: Instance) -> None:
    """Start, look, ask why, read output and journal, stop one, end all: each says what is, and nothing is left."""
    instance.up(TOML)
    rows = instance.until(_settled, "one is up, one crashed, one is held, one waits")
    assert rows["bad"]["restarts"] == {"crash": 1}
    project = rows["web"]["project"]

    died = json.loads(instance.ok("why", "bad", "--json"))
    assert (died["cause"], died["evidence"]["exit"]["code"]) == ("crash", 3)
    assert died["evidence"]["output"] == ["oops password=[redacted]"]
    assert "crash 1 of 10" in died["decision"]
    assert "thing" in instance.ok("why", "missing")
    assert "missing" in instance.ok("why", "needy")
    assert instance.ok("why").startswith(f"{project}/bad is not running")

    wait_for(lambda: instance.ok("logs", "web"), "the pump has written")
    assert instance.ok("logs", "web") == "web here\n"
    assert instance.ok("logs", "bad") == "oops password=hunter2\n"
    events = [json.loads(line) for line in instance.ok("events", "--json", "-n", "0", "-a").splitlines()]
    assert {"daemon.started", "run.spawned", "run.exited", "backoff", "service.held"} <= {
        line["event"] for line in events
    }
    assert "hunter2" not in json.dumps(events)

    stopped = instance.ok("stop", "web")
    assert stopped.startswith(f"{project}/web  stopped, verified by ")
    assert instance.cli("stop", "wbe").returncode == 2
    assert instance.cli("wait", "missing", "--timeout", "20s").returncode == 3
    instance.ok("down", "--all")
    assert instance.cli("ps").returncode == 1
    assert json.loads(instance.ok("why", "bad", "--json"))["cause"] == "crash"


def test_detached_prints_after_the_first_spawns(instance: Instance) -> None:
    """H11: the JSON of `up -d` already names a pid that lives, and the daemon that holds the lock."""
    (instance.folder / "midwatch.toml").write_text('[service.web]\ncommand = ["sleep", "600"]\n')
    answer = json.loads(instance.ok("up", "-d", "--json"))
    (service,) = answer["services"].values()
    assert Path(f"/proc/{service['pid']}").exists() or sys.platform != "linux"
    assert answer["daemon"]["keeper_pid"] > 0
    instance.ok("down", "--all")


def test_up_and_reload_apply_only_the_difference(instance: Instance) -> None:
    """The unchanged service keeps its pid; a broken file changes nothing (78); a dry run only speaks."""
    two = '[service.a]\ncommand = ["sleep", "600"]\n[service.b]\ncommand = ["sleep", "601"]\n'
    instance.up(two)
    before = instance.until(lambda rows: {row["state"] for row in rows.values()} == {"up"}, "both are up")
    file = instance.folder / "midwatch.toml"
    file.write_text(two.replace("601", "602"))
    assert "would be restarted" in instance.ok("reload", "--dry-run")
    assert instance.ps()["b"]["pid"] == before["b"]["pid"]
    instance.ok("reload")
    after = instance.ps()
    assert after["a"]["pid"] == before["a"]["pid"]
    assert after["b"]["pid"] != before["b"]["pid"]
    file.write_text(two + "[service.c]\ncomand = 1\n")
    broken = instance.cli("up")
    assert broken.returncode == 78
    assert "midwatch.toml:6" in broken.stderr
    assert set(instance.ps()) == {"a", "b"}
    file.write_text('[service.a]\ncommand = ["sleep", "600"]\n')
    instance.ok("up")
    assert set(instance.ps()) == {"a"}
    instance.ok("down", "--all")


def test_the_journal_of_a_real_day_replays_the_same(instance: Instance) -> None:
    """What was decided is decided again from the record alone, after the daemon has gone."""
    instance.up('[service.bad]\ncommand = ["sh", "-c", "exit 3"]\nbackoff = { first = "50ms" }\n')
    instance.until(lambda rows: rows["bad"]["restarts"].get("crash", 0) >= 3, "three crashes")
    instance.ok("down", "--all")
    answer = json.loads(instance.ok("replay", str(instance.home / "journal"), "--json"))
    assert answer["inputs"] > 8
    assert (answer["different"], answer["not_recorded"]) == (0, 0)


def test_a_run_is_seen_and_stopped_from_another_terminal(instance: Instance) -> None:
    """`ps` lists a `midwatch run`, `why` knows it, `stop` ends it with 0; the same name twice is refused with 4."""
    first = subprocess.Popen(
        [sys.executable, "-m", "midwatch", "run", "--name", "job", "--", "sleep", "600"],
        cwd=instance.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        instance.until(lambda rows: rows.get("job", {}).get("state") == "up", "the run is up")
        again = instance.cli("run", "--name", "job", "--", "sleep", "600")
        assert again.returncode == 4
        assert "already running" in again.stderr
        assert "run/job" in instance.ok("stop", "job")
        assert first.wait(30) == 0
    finally:
        if first.poll() is None:
            first.terminate()
        first.communicate(timeout=30)
    assert json.loads(instance.ok("why", "job", "--json"))["cause"] == "requested"


def test_the_same_command_runs_again(instance: Instance) -> None:
    """A second `midwatch run` of a command that has ended starts it anew; its record goes on."""
    for number in (1, 2, 3):
        done = instance.cli("run", "--", "sh", "-c", "echo again", timeout=30)
        assert (done.returncode, done.stdout) == (0, "again\n")
        assert json.loads(instance.ok("why", "sh", "--json"))["run_id"] == f"run.sh.{number}"
