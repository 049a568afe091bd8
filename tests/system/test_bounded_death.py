"""kill -9 of the process that executes: its commands end with it or at the next start, and nobody else's do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from midwatch.bounded import run, traces
from midwatch.bounded.machinery import machinery

pytestmark = pytest.mark.usefixtures("home")

HOST = (
    "import os, sys\nfrom midwatch.bounded import run\n"
    "run('setsid sh -c \"echo \\$\\$ > $0/far; exec sleep 600\" $0 >/dev/null 2>&1 & echo $$ > $0/near; exec sleep 600'"
    ".replace('$0', sys.argv[1]), memory=MEMORY)\n"
)


def gone(pid: int, within: float) -> bool:
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            if b") Z " in Path(f"/proc/{pid}/stat").read_bytes():
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def pid_in(path: Path) -> int:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if path.exists() and path.read_text().strip():
            return int(path.read_text())
        time.sleep(0.02)
    raise AssertionError(f"{path} was not written")


@pytest.mark.parametrize("memory", ["None", "500 << 20"])
def test_the_command_dies_with_us_and_the_rest_at_the_next_start(tmp_path: Path, memory: str) -> None:
    """Design 5: PDEATHSIG (with and without the gate) gets the command, the marker gets who has left it."""
    host = subprocess.Popen([sys.executable, "-c", HOST.replace("MEMORY", memory), str(tmp_path)])
    near, far = pid_in(tmp_path / "near"), pid_in(tmp_path / "far")
    host.kill()
    host.wait()
    if machinery()[0].deathly:
        assert gone(near, 5)
    assert not gone(far, 0.3)
    assert traces.sweep(machinery()[0].machine) >= 1
    assert gone(far, 5)
    assert gone(near, 5)
    assert not list(traces.folder().glob(f"{host.pid}-*"))


def test_what_a_finished_run_has_left_is_not_swept(tmp_path: Path) -> None:
    """Only runs that were cut off are swept: a helper left on purpose lives on, though its starter has died."""
    script = (
        "import os, signal, sys\nfrom midwatch.bounded import run\n"
        "run('sleep 30 >/dev/null 2>&1 & echo $! > ' + sys.argv[1])\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "left")], check=False)
    left = pid_in(tmp_path / "left")
    assert traces.sweep(machinery()[0].machine) == 0
    assert not gone(left, 0.2)
    os.kill(left, signal.SIGKILL)


def test_runs_of_the_living_are_not_swept(tmp_path: Path) -> None:
    """Another process's runs are its own."""
    host = subprocess.Popen([sys.executable, "-c", HOST.replace("MEMORY", "None"), str(tmp_path)])
    try:
        near, far = pid_in(tmp_path / "near"), pid_in(tmp_path / "far")
        assert run(["true"]).ok
        assert traces.sweep(machinery()[0].machine) == 0
        assert not gone(near, 0.2)
        assert not gone(far, 0.1)
    finally:
        host.send_signal(signal.SIGINT)
        host.wait(20)
    assert gone(near, 5)
    assert gone(far, 5)


def test_damaged_traces_harm_nobody() -> None:
    """Garbage, another boot, a half written slot: skipped and cleared away."""
    place = traces.folder()
    place.mkdir(parents=True)
    (place / "1-1").write_bytes(b"garbage" * 3000)
    other = b'{"owner":{"pid":999999,"start":1,"boot":"other"},"trace":{"run":"exec.x","marker":"exec:x",'
    (place / "2-2").write_bytes(other + b'"main":{"pid":1,"start":1,"boot":"other"}}}')
    assert traces.sweep(machinery()[0].machine) == 0
    assert list(place.iterdir()) == []


@pytest.mark.unprivileged("root may write everywhere")
def test_a_home_that_cannot_be_written_costs_the_sweep_only(home: Path) -> None:
    home.chmod(0o500)
    result = run(["echo", "works"])
    home.chmod(0o700)
    assert result.text == "works\n"
    assert "no trace of this run" in result.warnings[0]


def test_the_command_line_gets_who_hides_from_everything(tmp_path: Path) -> None:
    """`midwatch exec` ends on a timeout also who has no marker, no session of ours and no pipe: it fell to it."""
    hide = f"(env -i /usr/bin/setsid /bin/sh -c 'echo $$ > {tmp_path}/far; exec /bin/sleep 600' >/dev/null 2>&1 &)"
    words = [sys.executable, "-m", "midwatch", "exec", "--timeout", "2s", "--", "sh", "-c", f"{hide}; sleep 600"]
    assert subprocess.run(words, check=False, capture_output=True, timeout=30).returncode == 143
    assert gone(pid_in(tmp_path / "far"), 2)


def test_a_job_of_the_shell_that_became_us_is_not_the_commands(tmp_path: Path) -> None:
    """`sh -c 'JOB & exec midwatch exec ...'`: the job is our child from the first moment; it lives on."""
    script = f'sleep 600 >/dev/null 2>&1 & echo $! > {tmp_path}/job; exec "$@"'
    ours = [sys.executable, "-m", "midwatch", "exec", "--timeout", "0.3s", "--", "sleep", "60"]
    words = ["sh", "-c", script, "sh", *ours]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    job = pid_in(tmp_path / "job")
    try:
        assert "time limit" in done.stdout, done.stdout + done.stderr
        assert not gone(job, 0.5)
    finally:
        os.kill(job, signal.SIGKILL)


def test_a_program_that_used_the_command_line_is_itself_again() -> None:
    """Orphans below a process that called the command's function fall to it during the call only."""
    code = (
        "import ctypes, sys\nfrom midwatch.front.cli.main import main\n"
        "main(['exec', '--', 'true'])\nheld = ctypes.c_int(9)\n"
        "ctypes.CDLL(None).prctl(37, ctypes.byref(held), 0, 0, 0)\nsys.exit(held.value)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
