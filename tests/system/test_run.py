"""`midwatch run`: one command in the foreground, its output, its codes, its signals."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.system.conftest import alive, wait_for


def run(*arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
    """`midwatch run ARGUMENTS`."""
    return subprocess.run(
        [sys.executable, "-m", "midwatch", "run", *arguments], text=True, capture_output=True, timeout=60,
        check=False, stdin=stdin,
    )  # fmt: skip


def start(*arguments: str) -> subprocess.Popen[str]:
    """The same, still running."""
    return subprocess.Popen(
        [sys.executable, "-m", "midwatch", "run", *arguments], text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.usefixtures("home")
class TestRun:
    def test_exit_0_ends_it_with_0_and_the_output_is_shown_whole(self) -> None:
        """H17: what the command printed is there, byte by byte, before we leave."""
        done = run("--", "sh", "-c", "seq 1 20000")
        assert done.returncode == 0
        assert done.stdout == "".join(f"{n}\n" for n in range(1, 20001))

    def test_own_stderr_stays_apart(self) -> None:
        """Streams of their own when asked for."""
        done = run("--stderr", "own", "--", "sh", "-c", "echo out; echo err >&2")
        assert (done.returncode, done.stdout) == (0, "out\n")
        assert "err\n" in done.stderr

    def test_crashes_are_retried_and_giving_up_is_3(self) -> None:
        """A2 A13 H17: crash_hard, and each decision with its arithmetic."""
        done = run("--crash-hard", "2", "--", "sh", "-c", "echo try; exit 7")
        assert done.returncode == 3
        assert done.stdout == "try\ntry\n"
        assert "1 of 10" in done.stderr

    def test_a_missing_command_is_one_clear_line(self) -> None:
        """A11: found before anything is spawned."""
        done = run("--", "no-such-command-anywhere")
        assert done.returncode == 3
        [line] = done.stderr.strip().splitlines()
        assert "no-such-command-anywhere" in line
        assert "Traceback" not in done.stderr

    def test_term_stops_the_command_and_is_success(self) -> None:
        """D8 H17: the console script's keeper owns the signal; an operator's stop is 0."""
        child = start("--", "sh", "-c", "echo $$; exec sleep 1000")
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait(30) == 0
        assert not alive(pid)
        child.communicate()

    def test_the_same_name_twice_is_refused_with_4(self, home: Path) -> None:
        """E1: the second one starts nothing and touches nothing."""
        first = start("--name", "only", "--", "sleep", "1000")
        lock = home / "foreground" / "only" / "lock"
        wait_for(lambda: lock.exists() and lock.stat().st_size and list(home.glob("foreground/only/runs/*")), "it runs")
        before = lock.read_bytes()
        second = run("--name", "only", "--", "touch", str(home / "touched"))
        assert second.returncode == 4
        assert str(first.pid) in second.stderr
        assert not (home / "touched").exists()
        assert lock.read_bytes() == before
        first.terminate()
        assert first.wait(30) == 0
        first.communicate()

    def test_stdin_is_the_command_s(self) -> None:
        """`echo x | midwatch run -- cat` works."""
        read, write = os.pipe()
        os.write(write, b"from stdin\n")
        os.close(write)
        done = run("--", "cat", stdin=read)
        os.close(read)
        assert (done.returncode, done.stdout) == (0, "from stdin\n")

    def test_keep_restarts_a_clean_exit(self) -> None:
        """C1: exit 0 is restarted at once with --keep, inside its budget."""
        child = start("--keep", "--", "sh", "-c", "echo again; sleep 0.05")
        assert child.stdout is not None
        assert [child.stdout.readline() for _ in range(3)] == ["again\n"] * 3
        child.terminate()
        assert child.wait(30) == 0
        child.communicate()

    def test_usr1_reaches_the_command(self) -> None:
        """tini's convention: what is not ours is forwarded."""
        child = start("--", "sh", "-c", 'trap "echo got; exit 0" USR1; echo ready; while :; do sleep 0.05; done')
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGUSR1)
        assert child.wait(30) == 0
        assert child.stdout.read() == "got\n"
        child.communicate()

    def test_the_command_may_open_as_many_files_as_a_server_wants(self) -> None:
        """SVC-12: the soft limit is raised to 4096 where the hard one lets it; what is asked for wins."""
        def limit(*arguments: str) -> str:
            command = [sys.executable, "-m", "midwatch", "run", *arguments, "--", "sh", "-c", "ulimit -n"]
            done = subprocess.run(
                ["sh", "-c", 'ulimit -Sn 300 && exec "$@"', "sh", *command], text=True, capture_output=True, timeout=60,
                check=True, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            return done.stdout.strip()

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        assert limit() == str(4096 if hard == resource.RLIM_INFINITY else min(hard, 4096))
        assert limit("--rlimit", "nofile=100") == "100"

    def test_pid_1_reaps_and_forwards(self, home: Path) -> None:
        """tini: as PID 1 of a namespace it reaps what is not its own and leaves with the command's end."""
        if subprocess.run(["unshare", "--pid", "--fork", "true"], check=False, capture_output=True).returncode:
            pytest.skip("needs the right to make a pid namespace")
        orphans = 'for i in 1 2 3 4 5; do sh -c "sleep 0.1 & exit 0"; done; sleep 0.6; '
        count = "ps -o stat= --ppid 1 | grep -c Z; exit 0"
        namespace = ["unshare", "--pid", "--fork", "--mount-proc"]
        done = subprocess.run(
            [*namespace, sys.executable, "-m", "midwatch", "run", "--", "sh", "-c", orphans + count],
            text=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == "0"

    def test_a_slow_reader_does_not_stall_the_command(self, home: Path) -> None:
        """8: the command's 2 MB are on disk while nobody has read a byte of our stdout."""
        child = start("--name", "slow", "--", "sh", "-c", f"seq 1 300000; touch {home}/finished; sleep 1000")
        wait_for((home / "finished").exists, "the command could write everything")
        child.terminate()
        time.sleep(0.2)
        assert child.stdout is not None
        assert child.stdout.read().endswith("300000\n")
        assert child.wait(30) == 0
        child.communicate()

    def test_a_run_that_is_over_leaves_no_environment_and_no_open_folder(self, home: Path) -> None:
        """Privacy: the caller's whole environment is passed on, but not kept; every folder of ours is 0700."""
        variables = {**os.environ, "SECRET_OF_MINE": "leak-me-not"}
        done = subprocess.run(
            [sys.executable, "-m", "midwatch", "run", "--name", "s", "--", "true"], env=variables, timeout=60,
            check=False, stdin=subprocess.DEVNULL, capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0
        kept = [path for path in home.rglob("*") if path.is_file() and b"leak-me-not" in path.read_bytes()]
        assert kept == []
        assert [path for path in home.rglob("*") if path.is_dir() and path.stat().st_mode & 0o077] == []

    def test_a_new_run_of_an_old_name_starts_counting_anew(self) -> None:
        """A2: crashes of an earlier `run` are not held against this one."""
        assert run("--name", "c", "--crash-hard", "2", "--", "false").returncode == 3
        done = run("--name", "c", "--crash-hard", "2", "--", "sh", "-c", "echo try; exit 1")
        assert done.stdout == "try\ntry\n"
