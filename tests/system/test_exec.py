"""`run --exec`: the program in our place, and every reason not to start it (SVC-1, SVC-3; scenarios 8, 9)."""

from __future__ import annotations

import json
import os
import pwd
import resource
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MIDWATCH = [sys.executable, "-m", "midwatch"]
TELL = (
    "import json, os, resource, signal\n"
    "u = os.umask(0)\n"
    "fds = [int(n) for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + n)]\n"
    "kids = open(f'/proc/self/task/{os.getpid()}/children').read().split()\n"
    "print(json.dumps({'pid': os.getpid(), 'ppid': os.getppid(), 'cwd': os.getcwd(), 'umask': u, 'fds': fds,\n"
    " 'kids': kids, 'env': dict(os.environ), 'nofile': resource.getrlimit(resource.RLIMIT_NOFILE),\n"
    " 'core': resource.getrlimit(resource.RLIMIT_CORE), 'nice': os.getpriority(0, 0), 'ids': os.getresuid(),\n"
    " 'ignored': int([l for l in open('/proc/self/status') if l.startswith('SigIgn')][0].split()[1], 16)}))\n"
)
# What CPython itself ignores from its start on: SIGPIPE (13) and SIGXFSZ (25).
PYTHONS_OWN = 1 << 12 | 1 << 24


def start(*arguments: str, env: dict[str, str] | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MIDWATCH, "run", "--exec", *arguments], text=True, capture_output=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}, **more,
    )  # fmt: skip


def tell(*arguments: str, **more: Any) -> dict[str, Any]:
    done = start(*arguments, "--", sys.executable, "-c", TELL, **more)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refused(*arguments: str, code: int = 78, **more: Any) -> str:
    """It ends with this code and one line, and nothing has run."""
    done = start(*arguments, **more)
    assert (done.returncode, done.stdout) == (code, ""), done
    [line] = done.stderr.splitlines()
    assert "nothing was started" in line
    return line


@pytest.mark.usefixtures("home")
class TestInOurPlace:
    def test_8_pid_and_parent_stay_and_all_is_as_asked(self, tmp_path: Path) -> None:
        """Scenario 8: the launcher's pid, no children, cwd, environment and limits as configured."""
        child = subprocess.Popen(
            [*MIDWATCH, "run", "--exec", "--cwd", str(tmp_path), "-e", "A=1", "--umask", "027", "--nice", "3",
             "--rlimit", "nofile=200", "--rlimit", "core=0", "--", sys.executable, "-c", TELL],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        out, err = child.communicate(timeout=60)
        assert (child.returncode, err) == (0, "")
        told = json.loads(out)
        assert (told["pid"], told["ppid"], told["kids"]) == (child.pid, os.getpid(), [])
        assert (told["cwd"], told["env"]["A"], told["umask"]) == (str(tmp_path), "1", 0o027)
        assert (told["nofile"], told["core"], told["nice"]) == ([200, 200], [0, 0], os.getpriority(0, 0) + 3)
        assert told["fds"] == [0, 1, 2]
        assert told["ignored"] & ~PYTHONS_OWN & ~_ignored() == 0  # but what was ignored here is, as after any exec

    def test_nothing_is_recorded_and_no_lock_is_taken(self, home: Path) -> None:
        """SVC-12: no descriptor of ours can reach it, because there is none."""
        assert tell()["fds"] == [0, 1, 2]
        assert list(home.iterdir()) == []

    def test_its_code_and_its_signals_are_its_own(self) -> None:
        """Exit 7 is 7; a pipe that nobody reads ends it as it would without us (Python ignores SIGPIPE)."""
        assert start("--", "sh", "-c", "exit 7").returncode == 7
        done = start("--", "sh", "-c", "trap - PIPE; kill -s PIPE $$; echo survived")
        assert (done.returncode, done.stdout) == (-13, "")

    def test_descriptors_of_the_caller_end_here(self, tmp_path: Path) -> None:
        """SVC-12: a lock that a shell holds on 9 does not live on in the server (0.1, "still wrong g")."""
        with (tmp_path / "lock").open("w") as lock:
            os.set_inheritable(lock.fileno(), True)
            assert tell(pass_fds=(lock.fileno(),))["fds"] == [0, 1, 2]

    def test_sockets_passed_to_this_very_process_go_on(self) -> None:
        """sd_listen_fds: LISTEN_PID is ours after the exec too; anybody else's are closed and not spoken of."""
        script = 'export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@" 3<&0'
        command = [*MIDWATCH, "run", "--exec", "--", sys.executable, "-c", TELL]
        with socket.create_server(("127.0.0.1", 0)) as server:
            done = subprocess.run(
                ["sh", "-c", script, "sh", *command], stdin=server.fileno(), capture_output=True, text=True, timeout=60,
                check=True,
            )  # fmt: skip
        told = json.loads(done.stdout)
        assert told["fds"] == [0, 1, 2, 3]
        assert told["env"]["LISTEN_PID"] == str(told["pid"])
        other = tell(env={"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_ADDR": "mine"})
        assert other["fds"] == [0, 1, 2]
        assert "LISTEN_FDS" not in other["env"]
        assert other["env"]["LISTEN_ADDR"] == "mine"

    def test_it_is_told_what_we_were_told(self) -> None:
        """SVC-10: with --exec it is the manager's service: nothing is scrubbed, an outer MIDWATCH_RUN neither."""
        given = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "5", "INVOCATION_ID": "ab", "MIDWATCH_RUN": "o/a.b.1"}
        env = tell(env=given)["env"]
        assert {name: env[name] for name in given} == given

    def test_bytes_of_the_environment_that_are_no_text_arrive(self) -> None:
        done = subprocess.run(
            [*MIDWATCH, "run", "--exec", "--", "env", "-0"], env={**os.environ, "ODD": "\udce9"}, capture_output=True,
            timeout=60, check=True,
        )  # fmt: skip
        assert b"ODD=\xe9" in done.stdout.split(b"\0")

    def test_12_the_soft_file_limit_is_raised_and_never_lowered(self) -> None:
        """SVC-12: to 4096 where the hard limit lets it; `--rlimit nofile` wins (above)."""
        def limited(soft: int, hard: int) -> list[int]:
            command = f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"'
            words = [*MIDWATCH, "run", "--exec", "--", sys.executable, "-c", TELL]
            done = subprocess.run(["sh", "-c", command, "sh", *words], capture_output=True, text=True, check=True,
                                  timeout=60)  # fmt: skip
            return list(json.loads(done.stdout)["nofile"])

        ceiling = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if ceiling != resource.RLIM_INFINITY and ceiling < 8000:
            pytest.skip(f"the hard limit is only {ceiling}")
        assert limited(256, 8000) == [4096, 8000]
        assert limited(256, 1000) == [1000, 1000]
        assert limited(8000, 8000) == [8000, 8000]

    @pytest.mark.root("changes the user")
    def test_another_user(self) -> None:
        done = start("--user", "nobody", "--cwd", "/", "--", "sh", "-c", "echo $(id -u) $(id -G) $USER $HOME")
        entry = pwd.getpwnam("nobody")
        groups = os.getgrouplist("nobody", entry.pw_gid)
        assert done.stdout.split() == [str(entry.pw_uid), *map(str, groups), "nobody", entry.pw_dir]

    def test_a_limit_that_is_not_permitted_is_a_warning(self, tmp_path: Path) -> None:
        """H15: it runs, and what is in effect is said."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard == resource.RLIM_INFINITY:
            pytest.skip("there is no limit to exceed")
        done = start("--rlimit", "nofile=unlimited", "--", "true")
        assert done.returncode == 0
        assert not done.stderr or "rlimit nofile: requested unlimited" in done.stderr


@pytest.mark.usefixtures("home")
class TestReasonsNotTo:
    def test_9_not_executable(self, tmp_path: Path) -> None:
        """Scenario 9: an interpreter or program without the x bit: one line and 78, no exec."""
        program = tmp_path / "server"
        program.write_text("#!/bin/sh\necho ran\n")
        assert "not executable" in refused("--", str(program))
        program.chmod(0o755)
        interpreter = tmp_path / "interpreter"
        interpreter.write_text("")
        program.write_text(f"#!{interpreter}\n")
        assert str(interpreter) in refused("--", str(program))

    def test_9_under_our_own_supervisor_it_is_held_after_one_start(self, tmp_path: Path) -> None:
        """Scenario 9: 78 says that a retry cannot help; one start, then 3."""
        command = [*MIDWATCH, "run", "--json", "--", *MIDWATCH, "run", "--exec", "--", str(tmp_path / "none")]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 3
        events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
        assert [e["event"] for e in events].count("run.spawned") == 1
        assert "service.held" in [e["event"] for e in events]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--", "no-such-command-anywhere"], "no-such-command-anywhere"),
            (["--cwd", "/no/such/folder", "--", "true"], "/no/such/folder"),
            (["--user", "no-such-user", "--", "true"], "no-such-user"),
            (["--", sys.executable, "/no/such/server.py"], "cannot read the script /no/such/server.py"),
            (["--", "sh", "missing.sh"], "cannot read the script"),
            (["--", "/"], "is a directory"),
        ],
    )
    def test_found_before(self, arguments: list[str], words: str) -> None:
        """SVC-3: each failure is one clear line and 78."""
        assert words in refused(*arguments)

    def test_a_taken_port_names_its_owner_who_lives_on(self, free_port: int) -> None:
        """Scenario 15 for --exec, ORP-2: whatever it would answer, it is taken."""
        with socket.create_server(("127.0.0.1", free_port)):
            line = refused("--port", str(free_port), "--", "true")
        assert f"port {free_port} is taken by pid {os.getpid()}" in line
        assert start("--port", str(free_port), "--", "true").returncode == 0

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--keep"], ["--name", "x"], ["--pty"], ["--json"], ["--permanent", "9"], ["--memory", "1G"],
            ["--contain", "cgroup"], ["--crash", "3"], ["--crash-hard", "3"], ["--grace", "3s"], ["--signal", "INT"],
            ["--ready-tcp", "127.0.0.1:1"], ["--health-every", "3s"], ["--stderr", "own"], ["--pass", "INVOCATION_ID"],
        ],
    )  # fmt: skip
    def test_options_that_mean_nothing_are_refused_by_name(self, arguments: list[str]) -> None:
        """design 6: no health, no budget, no READY; said instead of ignored."""
        assert f"{arguments[0]} cannot work with --exec: " in refused(*arguments, "--", "true", code=2)

    def test_a_wrong_value_is_what_it_always_is(self) -> None:
        done = start("--nice", "10abc", "--", "true")
        assert done.returncode == 78
        assert "--nice" in done.stderr

    def test_an_interpreter_with_options_or_a_package_is_left_alone(self, tmp_path: Path) -> None:
        """Only what is surely a script's path is looked for."""
        package = tmp_path / "app"
        package.mkdir()
        (package / "__main__.py").write_text("print('ran')")
        assert start("--", sys.executable, str(package)).stdout == "ran\n"
        assert start("--", "sh", "-c", "echo ran").stdout == "ran\n"

    def test_a_script_that_may_not_be_read(self, tmp_path: Path) -> None:
        if os.geteuid() == 0:
            pytest.skip("needs an unprivileged user: root may read everything")
        script = tmp_path / "x.sh"
        script.write_text("echo ran")
        script.chmod(stat.S_IWUSR)
        assert "cannot read the script" in refused("--", "sh", str(script))


def test_a_service_of_a_file(home: Path, tmp_path: Path) -> None:
    """`run --exec -f FILE NAME`: its table, its environment, what cannot be is said, no record."""
    (tmp_path / "midwatch.toml").write_text(
        f"[service.web]\ncommand = [{sys.executable!r}, '-c', '''{TELL}''']\nenv = {{ A = '1' }}\numask = '027'\n"
        "memory = { hard = '64M' }\n"
    )
    done = start("-f", str(tmp_path / "midwatch.toml"), "web", env={"INVOCATION_ID": "ab", "SECRET": "s"})
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["env"]["A"], told["env"]["INVOCATION_ID"], told["umask"]) == ("1", "ab", 0o027)
    assert "SECRET" not in told["env"]
    assert done.stderr == "midwatch run: with --exec these are left to the manager: memory.hard\n"
    assert list(home.iterdir()) == []


def _ignored() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("SigIgn")).split()[1], 16)
