"""The entry point: fast lines load little, failures are one line with the right code, readers may leave."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.front.conftest import Daemon, Done

import midwatch
from midwatch.front.cli import declare, look, main

Cli = Callable[..., Done]
HEAVY = ("typer", "rich", "click", "pydantic", "psutil", "asyncio", "ssl")


def test_version(cli: Cli) -> None:
    """`--version` prints one line."""
    assert cli("--version") == Done(0, f"midwatch {midwatch.__version__}\n", "")
    assert cli("--version", "--json").json == {"schema_version": 1, "version": midwatch.__version__}
    assert cli("--version", "x").code == 2


@pytest.mark.parametrize("words", [["--version"], ["ps", "--json"], ["events"], ["stop", "x"]])
def test_ordinary_lines_load_nothing_heavy(home: Path, words: list[str]) -> None:
    """What takes longer to import than to answer is not imported: counted in modules, because time depends on load."""
    script = (
        "import sys; from midwatch.front.cli.main import main; main(sys.argv[1:]); "
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=home,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "[]", done.stderr


def test_a_daemon_that_is_down_is_one_line(cli: Cli) -> None:
    """Commands without a daemon: what, and what to do; exit 1; the same as JSON."""
    done = cli("restart", "web", "--json")
    assert done.code == 1
    assert done.err == (
        "midwatch restart: no midwatch daemon is running, so there is nothing to restart; 'midwatch up' starts one\n"
    )
    assert done.json == {"schema_version": 1, "error": {"code": 1, "message": done.err[18:-1]}}


def test_our_own_fault_is_no_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception is one line that asks for a report; MIDWATCH_DEBUG=1 shows where."""

    def broken(json: bool) -> int:
        raise RuntimeError(f"boom {json}")

    monkeypatch.setattr(look, "VERB", look.VERB._replace(run=broken))
    done = cli()
    assert done.code == 1
    assert "an error of our own (RuntimeError: boom False); please report it" in done.err
    assert "Traceback" not in done.err
    monkeypatch.setenv("MIDWATCH_DEBUG", "1")
    with pytest.raises(RuntimeError):
        main.main([])


@pytest.mark.parametrize(
    ("error", "code"),
    [(declare.Usage("x"), 2), (declare.Failure("x", 3), 3), (OSError(13, "no", "/f"), 1)],
)
def test_codes(error: Exception, code: int) -> None:
    """Each kind of failure has its exit code."""
    assert main.told(error)[0] == code


def test_launch_errors_keep_their_code() -> None:
    """4 already running, 78 unwritable: what engine/launch.py says is the exit code."""
    from midwatch.engine.launch import LaunchError
    from midwatch.engine.layout import LayoutError

    assert main.told(LaunchError(4, "already running: pid 7"))[0] == 4
    assert main.told(LayoutError("no"))[0] == 78


def test_wrong_configuration_is_78_with_every_problem(cli: Cli, daemon: Daemon) -> None:
    """Each problem is a line with file, line and the nearest key; nothing is sent (exit 78)."""
    Path("midwatch.toml").write_text(
        "[service.web]\ncomand = ['x']\n[service.db]\ncommand = ['x']\nportt = 1\n"
    )
    done = cli("up", "-d")
    assert done.code == 78
    assert "midwatch.toml:2" in done.err
    assert "command" in done.err
    assert "midwatch.toml:5" in done.err
    assert daemon.of("apply") == []


def test_a_reader_may_leave(home: Path) -> None:
    """`midwatch schema | head -1` ends quietly as a program killed by SIGPIPE does."""
    script = f"{sys.executable} -m midwatch schema | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], check=False, capture_output=True, text=True, timeout=50, cwd=home
    )
    assert done.returncode in {0, 141}
    assert done.stderr == ""


def test_interrupt_is_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while following ends without a word."""

    def interrupted(json: bool) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(look, "VERB", look.VERB._replace(run=interrupted))
    assert cli() == Done(130, "", "")


def test_json_errors_are_json(cli: Cli, daemon: Daemon) -> None:
    """With --json stdout is one JSON document, also when the daemon refuses."""
    daemon.answers["stop"] = {"error": {"code": -32002, "message": "held by somebody; wait"}}
    done = cli("stop", "shop/web", "--json")
    assert done.code == 1
    assert json.loads(done.out)["error"]["message"] == "held by somebody; wait"
