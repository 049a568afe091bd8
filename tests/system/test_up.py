"""`midwatch up` with many services: order, reload, launch facts, holding, giving up, two projects, a daemon's death."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import pytest
from tests.system.conftest import Instance, alive, wait_for
from tests.system.watching import events, finished, job, rows, seen, shell, until, words

SLEEP = 'command = ["sleep", "1000"]\n'
CAP_SYS_NICE = 23


def capable(bit: int) -> bool:
    """Does this process have the capability?"""
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> bit & 1)


def test_h11_up_d_answers_after_the_first_spawns_and_e13_a_second_is_refused(instance: Instance) -> None:
    """H11, E13: the JSON comes when lock and first run are there; a duplicate exits 4 and spends nothing."""
    (instance.folder / "midwatch.toml").write_text(f"[service.a]\n{SLEEP}")
    answer = json.loads(instance.ok("up", "-d", "--json"))
    pid = answer["services"]["p/a"]["pid"]
    assert alive(pid)
    assert alive(answer["daemon"]["keeper_pid"])
    with (instance.home / "lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    before = (instance.home / "lock").read_bytes()
    second = instance.blind_up()
    assert (second.returncode, second.stdout) == (4, "")
    assert "already running" in second.stderr
    assert (instance.home / "lock").read_bytes() == before
    row = rows(instance)["a"]
    assert (row["pid"], row["crash_count"], row["restarts"]) == (pid, 0, {})
    assert events(instance, "run.exited") == []


def test_needs_are_kept_in_order_and_stops_go_the_other_way(instance: Instance) -> None:
    """Needs started, ready and completed; `down` stops dependents first, verified before the next."""
    instance.up(
        shell(
            "db",
            "while [ ! -e go ]; do sleep 0.02; done; touch db-ready; exec sleep 1000",
            'ready = { file = "db-ready" }',
        )
        + shell("migrate", "while [ ! -e go ]; do sleep 0.02; done; exit 0", "oneshot = true")
        + f"[service.helper]\n{SLEEP}"
        + f'[service.web]\n{SLEEP}needs = {{ db = "ready", migrate = "completed", helper = "started" }}\n'
        + f'[service.front]\n{SLEEP}needs = ["web"]\n'
    )
    found = until(instance, lambda r: r["helper"]["state"] == "up", "the helper is up")
    assert {found[name]["state"] for name in ("web", "front")} == {"pending"}
    assert sorted(need.split()[0].rpartition("/")[2] for need in found["web"]["needs"]) == ["db", "migrate"]
    (instance.folder / "go").touch()
    until(instance, lambda r: r["front"]["state"] == "up", "everything is up")
    assert rows(instance)["migrate"]["state"] == "done"
    order = [
        (line["event"], line["service"].rpartition("/")[2])
        for line in instance.journal()
        if "service" in line
    ]
    web = order.index(("run.spawning", "web"))
    assert web > order.index(("run.ready", "db"))
    assert web > order.index(("service.done", "migrate"))
    assert web > order.index(("run.spawned", "helper"))
    assert order.index(("run.spawning", "front")) > order.index(("run.spawned", "web"))
    instance.ok("down")
    order = [
        (line["event"], line["service"].rpartition("/")[2])
        for line in instance.journal()
        if "service" in line
    ]
    assert order.index(("stop.done", "front")) < order.index(("stop.begin", "web"))
    assert order.index(("stop.done", "web")) < min(
        order.index(("stop.begin", name)) for name in ("db", "helper")
    )


def test_a_cycle_of_needs_is_an_error_that_names_its_path(instance: Instance) -> None:
    """Exit 78, the way round in words, nothing started."""
    (instance.folder / "midwatch.toml").write_text(
        "".join(f'[service.{name}]\n{SLEEP}needs = ["{other}"]\n' for name, other in ("ab", "bc", "ca"))
    )
    done = instance.cli("up", "-d")
    assert done.returncode == 78
    assert any(
        path in done.stderr for path in ("a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c")
    ), done.stderr
    assert "midwatch.toml" in done.stderr
    assert not (instance.home / "lock").exists()


OLD = f"""\
[service.same]
{SLEEP}
[service.rules]
command = ["sh", "-c", 'trap "" TERM; touch trapped; while :; do sleep 0.1; done']
stop = {{ grace = "100s" }}

[service.spawn]
{SLEEP}env = {{ COLOUR = "red" }}

[service.gone]
{SLEEP}
"""
NEW = OLD.replace("100s", "0.2s").replace("red", "blue").replace("service.gone", "service.fresh")


def test_reload_restarts_only_the_difference(instance: Instance) -> None:
    """Unchanged, rules: same pid; spawn facts: new run; removed: stopped; --dry-run, a bad file: nothing."""
    instance.up(OLD)
    before = {name: row["pid"] for name, row in rows(instance).items()}
    wait_for((instance.folder / "trapped").exists, "its trap is set")
    file = instance.folder / "midwatch.toml"

    file.write_text(NEW + "nonsense = 1\n")
    refused = instance.cli("reload")
    assert refused.returncode == 78
    assert "nonsense" in refused.stderr
    assert {name: row["pid"] for name, row in rows(instance).items()} == before

    file.write_text(NEW)
    would = json.loads(instance.ok("reload", "--dry-run", "--json"))
    found = {key: would[key] for key in ("added", "removed", "restarted", "changed", "unchanged")}
    assert found == {
        "added": ["p/fresh"], "removed": ["p/gone"], "restarted": ["p/spawn"], "changed": ["p/rules"],
        "unchanged": ["p/same"],
    }  # fmt: skip
    assert {name: row["pid"] for name, row in rows(instance).items()} == before

    instance.ok("reload")
    after = {name: row["pid"] for name, row in rows(instance).items()}
    assert set(after) == {"same", "rules", "spawn", "fresh"}
    assert (after["same"], after["rules"]) == (before["same"], before["rules"])
    assert after["spawn"] != before["spawn"]
    assert not alive(before["gone"])
    assert b"COLOUR=blue" in Path(f"/proc/{after['spawn']}/environ").read_bytes()
    assert sorted(line["service"] for line in events(instance, "stop.done")) == ["p/gone", "p/spawn"]
    instance.ok("stop", "rules")  # would take 100 s by the old rules
    assert events(instance, "stop.begin", "rules")[0]["grace_ms"] == 200


def test_instances_oneshot_and_autostart(instance: Instance) -> None:
    """N instances; a one-shot is done and `up` does not repeat it; autostart = false waits for start."""
    text = (
        f"[service.w]\n{SLEEP}instances = 3\n"
        + shell("once", "echo x >> ran; exit 0", "oneshot = true")
        + f"[service.later]\n{SLEEP}autostart = false\n"
    )
    instance.up(text)
    found = until(
        instance, lambda r: r["once"]["state"] == "done" and r["w-3"]["pid"], "one-shot done, workers up"
    )
    assert set(found) == {"w-1", "w-2", "w-3", "once", "later"}
    assert len({found[f"w-{n}"]["pid"] for n in (1, 2, 3)}) == 3
    assert (found["later"]["state"], found["later"]["pid"]) == ("stopped", None)
    instance.ok("up", "-d")
    instance.ok("start", "later")
    assert rows(instance)["later"]["state"] == "up"
    assert words(instance.folder / "ran") == ["x"]
    assert json.loads(instance.ok("wait", "--until", "done", "once", "--json"))["met"] is True


def test_h10_launch_facts_reach_the_program(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """H10: env, env_files, env_pass (granted present, else absent, false removes); cwd, umask, rlimits."""
    monkeypatch.setenv("GRANTED", "yes")
    monkeypatch.setenv("SECRET", "never")
    monkeypatch.setenv("LANG", "C.UTF-8")
    (instance.folder / "sub").mkdir()
    (instance.folder / ".env").write_text('FROM_FILE="two words"\nCOLOUR=file\n')
    script = "env > env; pwd > cwd; umask > umask; ulimit -Sn > soft; ulimit -Hn > hard; touch done; exec sleep 1000"
    instance.up(
        shell(
            "a", script, 'cwd = "sub"', 'env_files = [".env"]', 'env_pass = ["GRANTED"]', 'umask = "027"',
            'env = { COLOUR = "blue", LANG = false }', "rlimits = { nofile = [123, 234] }",
        )
    )  # fmt: skip
    folder = instance.folder / "sub"
    wait_for((folder / "done").exists, "it has said what it is")
    env = dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines())
    assert (env["COLOUR"], env["FROM_FILE"], env["GRANTED"]) == ("blue", "two words", "yes")
    assert {"SECRET", "LANG"} & set(env) == set()
    assert env["MIDWATCH_SERVICE"] == "p/a"
    assert words(folder / "cwd") == [str(folder)]
    assert words(folder / "umask") == ["0027"]
    assert (words(folder / "soft"), words(folder / "hard")) == (["123"], ["234"])
    assert (folder / "done").stat().st_mode & 0o777 == 0o640


def nice_of(pid: int) -> int:
    """The scheduling priority it really has."""
    return os.getpriority(os.PRIO_PROCESS, pid)


def test_h15_nice_is_set_or_said(instance: Instance) -> None:
    """H15: 7 is 7; -5 is -5 with the privilege, else it runs at ours and one warning names what was asked."""
    for wrong in ("3.5", '"10abc"', "25"):
        (instance.folder / "midwatch.toml").write_text(f"[service.a]\n{SLEEP}nice = {wrong}\n")
        assert instance.cli("check").returncode == 78, wrong
    instance.up(f"[service.kind]\n{SLEEP}nice = 7\n[service.keen]\n{SLEEP}nice = -5\n")
    found = until(instance, lambda r: r["kind"]["pid"] and r["keen"]["pid"], "both run")
    assert nice_of(found["kind"]["pid"]) == 7
    warnings = [line["message"] for line in events(instance, "limit.warning", "keen")]
    if capable(CAP_SYS_NICE):
        assert (nice_of(found["keen"]["pid"]), warnings) == (-5, [])
    else:
        assert nice_of(found["keen"]["pid"]) == nice_of(os.getpid())
        assert len(warnings) == 1
        assert "-5" in warnings[0]


@pytest.mark.root("changes the user")
def test_a_service_of_another_user(instance: Instance) -> None:
    """`user`: uid, gid and HOME are that user's, and its own stdout can be reopened by it."""
    script = 'echo "$(id -u) $(id -g) $HOME" > /dev/stdout; exec sleep 1000'
    instance.up(shell("a", script, 'user = "nobody"', 'cwd = "/"'))
    import pwd

    entry = pwd.getpwnam("nobody")
    wanted = f"{entry.pw_uid} {entry.pw_gid} {entry.pw_dir}\n"
    wait_for(lambda: instance.ok("logs", "a") == wanted, f"it has said {wanted!r}")


def test_the_newest_intent_wins_and_status_never_waits(instance: Instance) -> None:
    """A stop ends a slow start, a start waits for a slow stop; `ps` answers meanwhile."""
    stubborn = 'trap "" TERM; touch up; while [ ! -e let-go ]; do sleep 0.02; done; rm let-go'
    instance.up(
        shell("slow", "exec sleep 1000", 'ready = { file = "never", within = "100s" }')
        + shell("a", stubborn, 'stop = { grace = "100s" }')
    )
    starting = job(instance, "start", "slow")
    assert rows(instance)["slow"]["state"] == "starting"
    assert finished(instance, job(instance, "stop", "slow"))["state"] == "done"
    outcome = finished(instance, starting)
    assert outcome["state"] == "failed"
    assert "superseded" in outcome["services"]["p/slow"]["message"]
    assert rows(instance)["slow"]["state"] == "stopped"

    wait_for((instance.folder / "up").exists, "its trap is set")
    first = rows(instance)["a"]["pid"]
    stopping = job(instance, "stop", "a")
    assert rows(instance)["a"]["state"] == "stopping"
    began = time.monotonic()
    assert "stopping" in instance.ok("ps")  # a stop of up to 100 s is under way
    assert time.monotonic() - began < 20
    again = job(instance, "start", "a")
    assert "superseded" in finished(instance, stopping)["services"]["p/a"]["message"]
    assert rows(instance)["a"]["pid"] == first  # no second copy beside the one that is leaving
    (instance.folder / "let-go").touch()
    assert finished(instance, again)["state"] == "done"
    row = rows(instance)["a"]
    assert row["state"] == "up"
    assert row["pid"] != first
    assert not alive(first)
    assert [line["pid"] for line in events(instance, "run.spawned", "a")] == [first, row["pid"]]
    instance.ok("stop", "a", "--now")


def test_held_services_start_by_themselves_when_the_cause_is_gone(instance: Instance) -> None:
    """A11: code 78 and a missing command are held until something changed: at a recheck, reload, reset."""
    quick, slow = 'backoff = { recheck = "1s" }\n', 'backoff = { recheck = "1000s" }\n'
    (instance.folder / "a.sh").write_text("exit 78\n")
    instance.up(
        f'[service.a]\ncommand = ["sh", "a.sh"]\n{quick}'
        + "".join(
            f'[service.{name}]\ncommand = ["./{name}.sh"]\n{every}'
            for name, every in (("b", quick), ("c", slow), ("d", slow))
        )
    )
    found = until(instance, lambda r: {row["state"] for row in r.values()} == {"held"}, "all are held")
    assert "permanent exit code" in found["a"]["decision"]
    assert "b.sh" in found["b"]["decision"]
    [failed] = events(instance, "run.spawn_failed", "b")
    assert (failed["errno"], failed["cause"]) == ("ENOENT", "spawn-failed")
    time.sleep(1.3)  # at least one recheck that finds nothing new
    assert len(events(instance, "run.spawning", "a")) == len(events(instance, "run.spawning", "b")) == 1
    [exited] = events(instance, "run.exited", "a")
    assert (exited["cause"], exited["code"]) == ("permanent", 78)
    (instance.folder / "a.sh").write_text("exec sleep 1000\n")
    for name in ("b", "c", "d"):
        script = instance.folder / f"{name}.new"
        script.write_text("#!/bin/sh\nexec sleep 1000\n")
        script.chmod(0o755)
        script.rename(instance.folder / f"{name}.sh")
    until(instance, lambda r: r["a"]["state"] == r["b"]["state"] == "up", "they start by themselves")
    assert rows(instance)["c"]["state"] == "held"
    assert instance.cli("wait", "c", "--timeout", "1s").returncode == 3
    instance.ok("reset", "c")
    until(instance, lambda r: r["c"]["state"] == "up", "reset starts it")
    instance.ok("reload")
    until(instance, lambda r: r["d"]["state"] == "up", "reload looks again", patience=10)


def test_a13_degraded_once_gave_up_drain_and_reset(instance: Instance) -> None:
    """A13: one budget.exhausted, one gave_up, then silence; A7: a drain has its delay; reset starts afresh."""
    instance.up(
        shell("hard", "exit 7", "restart = { crash = 3, crash_hard = 5 }",
              'backoff = { first = "10ms", degraded_first = "1s", degraded_most = "1s" }')
        + shell("ever", "exit 7", "restart = { crash = 2 }",
                'backoff = { first = "10ms", degraded_first = "1s", degraded_most = "1s" }')
        + shell("drains", "[ -e drained ] && exec sleep 1000; touch drained; exit 12", "restart = { drain_code = 12 }",
                'backoff = { drain = "300ms" }')
    )  # fmt: skip
    row = until(instance, lambda r: r["drains"]["state"] == "up", "it is back after its drain")["drains"]
    assert (row["crash_count"], row["restarts"]) == (0, {"drain": 1})
    assert events(instance, "run.exited", "drains")[0]["cause"] == "drain"
    assert [(line["ms"], line["reason"]) for line in events(instance, "backoff", "drains")] == [
        (300, "drain")
    ]

    until(instance, lambda r: r["hard"]["state"] == "gave_up", "it gave up")
    [spent] = events(instance, "budget.exhausted", "hard")
    assert (spent["budget"], spent["count"], spent["limit"]) == ("crash", 3, 3)
    [end] = events(instance, "supervision.gave_up", "hard")
    assert (end["crash_count"], end["limit"], end["cause"]) == (5, 5, "crash")
    assert len(events(instance, "run.spawned", "hard")) == 5
    assert len(events(instance, "backoff", "hard")) == 4  # none after the end

    seen(instance, "run.exited", "ever", 4)
    assert len(events(instance, "budget.exhausted", "ever")) == 1
    until(instance, lambda r: r["ever"]["state"] == "degraded", "it goes on trying")
    assert instance.cli("wait", "hard", "--timeout", "20s").returncode == 3
    instance.ok("reset", "hard")
    assert [line["crash_count"] for line in seen(instance, "run.exited", "hard", 6)][5] == 1


def test_wait_ends_when_it_comes_true(instance: Instance) -> None:
    """wait: ready, exited, stopped, and 1 when it does not come in time."""
    script = "while [ ! -e ready ]; do sleep 0.02; done; touch r; while [ ! -e leave ]; do sleep 0.02; done; exit 3"
    instance.up(shell("a", script, 'ready = { file = "r", every = "50ms" }', 'backoff = { first = "50s" }'))
    assert instance.cli("wait", "a", "--timeout", "0.3s").returncode == 1
    (instance.folder / "ready").touch()
    instance.ok("wait", "a", "--timeout", "20s")
    (instance.folder / "leave").touch()
    instance.ok("wait", "a", "--until", "exited", "--timeout", "20s")
    instance.ok("stop", "a")
    instance.ok("wait", "a", "--until", "stopped", "--timeout", "20s")
