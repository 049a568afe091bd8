"""Files that are followed, with real processes: an edit restarts, a service that touches what it watches is recognised,
and the helper lives exactly as long as it is needed. Issue 3, item 5.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.system.conftest import Instance, alive, kill, wait_for

import midwatch

pytest.importorskip("watchfiles")

SCRIPT = str(Path(midwatch.__file__).parent / "engine" / "filewatch_helper.py")
SLEEP = 'command = ["sleep", "1000"]\n'
QUICK = "debounce = '100ms'"


def helper(instance: Instance) -> psutil.Process | None:
    """The engine's child that follows files."""
    engine = psutil.Process(instance.daemon()["pid"])
    found = [child for child in engine.children() if any("filewatch_helper" in word for word in child.cmdline())]
    assert len(found) <= 1
    return found[0] if found else None


def watching(instance: Instance, times: int = 1) -> None:
    wait_for(lambda: len(instance.journal("filewatch.started")) >= times, "the helper follows the files")


def test_an_edit_restarts_and_so_does_a_file_that_an_editor_replaces(instance: Instance) -> None:
    """Twice each: a watch of the replaced file itself would see one change only."""
    (instance.folder / "src").mkdir()
    (instance.folder / "one.conf").write_text("0")
    instance.up(f"[service.dev]\n{SLEEP}watch = {{ paths = ['src', '*.conf'], {QUICK} }}\n[service.other]\n{SLEEP}")
    watching(instance)
    other = instance.ps()["other"]["pid"]
    for number in range(4):
        # What changes right after a start counts as the start's own doing (WATCH_EARLY).
        old = instance.until(lambda rows: (rows["dev"]["uptime_s"] or 0) > 2.2, "it has lived a while")["dev"]["pid"]
        if number % 2:
            (instance.folder / ".tmp").write_text(str(number) * 9)
            os.rename(instance.folder / ".tmp", instance.folder / "one.conf")
        else:
            (instance.folder / "src" / f"m{number}.py").write_text("x")
        instance.until(lambda rows, old=old: rows["dev"]["pid"] not in (None, old), "it was restarted")  # type: ignore[misc]
    assert instance.ps()["other"]["pid"] == other
    lines = instance.journal("watch.changed")
    assert [len(line["paths"]) for line in lines] == [1, 1, 1, 1]
    assert instance.ps()["dev"]["crash_count"] == 0


def test_an_edit_is_a_new_chance_for_one_that_crashed(instance: Instance) -> None:
    """It waits a minute for its next try, but whoever saves the cure does not."""
    (instance.folder / "run.sh").write_text("exit 1\n")
    text = "[service.dev]\ncommand = ['sh', 'run.sh']\nbackoff = { first = '60s', most = '60s' }\n"
    instance.up(text + f"watch = {{ paths = ['run.sh'], {QUICK} }}\n")
    watching(instance)
    instance.until(lambda rows: rows["dev"]["state"] == "backoff", "it has crashed")
    (instance.folder / "run.sh").write_text("exec sleep 1000\n")
    instance.until(lambda rows: rows["dev"]["state"] == "up", "it was tried at once")


def test_a_service_that_touches_what_it_watches_is_recognised(instance: Instance) -> None:
    """A build that writes into its own source folder would restart for ever: said once, and left running."""
    (instance.folder / "src").mkdir()
    command = 'command = ["sh", "-c", "sleep 0.3; echo $$ > src/out.txt; exec sleep 1000"]\n'
    instance.up(f"[service.dev]\n{command}watch = {{ paths = ['src'], {QUICK} }}\n")
    (line,) = wait_for(lambda: instance.journal("watch.loop"), "the loop is noticed")
    assert "it seems to change what it watches" in line["decision"]
    pid = instance.ps()["dev"]["pid"]
    for number in range(3):
        (instance.folder / "src" / "out.txt").write_text(str(number))
    row = instance.until(lambda rows: rows["dev"]["state"] == "up", "it runs")["dev"]
    assert row["pid"] == pid
    assert len(instance.journal("run.spawned")) <= 7
    assert len(instance.journal("watch.loop")) == 1


def test_the_helper_lives_as_long_as_it_is_needed(instance: Instance) -> None:
    """Niced; made again when it dies, ended with its last service, and with the engine however that ends."""
    instance.up(f"[service.dev]\n{SLEEP}watch = {{ paths = ['src'], {QUICK} }}\n[service.other]\n{SLEEP}")
    watching(instance)
    first = helper(instance)
    assert first is not None
    assert first.nice() >= 10
    kill(first.pid)
    watching(instance, 2)
    assert "signal 9" in instance.journal("filewatch.lost")[0]["reason"]
    old = instance.ps()["dev"]["pid"]
    (instance.folder / "src").mkdir()
    instance.until(lambda rows: rows["dev"]["pid"] not in (None, old), "the second one follows the files")
    second = helper(instance)
    assert second is not None
    kill(instance.daemon()["pid"])
    wait_for(lambda: not alive(second.pid), "it left with its engine")
    watching(instance, 3)
    third = helper(instance)
    assert third is not None
    instance.ok("stop", "dev")
    wait_for(lambda: not alive(third.pid), "nobody needs it")
    instance.ok("start", "dev")
    watching(instance, 4)
    fourth = helper(instance)
    assert fourth is not None
    instance.ok("down", "--all")
    wait_for(lambda: not alive(fourth.pid), "it left with the daemon")


def test_without_a_wish_there_is_no_helper_and_the_engine_never_loads_the_library(instance: Instance) -> None:
    """6 MB in the engine for nothing."""
    instance.up(f"[service.dev]\n{SLEEP}")
    assert helper(instance) is None
    (instance.folder / "midwatch.toml").write_text(f"[service.dev]\n{SLEEP}watch = ['src']\n")
    instance.ok("reload")
    watching(instance)
    maps = Path(f"/proc/{instance.daemon()['pid']}/maps").read_text()
    assert "watchfiles" not in maps


@pytest.mark.root("sets a limit of a user namespace of its own")
@pytest.mark.parametrize(
    ("knob", "most"), [("max_inotify_instances", 0), ("max_inotify_watches", 1), ("max_inotify_watches", 3)]
)
def test_exhausted_inotify_limits_fall_back_to_looking(tmp_path: Path, knob: str, most: int) -> None:
    """The kernel's own refusals: EMFILE, ENOSPC at the start and for a folder that is made later. Said and survived."""
    (tmp_path / "src" / "a").mkdir(parents=True)
    wish = {"watch": [{"id": "x", "paths": [str(tmp_path / "src")], "ignore": [], "debounce": 0.1}], "never": []}
    told = {**wish, "home": "/nowhere", "most": 10, "roots": 0.3, "poll": 0.2, "named": 10}
    inner = f'echo {most} > /proc/sys/user/{knob} && exec "$@"'
    helper = [sys.executable, "-I", "-S", SCRIPT, "0", *sys.path]
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", inner, "sh", *helper]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    try:
        assert child.stdin is not None
        child.stdin.write(json.dumps(told) + "\n")
        begun = said(child, "watching")
        if begun is None:
            pytest.skip("no user namespaces here")
        warnings = [line["warning"] for line in begun if "warning" in line]
        for number in range(100):
            made = tmp_path / "src" / f"new{number}"
            made.mkdir()
            (made / "file").write_text("x")
            lines = said(child, "changed") or []
            warnings += [line["warning"] for line in lines if "warning" in line]
            if warnings and str(made / "file") in lines[-1]["paths"]:
                break
        (warning,) = warnings
        assert "raise fs.inotify.max_user_" in warning
    finally:
        child.kill()
        child.communicate()


def said(child: subprocess.Popen[str], last: str) -> list[dict[str, Any]] | None:
    """What it says up to a line of this kind; None when it has ended."""
    assert child.stdout is not None
    lines: list[dict[str, Any]] = [{}]
    while last not in lines[-1]:
        line = child.stdout.readline()
        if not line:
            return None
        lines.append(json.loads(line))
    return lines
