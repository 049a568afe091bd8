"""The services' output on disk and back: exactly their bytes, bounded, and nobody waits for anybody else."""

from __future__ import annotations

import calendar
import gzip
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from tests.system.conftest import Instance, wait_for
from tests.system.watching import PYTHON, events, rows, seen, shell, until

COUNT = (
    "import sys\nfor n in range(int(sys.argv[1])):\n    print(f'line {n:07d}')\nprint('end', flush=True)\n"
)
STORM = "import os\nwhile True:\n    os.write(1, b'x' * 99 + b'\\n')\n"


def shown(instance: Instance, *arguments: str) -> bytes:
    """What `midwatch logs ARGUMENTS` writes, as bytes."""
    done = subprocess.run(
        [sys.executable, "-m", "midwatch", "logs", *arguments], cwd=instance.folder, capture_output=True, timeout=60,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def folder(instance: Instance, name: str) -> Path:
    """Where a service's output is."""
    return instance.home / "logs" / f"p.{name}"


def held(where: Path) -> int:
    """Bytes of all files there; one may be renamed or removed under our eyes."""
    total = 0
    for path in where.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def test_rotation_and_compression_lose_and_change_nothing(instance: Instance) -> None:
    """8: small files, all of them kept: the same bytes before and after compression, as one stream."""
    (instance.folder / "count.py").write_text(COUNT)
    instance.up(
        f'[service.a]\ncommand = [{PYTHON}, "count.py", "20000"]\noneshot = true\n'
        'output = { file = "64K", files = 100 }\n'
    )
    until(instance, lambda r: r["a"]["state"] == "done", "it has said everything")
    wanted = b"".join(b"line %07d\n" % n for n in range(20000)) + b"end\n"
    wait_for(lambda: shown(instance, "a", "-n", "0") == wanted, "everything is shown")
    where = folder(instance, "a")
    closed = len(wanted) // 65536
    wait_for(lambda: len(list(where.glob("*.gz"))) >= closed, "the full files are compressed")
    assert shown(instance, "a", "-n", "0") == wanted
    assert shown(instance, "a", "-n", "3") == wanted[-30:]
    first = min(where.glob("*.gz"), key=lambda path: int(path.name.split(".")[-3]))
    assert wanted.startswith(gzip.decompress(first.read_bytes()))
    assert {path.stat().st_mode & 0o777 for path in where.iterdir()} == {0o600}
    assert events(instance, "output.dropped") == []


def test_logs_shows_exact_bytes_times_previous_and_follows(instance: Instance) -> None:
    """6: bytes that are no text, no final newline; -t stamps each line; --previous; -f goes on."""
    script = (
        'if [ -e again ]; then echo second run; while [ ! -e more ]; do sleep 0.02; done; printf "followed\\nno end"; '
        'else touch again; printf "caf\\303\\251 \\000\\377\\033[31m\\r\\nlast line without end"; fi; exec sleep 1000'
    )
    first = b"caf\xc3\xa9 \x00\xff\x1b[31m\r\nlast line without end"
    instance.up(shell("a", script))
    wait_for(lambda: shown(instance, "a") == first, "its bytes are shown")
    instance.ok("restart", "a")
    wait_for(lambda: shown(instance, "a", "--run", "2") == b"second run\n", "the second run's")
    assert shown(instance, "a", "--previous") == first
    stamped = shown(instance, "a", "--run", "1", "-t").split(b"\n")
    assert [line.split(b" ", 1)[1] for line in stamped if line] == first.split(b"\n")
    when = time.strptime(stamped[0].split(b" ")[0].decode(), "%Y-%m-%dT%H:%M:%SZ")
    assert abs(calendar.timegm(when) - time.time()) < 600
    follower = subprocess.Popen(
        [sys.executable, "-m", "midwatch", "logs", "-f", "a", "--run", "2"], cwd=instance.folder,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"second run\n"
        (instance.folder / "more").touch()
        wanted = b"followed\nno end"
        got = b""
        while len(got) < len(wanted) and (piece := os.read(follower.stdout.fileno(), 100)):
            got += piece
        assert got == wanted
    finally:
        follower.send_signal(signal.SIGINT)
        follower.wait(30)
        if follower.stdout is not None:
            follower.stdout.close()


def test_previous_is_the_run_before_the_one_that_runs_also_when_that_is_silent(instance: Instance) -> None:
    """6: the last words of the run that ended, while its successor has not said anything yet."""
    instance.up(shell("a", "[ -e again ] && exec sleep 1000; touch again; echo first; exec sleep 1000"))
    wait_for(lambda: shown(instance, "a") == b"first\n", "the first run has spoken")
    instance.ok("restart", "a")
    assert shown(instance, "a", "--previous") == b"first\n"


def test_the_tail_is_kept_with_the_exit_record_and_own_stderr_stays_apart(instance: Instance) -> None:
    """8: run.tail has the last words of both streams; merged output keeps its order, own streams are two."""
    script = "seq 1 3000; echo to-err >&2; echo to-out; exit 9"
    instance.up(
        shell("merged", script, 'backoff = { first = "50s" }')
        + shell("own", script, 'output = { stderr = "own" }', 'backoff = { first = "50s" }')
    )
    for name in ("merged", "own"):
        [tail] = seen(instance, "run.tail", name)
        assert tail["run_id"] == f"p.{name}.1"
        assert "to-err" in tail["text"]
        assert "to-out" in tail["text"]
        assert len(tail["text"]) < 20000
    numbers = b"".join(b"%d\n" % n for n in range(1, 3001))
    assert shown(instance, "merged", "-n", "0") == numbers + b"to-err\nto-out\n"
    assert shown(instance, "own", "-n", "0") == numbers + b"to-out\n"
    assert shown(instance, "own", "-n", "0", "--stream", "err") == b"to-err\n"


def test_a_storm_stays_inside_its_caps_and_is_said_once(instance: Instance) -> None:
    """8: each cap holds while it storms, the total cap soon after; one output.dropped an episode."""
    (instance.folder / "storm.py").write_text(STORM)
    cap, file, total = 1 << 20, 256 << 10, 1 << 20
    output = f'output = {{ file = "{file}", files = {cap // file} }}\n'
    instance.up(
        '[midwatch]\nlog_total = "1M"\n'
        + "".join(f'[service.{name}]\ncommand = [{PYTHON}, "storm.py"]\n{output}' for name in ("a", "b"))
    )
    for name in ("a", "b"):
        assert seen(instance, "output.dropped", name)[0]["reason"] == "rotation"
    for _ in range(15):
        time.sleep(0.1)
        for name in ("a", "b"):
            # The file being written, and full ones that the engine has not looked at yet: a second of storm at most.
            assert held(folder(instance, name)) < cap + 64 * file
    instance.ok("stop", "--all")
    wait_for(lambda: held(folder(instance, "a")) <= cap + file, "the cap holds")
    wait_for(lambda: held(instance.home / "logs") <= total + 2 * file, "the total cap holds")
    for name in ("a", "b"):
        said = [line for line in events(instance, "output.dropped", name) if line["reason"] == "rotation"]
        assert len(said) == 1  # the second one, with the sum, comes when it has been quiet for a while
        assert said[0]["bytes"] > 0


def test_a_service_that_does_not_read_or_write_stalls_nobody(instance: Instance) -> None:
    """8: one storms, one is stopped in its storm, a reader does not read: a quiet one is on disk."""
    (instance.folder / "storm.py").write_text(STORM)
    output = 'output = { file = "1M", files = 3, compress = false }\n'
    instance.up(
        "".join(
            f'[service.{name}]\ncommand = [{PYTHON}, "storm.py"]\n{output}' for name in ("storm", "frozen")
        )
        + shell(
            "quiet",
            "n=0; while [ ! -e enough ]; do n=$((n+1)); echo $n; sleep 0.02; done; echo end; sleep 1000",
        )
    )
    frozen = rows(instance)["frozen"]["pid"]
    unread = subprocess.Popen(
        [sys.executable, "-m", "midwatch", "logs", "-f", "storm"], cwd=instance.folder, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        os.kill(frozen, signal.SIGSTOP)
        before = shown(instance, "quiet", "-n", "0").count(b"\n")
        wait_for(
            lambda: shown(instance, "quiet", "-n", "0").count(b"\n") > before + 10, "the quiet one is heard"
        )
        (instance.folder / "enough").touch()
        wait_for(lambda: shown(instance, "quiet", "-n", "1") == b"end\n", "its end is on disk")
    finally:
        os.kill(frozen, signal.SIGCONT)
        unread.kill()
        unread.communicate()
    lines = shown(instance, "quiet", "-n", "0").split(b"\n")[:-2]
    assert lines == [b"%d" % n for n in range(1, len(lines) + 1)]


def says(instance: Instance, name: str, text: bytes) -> bool:
    """Is this all that it has written? A terminal ends its lines with CR LF."""
    return shown(instance, name).replace(b"\r\n", b"\n") == text


def test_a_program_that_reopens_its_stdout_and_one_with_a_terminal(instance: Instance) -> None:
    """5: /dev/stdout, /proc/self/fd/1 can be opened again; pty = true is a terminal on 0, 1 and 2."""
    terminal = "for fd in 0 1 2; do [ -t $fd ] && echo $fd is a tty; done; echo end; exec sleep 1000"
    instance.up(
        shell(
            "reopens",
            "echo one; echo two > /dev/stdout; echo three >> /proc/self/fd/1; echo four >&2; exec sleep 1000",
        )
        + shell("plain", terminal)
        + shell("tty", terminal, "pty = true")
    )
    wanted = {
        "reopens": b"one\ntwo\nthree\nfour\n",
        "plain": b"end\n",
        "tty": b"0 is a tty\n1 is a tty\n2 is a tty\nend\n",
    }
    for name, text in wanted.items():
        wait_for(partial(says, instance, name, text), f"{name}: {text!r}")
