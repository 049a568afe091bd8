"""`midwatch exec` as a line of a shell: text, JSON, exit codes, signals, wrong lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.front.conftest import Done

import midwatch

Cli = Callable[..., Done]
# design.md 6: what scripts rely on
FIELDS = {
    "state", "exit_code", "signal", "reason", "bytes_total", "lines_total", "head", "tail", "spool",
    "spool_complete", "duration_ms", "max_rss_bytes",
}  # fmt: skip


def test_a_short_output_is_passed_on(cli: Cli, home: Path) -> None:
    """What fits is printed as it is, without a word of ours."""
    assert cli("exec", "--", "echo", "hi") == Done(0, "hi\n", "")
    assert cli("exec", "printf", "no newline") == Done(0, "no newline", "")


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 3", 3), ("kill -9 $$", 137), ("exit 0", 0), ("kill -TERM $$", 143)],
)
def test_it_ends_with_the_commands_code(cli: Cli, home: Path, script: str, code: int) -> None:
    """Design 6: the command's own code, 128+N for a signal."""
    assert cli("exec", "--", "sh", "-c", script).code == code


def test_a_timeout_is_never_a_success(cli: Cli, home: Path) -> None:
    assert cli("exec", "--timeout", "300ms", "--", "sleep", "60").code == 143
    polite = cli("exec", "--timeout", "300ms", "--", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done")
    assert polite.code == 124
    assert "[midwatch: ended after its time limit of 0.3 s]" in polite.out


def test_json_has_the_fields_that_scripts_rely_on(cli: Cli, home: Path) -> None:
    done = cli("exec", "--json", "--", "seq", "1", "20000")
    assert set(done.json) >= FIELDS | {"schema_version"}
    assert (done.json["state"], done.json["lines_total"], done.json["schema_version"]) == ("exited", 20_000, 1)
    assert len(done.json["spool"]) == 32
    assert len(done.out) < 40_960
    assert done.code == 0


def test_the_command_in_the_notice_works(cli: Cli, home: Path) -> None:
    """A16: the exact next call of the notice continues where the head ended."""
    done = cli("exec", "--", "seq", "1", "20000")
    words = done.out.rstrip("]\n").rpartition("midwatch ")[2].split()
    assert words[:2] == ["spool", "read"]
    page = cli(*words)
    assert page.code == 0
    shown = done.out.partition("[...")[0].split()
    assert page.out.split()[0] in (shown[-1], str(int(shown[-1]) + 1), str(int(shown[-2]) + 1))


@pytest.mark.parametrize(
    "script", ["head -c 90000 /dev/urandom", "head -c 90000 /dev/zero | tr '\\0' a", "seq -f %0100g 1 3000 >&2"]
)
@pytest.mark.parametrize("how", [(), ("--split",)])
def test_the_command_in_every_notice_works(cli: Cli, home: Path, script: str, how: tuple[str, ...]) -> None:
    """Binary, one endless line, stderr: what the notice says can be typed."""
    done = cli("exec", *how, "--", "sh", "-c", script)
    words = done.out.rstrip("]\n").rpartition("midwatch ")[2].split()
    page = cli(*words)
    assert page.code == 0, page.err
    assert page.out


def test_bytes_that_are_no_text(cli: Cli, home: Path) -> None:
    """A command line that is no UTF-8, and output that is none: valid JSON and text."""
    words = ["--", "printf", os.fsdecode(b"a\xffb\n")]
    assert cli("exec", "--json", *words).json["head"] == "a\ufffdb\n"
    assert cli("exec", *words).out == "a\ufffdb\n"
    assert cli("exec", "--json", "--", os.fsdecode(b"no\xff")).json["state"] == "failed"


def test_limits_and_places(cli: Cli, home: Path, tmp_path: Path) -> None:
    """Each option reaches the run."""
    assert cli("exec", "--cwd", str(tmp_path), "--", "pwd").out == f"{tmp_path}\n"
    assert cli("exec", "-e", "A=b=c", "--", "sh", "-c", "echo $A").out == "b=c\n"
    assert len(cli("exec", "--inline", "4K", "--no-spool", "--", "seq", "9999").out.encode()) <= 4096
    assert json.loads(cli("exec", "--output", "1M", "--json", "--", "yes").out)["state"] == "output_limit"
    split = cli("exec", "--split", "--json", "--", "sh", "-c", "echo out; echo err >&2").json
    assert (split["stdout"]["head"], split["stderr"]["head"]) == ("out\n", "err\n")
    idle = cli("exec", "--idle-timeout", "500ms", "--json", "--", "sleep", "60").json
    assert (idle["state"], idle["reason"]) == ("idle_timeout", "idle_timeout")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "which command"),
        (["--timeout", "0", "--", "true"], "there is no 'unlimited'"),
        (["--timeout", "2h", "--", "true"], "at most 3600 s"),
        (["--timeout", "soon", "--", "true"], "is not a duration"),
        (["--memory", "lots", "--", "true"], "is not a size"),
        (["--env", "novalue", "--", "true"], "NAME=VALUE"),
        (["--regex", "--", "true"], "--search only"),
        (["--search", "x", "--split", "."], "not for --search"),
        (["--search", "x", "a", "b"], "one folder"),
    ],
)
def test_a_wrong_line_starts_nothing(cli: Cli, home: Path, words: list[str], says: str) -> None:
    done = cli("exec", *words)
    assert done.code == 2
    assert says in done.err
    assert "nothing was" in done.err


def test_what_cannot_start(cli: Cli, home: Path) -> None:
    """127 and 126 as shells have them, with words that say what to do."""
    done = cli("exec", "--", "no-such-command-here")
    assert done.code == 127
    assert done.out.startswith("[midwatch: not started: command 'no-such-command-here' is in no folder of PATH")
    assert cli("exec", "--", "/etc/passwd").code == 126


def test_search(cli: Cli, home: Path, tmp_path: Path) -> None:
    """--search: the safe search, 0 when something is found, 1 when nothing is."""
    (tmp_path / "a.txt").write_text("one needle here\nnothing\n")
    found = cli("exec", "--search", "needle", str(tmp_path))
    assert found.code == 0
    assert "a.txt:1:5: one needle here" in found.out
    nothing = cli("exec", "--search", "absent", "--json", str(tmp_path))
    assert (nothing.code, nothing.json["matches"], nothing.json["schema_version"]) == (1, 0, 1)
    assert cli("exec", "--search", "NEEDLE", "-h").code == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_our_own_end_ends_the_command(home: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    """A15: Ctrl-C, TERM and HUP: the command is ended, what it printed is told."""
    words = [sys.executable, "-m", "midwatch", "exec", "--", "sh", "-c", f"echo $$ > {tmp_path}/pid; echo hi; sleep 60"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 20
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()) and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == code
    assert out == "hi\n[midwatch: ended because it was cancelled]\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_reader_that_leaves_is_no_failure(home: Path) -> None:
    """`midwatch exec ... | head -1` ends without a traceback."""
    script = f"{sys.executable} -m midwatch exec -- seq 1 9000 | head -1"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert (done.stdout, done.stderr) == ("1\n", "")


def exec_in_a_shell(home: Path, line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """`$M` in the line is midwatch."""
    source = str(Path(midwatch.__file__).parents[1])
    env = {**os.environ, "M": f"{sys.executable} -m midwatch", "PYTHONPATH": source, **environment}
    return subprocess.run(["sh", "-c", line], env=env, cwd=home, capture_output=True, timeout=50, check=False)


def test_what_our_caller_closed_is_dev_null(home: Path) -> None:
    """A pipe of ours that became descriptor 0 was the command's stdin: it waited for its own output."""
    done = exec_in_a_shell(home, "$M exec --timeout 20s --stdin -- cat <&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    for closed in (">&-", "<&- >&- 2>&-"):
        done = exec_in_a_shell(home, f"$M exec -- sh -c 'echo hi; echo seen > seen' {closed}")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert (home / "seen").read_text() == "seen\n"


def test_text_is_utf8_whatever_the_locale(home: Path) -> None:
    """Pages and matches were an error of our own under Latin-1; a file name may be no text at all."""
    (home / "uni.txt").write_text("h\u00e9\U0001f600 needle\n")
    (home / os.fsdecode(b"odd\xff.txt")).write_text("needle\n")
    for how in ("", "--json"):
        done = exec_in_a_shell(home, f"$M exec --search needle {how} .", PYTHONIOENCODING="latin-1")
        assert done.returncode == 0, done.stderr
        assert "h\u00e9\U0001f600" in done.stdout.decode()
        assert not how or json.loads(done.stdout)["matches"] == 2


def test_a_folder_that_was_deleted_is_named(home: Path) -> None:
    """'cannot use: No such file or directory' said neither what nor what to do."""
    done = exec_in_a_shell(home, "mkdir gone; cd gone; rmdir ../gone; $M exec -- echo hi; $M exec --search x; true")
    assert done.stdout.decode().startswith("[midwatch: not started: the current folder does not exist any more")
    assert "the current folder does not exist any more" in done.stderr.decode()
