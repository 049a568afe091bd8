"""Under another manager: what services see of it, what it hears, when `up -d` is refused (SVC-2 5 7 10, H11, E11)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.system.conftest import Instance, blind_up, wait_for

MIDWATCH = [sys.executable, "-m", "midwatch"]
TOLD = {
    "NOTIFY_SOCKET": "/run/nobody", "WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1", "INVOCATION_ID": "ab12",
    "JOURNAL_STREAM": "8:1", "SYSTEMD_EXEC_PID": "1", "XPC_SERVICE_NAME": "com.example.svc", "LISTEN_FDS": "1",
    "LISTEN_PID": "1", "LISTEN_FDNAMES": "web", "SUPERVISOR_ENABLED": "1", "SUPERVISOR_PROCESS_NAME": "web",
    "MANAGERPID": "1", "FDSTORE": "3", "SYSTEMD_ACTIVATION_UNIT": "x.socket",
}  # fmt: skip
UNIT_SHELL = 'export SYSTEMD_EXEC_PID=$$; exec "$@"'


def seen(path: Path) -> dict[str, str]:
    """The environment that a grandchild wrote down."""
    wait_for(path.exists, "the grandchild has written its environment")
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)


def script(folder: Path, out: Path) -> str:
    """A program whose grandchild writes its environment."""
    file = folder / f"{out.name}.sh"
    file.write_text(f"sh -c 'sh -c \"env > {out}.new; mv {out}.new {out}\"; true'\nsleep 1000\n")
    return str(file)


@pytest.fixture
def notify(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(30)
        yield made


def as_unit(*command: str, **options: Any) -> subprocess.Popen[str]:
    """A process that systemd has started, as far as anybody can tell: SYSTEMD_EXEC_PID is its own pid."""
    return subprocess.Popen(
        ["sh", "-c", UNIT_SHELL, "sh", *command], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def test_10_a_services_grandchild_sees_nothing_but_what_was_let_through(instance: Instance, tmp_path: Path) -> None:
    """Scenario 10: none of the manager's variables; with `pass_manager` that one only; `env` as it is written."""
    outs = [tmp_path / name for name in ("none", "one", "own")]
    (instance.folder / "midwatch.toml").write_text(
        f"[service.none]\ncommand = ['sh', '{script(tmp_path, outs[0])}']\n"
        f"[service.one]\ncommand = ['sh', '{script(tmp_path, outs[1])}']\npass_manager = ['NOTIFY_SOCKET']\n"
        f"[service.own]\ncommand = ['sh', '{script(tmp_path, outs[2])}']\nenv = {{ INVOCATION_ID = 'mine' }}\n"
    )
    instance.ok("up", "-d", env={**os.environ, **TOLD})
    none, one, own = (seen(out) for out in outs)
    assert not none.keys() & TOLD.keys()
    assert {name: one[name] for name in one.keys() & TOLD.keys()} == {"NOTIFY_SOCKET": "/run/nobody"}
    assert {name: own[name] for name in own.keys() & TOLD.keys()} == {"INVOCATION_ID": "mine"}


def test_10_what_was_let_through_stays_after_a_reload_from_elsewhere(instance: Instance, tmp_path: Path) -> None:
    """The value is the daemon's: a terminal that knows nothing of it can reload, and nothing restarts or is lost."""
    out = tmp_path / "one"
    config = f"[service.one]\ncommand = ['sh', '{script(tmp_path, out)}']\npass_manager = ['INVOCATION_ID']\n"
    (instance.folder / "midwatch.toml").write_text(config)
    instance.ok("up", "-d", env={**os.environ, **TOLD})
    assert seen(out)["INVOCATION_ID"] == "ab12"
    before = instance.ps()["one"]["pid"]
    instance.ok("reload")
    assert instance.ps()["one"]["pid"] == before
    out.unlink()
    instance.ok("restart", "one")
    assert seen(out)["INVOCATION_ID"] == "ab12"


@pytest.mark.parametrize("passed", [[], ["NOTIFY_SOCKET"], ["INVOCATION_ID", "WATCHDOG_USEC"]])
def test_10_the_same_for_run(home: Path, tmp_path: Path, passed: list[str]) -> None:
    """Scenario 10: the whole environment goes on, but what the manager said only by name."""
    out = tmp_path / "out"
    words = [word for name in passed for word in ("--pass", name)]
    child = subprocess.Popen(
        [*MIDWATCH, "run", *words, "--", "sh", script(tmp_path, out)], env={**os.environ, **TOLD, "ANY": "1"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        env = seen(out)
    finally:
        child.terminate()
        child.communicate(timeout=30)
    assert env["ANY"] == "1"
    assert {name: env[name] for name in env.keys() & TOLD.keys()} == {name: TOLD[name] for name in passed}


def test_our_own_processes_inherit_none_of_it(instance: Instance) -> None:
    """SVC-10: a helper of ours must not speak to the manager either."""
    instance.up("[service.a]\ncommand = ['sleep', '1000']\n")
    instance.down()
    instance.ok("up", "-d", env={**os.environ, **TOLD})
    daemon = instance.daemon()
    for pid in (daemon["pid"], daemon["keeper_pid"]):
        names = {item.partition(b"=")[0].decode() for item in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")}
        assert not names & TOLD.keys()


def test_2_up_d_is_refused_under_a_manager(instance: Instance) -> None:
    """SVC-2: 78 with words, nothing is started and nothing is left; --force starts it."""
    (instance.folder / "midwatch.toml").write_text("[service.a]\ncommand = ['sleep', '1000']\n")
    files = sorted(instance.home.rglob("*"))
    child = as_unit(*MIDWATCH, "up", "-d", cwd=instance.folder)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (78, "")
    assert "systemd (SYSTEMD_EXEC_PID is this process)" in err
    assert "leave out -d, or add --force" in err
    assert sorted(instance.home.rglob("*")) == files
    forced = as_unit(*MIDWATCH, "up", "-d", "--force", cwd=instance.folder)
    out, err = forced.communicate(timeout=60)
    assert forced.returncode == 0, err
    assert instance.ps()["a"]["state"] == "up"
    again = as_unit(*MIDWATCH, "up", "-d", cwd=instance.folder)  # it only hands the file over
    assert again.communicate(timeout=60)[1] == ""
    assert again.returncode == 0


def test_6_an_explicit_yes_refuses_and_an_explicit_no_does_not(instance: Instance) -> None:
    """Scenario 6 from a person's side."""
    (instance.folder / "midwatch.toml").write_text("[service.a]\ncommand = ['sleep', '1000']\n")
    refused = instance.cli("up", "-d", env={**os.environ, "MIDWATCH_FOREGROUND": "Yes"})
    assert refused.returncode == 78
    assert "MIDWATCH_FOREGROUND=yes" in refused.stderr
    instance.ok("up", "-d", env={**os.environ, "MIDWATCH_FOREGROUND": "off"})


def test_3_weak_evidence_is_one_line_and_changes_nothing(home: Path) -> None:
    """Scenario 3: `run` with an inherited INVOCATION_ID goes on as ever."""
    done = subprocess.run(
        [*MIDWATCH, "run", "--name", "x", "--", "echo", "ran"], env={**os.environ, "INVOCATION_ID": "ab"}, text=True,
        capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "ran\n")
    [line] = done.stderr.splitlines()
    assert line.startswith("midwatch: INVOCATION_ID is set")
    clean = subprocess.run(
        [*MIDWATCH, "run", "--", "true"], text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60,
        check=False,
    )  # fmt: skip
    assert clean.stderr == ""


@pytest.mark.usefixtures("notify")
def test_7_the_plan_names_the_managers_socket(instance: Instance, tmp_path: Path) -> None:
    """SVC-5, SVC-7: as the manager's own child the daemon reports there; the verdict is on record with its reasons."""
    (instance.folder / "midwatch.toml").write_text("[service.a]\ncommand = ['sleep', '1000']\n")
    env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000000"}
    child = as_unit(*MIDWATCH, "up", cwd=instance.folder, env=env)
    instance.until(lambda rows: "a" in rows and rows["a"]["state"] == "up", "it is up")
    plan = json.loads((instance.home / "keeper.json").read_text())
    assert (plan["notify"], plan["watchdog_usec"]) == (env["NOTIFY_SOCKET"], 20_000_000)
    lock = (instance.home / "lock").stat()
    assert plan["lock"] == [lock.st_dev, lock.st_ino]
    [event] = instance.journal("outer.detected")
    assert (event["manager"], event["confidence"]) == ("systemd", "strong")
    assert "SYSTEMD_EXEC_PID is this process" in event["reasons"]
    instance.down()
    child.communicate(timeout=30)


@pytest.mark.usefixtures("notify")
@pytest.mark.parametrize("gone", [False, True])
def test_7_an_inherited_or_dead_socket_is_left_alone(instance: Instance, tmp_path: Path, gone: bool) -> None:
    """SVC-7: STOPPING=1 of ours would be said for somebody else's service; a dead address is none (scenario 13)."""
    (instance.folder / "midwatch.toml").write_text("[service.a]\ncommand = ['sleep', '1000']\n")
    address = str(tmp_path / ("gone" if gone else "notify"))
    env = {**os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000000"}
    command = ["sh", "-c", UNIT_SHELL if gone else 'export SYSTEMD_EXEC_PID=$$; "$@"; true', "sh", *MIDWATCH, "up"]
    child = subprocess.Popen(
        command, cwd=instance.folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    instance.until(lambda rows: "a" in rows and rows["a"]["state"] == "up", "it is up")
    assert "notify" not in json.loads((instance.home / "keeper.json").read_text())
    instance.down()
    assert ("nothing is reported" in child.communicate(timeout=30)[1]) is not gone


def kept(home: Path) -> dict[str, bytes | None]:
    """What lies in an instance's folder: the files with their content, the rest by name (the daemon works in there)."""
    names = ("lock", "keeper.json", "specs.json", "request.json", "daemon.log")
    return {path.name: path.read_bytes() if path.name in names else None for path in home.iterdir()}


class TestDetach:
    def test_h11_json_comes_when_the_lock_is_held_and_the_first_spawn_has_happened(self, instance: Instance) -> None:
        """H11: at the moment of the answer the pids live and the lock is its daemon's."""
        services = "".join(f"[service.s{n}]\ncommand = ['sleep', '1000']\n" for n in range(20))
        (instance.folder / "midwatch.toml").write_text(services)
        answer = json.loads(instance.ok("up", "-d", "--json"))
        assert answer["ok"] is True
        assert len(answer["services"]) == 20
        for row in answer["services"].values():
            os.kill(row["pid"], 0)
        assert json.loads((instance.home / "lock").read_text())["pid"] == answer["daemon"]["keeper_pid"]
        assert Path(answer["log"]) == instance.home / "daemon.log"

    def test_2_a_person_is_told_pid_log_and_how_to_stop_it(self, instance: Instance) -> None:
        """SVC-2: what goes to the background says where it went."""
        (instance.folder / "midwatch.toml").write_text("[service.a]\ncommand = ['sleep', '1000']\n")
        told = instance.ok("up", "-d")
        assert f"under keeper {instance.daemon()['keeper_pid']}" in told
        assert f"its own log: {instance.home}/daemon.log; 'midwatch down --all' ends it" in told

    def test_h11_a_held_lock_is_its_reason_and_4(self, instance: Instance) -> None:
        """H11, E11: a start that loses says who holds the lock, prints no JSON, and leaves no file behind."""
        (instance.folder / "midwatch.toml").write_text("[service.a]\ncommand = ['sleep', '1000']\n")
        winner = subprocess.Popen(
            [*MIDWATCH, "up"], cwd=instance.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        instance.until(lambda rows: "a" in rows and rows["a"]["state"] == "up", "it is up")
        files = kept(instance.home)
        words = [*blind_up()]
        words[-1] = words[-1].replace("['up']", "['up', '-d', '--json']")
        done = subprocess.run(
            words, cwd=instance.folder, text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode == 4
        assert f"pid {winner.pid}" in done.stderr
        assert json.loads(done.stdout)["error"]["code"] == 4
        assert kept(instance.home) == files
        instance.down()
        winner.communicate(timeout=30)


def test_a_midwatch_under_a_midwatch_reports_to_it(instance: Instance, tmp_path: Path) -> None:
    """SVC-7, SVC-11: the inner daemon is the outer one's own child: its READY makes the outer service ready."""
    inner = instance.home / "inner"
    (tmp_path / "midwatch.toml").write_text("[service.b]\ncommand = ['sleep', '1000']\n")
    path = os.pathsep.join(entry for entry in sys.path if entry)
    words = [*MIDWATCH, "up", "-f", str(tmp_path / "midwatch.toml")]
    instance.up(
        f"[service.a]\ncommand = {words}\nready = {{ notify = true, within = '60s' }}\n"
        f"env = {{ MIDWATCH_HOME = '{inner}', PYTHONPATH = '{path}' }}\n"
    )
    instance.until(lambda rows: rows["a"]["ready"], "the inner daemon has said READY")
    lines = [json.loads(line) for file in (inner / "journal").iterdir() for line in file.read_text().splitlines()]
    [found] = [line for line in lines if line["event"] == "outer.detected"]
    assert (found["manager"], found["confidence"]) == ("midwatch", "strong")
    instance.ok("stop", "a")
    assert instance.journal("stop.done")
