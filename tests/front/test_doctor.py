"""`midwatch doctor` as a person types it: what is shown, asked, fixed and refused (GEN-1..4, 78, 79)."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.front.conftest import DAEMON, Daemon, Done

from midwatch.front.cli import doctor, doctor_facts, doctor_fix, doctor_screen
from midwatch.front.cli.instances import Known
from midwatch.inspect.doctor import registry
from midwatch.inspect.doctor import run as running
from midwatch.inspect.doctor.check import Check, Context
from midwatch.model.look import Checked, Offender

Cli = Callable[..., Done]


def result(status: str, message: str = "words", category: str = "disk", check: str = "TST-1", **more: Any) -> Checked:
    return Checked(check, category, status, message, **more)  # type: ignore[arg-type]


def check(number: int, body: Callable[[Context], Iterable[Checked]], category: str = "locks", **more: Any) -> Check:
    return Check(f"TST-{number}", category, f"check {number}", "words", body, **more)  # type: ignore[arg-type]


@pytest.fixture
def playing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replaces the registry by these checks."""
    return lambda *checks: monkeypatch.setattr(registry, "checks", lambda: list(checks))


def test_findings_by_category_worst_first_with_one_fix(cli: Cli, home: Path, playing: Callable[..., None]) -> None:
    """Categories in their order; fail before warn before skip; what passes is one line; each finding has one fix."""
    playing(
        check(1, lambda ctx: [result("pass", check="TST-1", category="locks")]),
        check(2, lambda ctx: [
            result("skip", "no tool", "locks", "TST-2", hint="install it"),
            result("warn", "a lock", "locks", "TST-2", hint="rm it"),
            result("fail", "a dead lock", "locks", "TST-2", hint="rm that"),
        ]),
        check(3, lambda ctx: [result("fail", "short", "memory", "TST-3", hint="midwatch recover")], "memory"),
    )  # fmt: skip
    done = cli("doctor")
    assert done.code == 1
    lines = done.out.splitlines()
    assert lines[:13] == [
        "memory",
        "  fail check 3: short",
        "       fix: midwatch recover",
        "locks",
        "  fail check 2: a dead lock",
        "       fix: rm that",
        "  warn check 2: a lock",
        "       fix: rm it",
        "  skip check 2: no tool",
        "       run: install it",
        "  ok   check 1",
        "",
        lines[12],
    ]
    assert "3 checks of this machine" in lines[12]
    assert "2 fail, 1 warn, 1" in done.out
    assert done.err == ""


def test_exit_codes(cli: Cli, home: Path, playing: Callable[..., None]) -> None:
    """0 nothing failed, also with skips; 1 with --strict and a warning; 2 usage, before anything is looked at."""
    looked: list[int] = []

    def body(ctx: Context) -> Iterable[Checked]:
        looked.append(1)
        return [result("warn"), result("skip")]

    playing(check(1, body))
    assert cli("doctor").code == 0
    assert cli("doctor", "--strict").code == 1
    looked.clear()
    for words in (["--category", "nonsense"], ["--yes"], ["--fix"], ["--watch", "-3"], ["--expect-heavy", "many"],
                  ["--recorded", "/nonexistent"], ["nobody"], ["--fix", "--recorded", "/x"]):  # fmt: skip
        assert cli("doctor", *words).code == 2, words
    assert not looked


def test_the_document(cli: Cli, home: Path, playing: Callable[..., None]) -> None:
    """GEN-1: the fields of each check; secrets are left out; schema_version is there."""
    named = (Offender("process", "npx x --api-key=sk-live-1234567890abcdef", 7, 70),)
    playing(check(1, lambda ctx: [result("warn", offenders=named, evidence={"n": 1}, hint="x")]))
    done = cli("doctor", "--json").json
    assert done["schema_version"] == 1
    (one,) = done["checks"]
    assert set(one) >= {"id", "category", "status", "message", "offenders", "evidence", "hint", "source"}
    assert "sk-live" not in json.dumps(done)
    assert done["counts"] == {"fail": 0, "warn": 1, "skip": 0, "pass": 0}


def test_fix_looks_again_and_runs_only_what_was_offered(
    cli: Cli, home: Path, playing: Callable[..., None], tmp_path: Path
) -> None:
    """--fix --yes: runs the check's argv without a shell, unless the finding has gone meanwhile."""
    stale, taken = tmp_path / "a b;c.pid", tmp_path / "taken.pid"
    stale.touch()
    taken.touch()
    looks = {stale: 0, taken: 0}

    def body(ctx: Context) -> Iterable[Checked]:
        for path in (stale, taken):
            looks[path] += 1
            if path is taken and looks[path] > 1:
                continue  # its owner came back between the two looks
            yield result("fail", f"{path.name} is stale", fix=("rm", str(path)))

    playing(check(1, body))
    done = cli("doctor", "--fix", "--yes", "--json")
    assert [one["state"] for one in done.json["fixed"]] == ["done", "no longer needed"]
    assert not stale.exists()
    assert taken.exists()


def test_fix_asks_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only y runs it; the end of input means no; a pass is never fixed."""
    cures = [result("warn", fix=("true", str(n))) for n in range(3)] + [result("pass", fix=("true", "9"))]
    answers = iter(["n", "y"])

    def asked(prompt: str) -> str:
        try:
            return next(answers)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", asked)
    done = doctor_fix.offer(cures, lambda one: True, yes=False, quiet=False)
    assert [one["state"] for one in done] == ["not wanted", "done", "not wanted"]


def test_a_cure_that_fails_is_said() -> None:
    """Its last words, its code; one that is not installed."""
    assert doctor_fix.run(("sh", "-c", "echo no way >&2; exit 3")) == (3, "failed: no way")
    assert doctor_fix.run(("/nonexistent/x",)) == (None, "could not be run: No such file or directory")


def test_doctor_changes_nothing(cli: Cli, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GEN-4: a real look at this machine leaves the caller's folder and the instance as they were."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone.pid").write_text("999999999\n")

    def listing() -> list[tuple[str, int]]:
        return sorted((str(path), path.stat().st_mtime_ns) for top in (tmp_path, home) for path in top.rglob("*"))

    before = listing()
    done = cli("doctor", "--category", "locks", "--category", "disk", "--json")
    assert done.code in (0, 1)
    assert listing() == before
    found = [one for one in done.json["checks"] if "gone.pid" in one["message"]]
    assert [one["fix"] for one in found] == [["rm", str(tmp_path / "gone.pid")]]


def test_a_hanging_probe_is_left_behind(
    cli: Cli, home: Path, playing: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario 79 through the command line, scaled: it ends in time with that probe skip(timeout)."""
    def slow(ctx: Context) -> Iterable[Checked]:
        time.sleep(5)
        yield result("fail")

    monkeypatch.setattr(doctor, "run", partial(running.run, each=0.5))
    playing(check(1, slow), check(2, lambda ctx: [result("pass", check="TST-2")]))
    began = time.monotonic()
    done = cli("doctor", "--json")
    assert time.monotonic() - began < 4.5
    assert [(one["status"], one["message"][:7]) for one in done.json["checks"] if one["id"] == "TST-1"] == [
        ("skip", "timeout")
    ]
    assert done.code == 0


def test_without_an_engine_the_exit_code_is_unaffected(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Scenario 78: no engine to talk to: container checks are skips with a hint, and the exit code is 0."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("CONTAINER_HOST", f"unix://{tmp_path}/none.sock")
    done = cli("doctor", "--category", "containers", "--json")
    skips = [one for one in done.json["checks"] if one["status"] == "skip"]
    assert done.code == 0
    assert len(skips) >= 5
    assert all(one["hint"] for one in skips)


@pytest.mark.slow
def test_a_hung_tool_is_a_skip(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Scenario 79 with a real program: a systemctl that never answers is ended, said, and the rest is told."""
    tool = tmp_path / "systemctl"
    tool.write_text("#!/bin/sh\nexec sleep 60\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    began = time.monotonic()
    done = cli("doctor", "--category", "services", "--json")
    assert time.monotonic() - began < 30
    said = [one["message"] for one in done.json["checks"] if one["status"] == "skip"]
    assert any("systemctl gave no answer in time" in words or words.startswith("timeout") for words in said)
    assert any(one["id"] == "DOC-25" for one in done.json["checks"])


def test_one_reason_is_said_once() -> None:
    """Seven container checks without an engine are one line (scenario 78), not seven."""
    rows = [result("skip", "no container engine was found", "containers", f"DOC-{n}", hint="start it") for n in (3, 4)]
    lines = doctor_screen.screen(rows, 80, False, False)
    assert lines == [
        "containers",
        "  skip containers without a limit, containers near their limit: no container",
        "       engine was found",
        "       run: start it",
    ]


def test_a_narrow_terminal_and_hostile_words() -> None:
    """Fits a phone; a message with escapes and line ends stays one finding on clean lines; commands are not broken."""
    rows = [result("fail", "x\x1b[31m\n" + "word " * 40, hint="run 'midwatch doctor --category locks --fix' now")]
    lines = doctor_screen.screen(rows, 44, False, False)
    assert all(len(line) <= 44 or "'midwatch " in line for line in lines)
    assert not any("\x1b" in line for line in lines)
    assert any("'midwatch doctor --category locks --fix'" in line for line in lines)


def test_a_service_is_asked_about(cli: Cli, daemon: Daemon, playing: Callable[..., None]) -> None:
    """`doctor NAME`: the checks that speak of services, with the daemon's row and its rungs."""
    daemon.answers["ps"] = {"schema_version": 1, "daemon": {**DAEMON, "rungs": RUNGS}, "services": [ROW]}
    seen: list[Context] = []

    def body(ctx: Context) -> Iterable[Checked]:
        seen.append(ctx)
        yield result("pass")

    playing(
        check(1, body, "services", services=True),
        check(2, lambda ctx: [result("fail", "not asked")]),
    )
    done = cli("doctor", "web", "--json")
    assert [one["message"] for one in done.json["checks"]] == ["words"]
    (ctx,) = seen
    assert ctx.name == "shop/web"
    assert ctx.services[0].fds_limit == 256
    assert ctx.rungs == RUNGS


RUNGS = {"pidfd": "yes"}
ROW = {
    "name": "web", "project": "shop", "state": "up", "pid": os.getpid(), "run_id": "shop.web.1", "since": 1.0,
    "restarts": {}, "memory": {"held_bytes": 1, "quality": "exact", "soft_bytes": None, "hard_bytes": 5},
    "fds": {"open": 3, "soft_limit": 256}, "ready": True, "health": None, "decision": "", "want": "up",
}  # fmt: skip


def test_a_torn_record_is_no_reason_to_stop(home: Path) -> None:
    """A spec of another version: the row has to do."""
    from midwatch.engine.layout import Layout

    layout = Layout.default()
    layout.specs.parent.mkdir(parents=True, exist_ok=True)
    layout.specs.write_text('{"specs": [{"project": "shop", "name": "web", "launch": 5}]}')
    found = doctor_facts.watched(Known("shop/web", layout, ROW))
    assert (found.pid, found.drain, found.memory_hard) == (os.getpid(), None, 5)


def test_a_recorded_machine(cli: Cli, home: Path, tmp_path: Path) -> None:
    """--recorded: a Mac in a folder; nothing of this machine is in the answer, every source is "file"."""
    (tmp_path / "platform").write_text("darwin")
    (tmp_path / "now").write_text("2026-03-02T10:20:00+01:00")
    (tmp_path / "sysctl.txt").write_text("kern.memorystatus_vm_pressure_level = 4\n")
    done = cli("doctor", "--recorded", str(tmp_path), "--json")
    assert done.code == 1
    assert {one["source"] for one in done.json["checks"]} == {"file"}
    first = next(one for one in done.json["checks"] if one["id"] == "DOC-1")
    assert (first["status"], first["evidence"]["level"]) == ("fail", 4)


def test_without_a_terminal_there_is_no_progress(cli: Cli, home: Path, playing: Callable[..., None]) -> None:
    """Progress is for a person who watches."""

    def slow(ctx: Context) -> Iterable[Checked]:
        time.sleep(0.3)
        yield result("pass")

    playing(check(1, slow))
    assert cli("doctor").err == ""


def test_progress_is_one_line_that_goes_away(capsys: pytest.CaptureFixture[str]) -> None:
    """Written over, cut to the screen, and taken away at the end."""
    doctor_screen.progress(3, 24, ("memory pressure", "a" * 100))
    doctor_screen.progress_end()
    err = capsys.readouterr().err
    assert "3 of 24 checks; waiting for memory pressure" in err
    assert "\n" not in err
    assert err.endswith("\r\x1b[K")


def test_the_verb_is_declared() -> None:
    """Every option that the help promises."""
    flags = {flag for opt in doctor.VERB.opts for flag in opt.flags}
    assert {"--category", "--all", "--strict", "--fix", "--expect-heavy", "--json", "--recorded"} <= flags
    assert sys.version_info >= (3, 11)
