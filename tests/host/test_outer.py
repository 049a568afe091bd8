"""What a manager hears from us: SVC-7, SVC-11. An inherited socket is somebody else's."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from midwatch.host.detect import Facts, Manager, detect
from midwatch.host.facts import collect, listening
from midwatch.host.outer import outer

STRONG, WEAK = Manager("systemd", "strong", ("s",)), Manager("systemd", "weak", ("INVOCATION_ID is set",))


@pytest.fixture
def bound(tmp_path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(tmp_path / "n"))
    return made


def test_an_address_counts_while_somebody_listens(tmp_path: Path, bound: socket.socket) -> None:
    """SVC-7: a path or "@name"; nothing is sent by looking."""
    path = str(tmp_path / "n")
    assert listening(path) == path
    bound.setblocking(False)
    with pytest.raises(BlockingIOError):
        bound.recv(1)
    bound.close()
    assert listening(path) == ""  # the file is still there
    os.unlink(path)
    assert listening(path) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="abstract addresses are Linux's")
def test_an_abstract_address(tmp_path: Path) -> None:
    """SVC-7, SVC-11: '@' stands for the zero byte."""
    name = f"@midwatch-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind("\0" + name[1:])
        assert listening(name) == name
    assert listening(name) == ""


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1", "/" + "x" * 200, "/dev/null", "/\0", "@", "\udce9"])
def test_what_is_no_address_is_nothing(address: str) -> None:
    assert listening(address) == ""


def test_only_the_managers_own_child_reports() -> None:
    """0.1 of the spec, "still wrong a": a shell below a unit must not say STOPPING=1 for it."""
    facts = Facts(pid=7, environ={"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"}, notify="/n")
    assert (outer(STRONG, facts).notify, outer(STRONG, facts).watchdog_usec) == ("/n", 500_000)
    for manager in (WEAK, Manager("none", "none")):
        assert (outer(manager, facts).notify, outer(manager, facts).watchdog_usec) == (None, None)
    assert outer(Manager("explicit", "strong"), facts).notify == "/n"


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("500000", "7", 500_000),
        ("500000", "", 500_000),
        ("500000", "8", None),
        ("", "7", None),
        ("0", "7", None),
        ("-5", "7", None),
        ("1e6", "7", None),
        ("99999999999999999999", "7", None),
        ("٣", "7", None),
    ],
)
def test_the_watchdog_asks_us_or_somebody_else(usec: str, pid: str, expected: int | None) -> None:
    """SVC-7, scenario 12: another WATCHDOG_PID means no ping."""
    facts = Facts(pid=7, environ={"WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}, notify="/n")
    assert outer(STRONG, facts).watchdog_usec == expected
    assert outer(STRONG, Facts(pid=7, environ=facts.environ)).watchdog_usec is None


def test_the_hint_is_for_those_who_may_be_in_doubt() -> None:
    """Scenario 3: one line, with the way out; none at a terminal, none when there is nothing to doubt."""
    hint = outer(WEAK, Facts(pid=7)).hint
    assert "INVOCATION_ID is set: not taken for a child of systemd" in hint
    assert "MIDWATCH_FOREGROUND=1" in hint
    assert "\n" not in hint
    assert "nothing is reported" in outer(WEAK, Facts(pid=7, notify="/n")).hint
    assert outer(WEAK, Facts(pid=7, tty=True)).hint == ""
    assert outer(STRONG, Facts(pid=7)).hint == ""
    assert outer(Manager("none", "none"), Facts(pid=7)).hint == ""


def test_launchd_tells_its_patience() -> None:
    facts = Facts(pid=7, launchd_timeout=25)
    assert outer(Manager("launchd", "strong"), facts).patience == 25
    assert outer(STRONG, facts).patience is None


def test_the_facts_of_this_process() -> None:
    """The collector on this machine: parent first, our own cgroup, and no manager in a clean environment."""
    facts = collect({})
    assert facts.pid == os.getpid()
    if facts.ancestors:  # none when the parent is outside of this pid namespace
        assert facts.ppid == os.getppid()
        assert facts.parent
    if facts.pid != 1:
        assert detect(facts).confidence == "none"


SPEAK = (
    "import os, sys; from midwatch.host.facts import collect; from midwatch.host.detect import detect; "
    "f = collect(os.environ); m = detect(f); print(m.name, m.confidence, f.parent, sep='|')"
)


def child(script: str, **options: object) -> str:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "SPEAK": SPEAK}
    done = subprocess.run(
        ["sh", "-c", script, "sh", sys.executable], env=env, text=True, capture_output=True, timeout=60, check=True,
        **options,  # type: ignore[call-overload]
    )  # fmt: skip
    return str(done.stdout).strip()


def test_4_real_processes() -> None:
    """Scenario 4: the exec'd process is the one that SYSTEMD_EXEC_PID names; its child is not."""
    assert child('export SYSTEMD_EXEC_PID=$$; exec "$1" -c "$SPEAK"').startswith("systemd|strong|")
    assert child('export SYSTEMD_EXEC_PID=$$; "$1" -c "$SPEAK"; true') == "systemd|weak|sh"


def test_7_a_real_journal_stream() -> None:
    """Scenario 7: a socket on fd 2 whose dev:inode is named; a file there does not count."""
    ours, theirs = socket.socketpair()
    with ours, theirs, open(os.devnull, "w") as file:
        facts = os.fstat(theirs.fileno())
        script = f'export JOURNAL_STREAM={facts.st_dev}:{facts.st_ino}; "$1" -c "$SPEAK"'
        for stream, expected in ((theirs, "systemd|weak|sh"), (file, "none|none|sh")):
            env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "SPEAK": SPEAK}
            done = subprocess.run(
                ["sh", "-c", script + "; true", "sh", sys.executable], env=env, text=True, check=True, timeout=60,
                stdout=subprocess.PIPE, stderr=stream.fileno(),
            )  # fmt: skip
            assert done.stdout.strip() == expected


def test_supervisord_above_a_shell(tmp_path: Path) -> None:
    """SVC-9 with real ancestors: two levels up is near enough, and without it the same variables are weak."""
    inner = 'export SUPERVISOR_ENABLED=1 SUPERVISOR_PROCESS_NAME=web; sh -c \'"$1" -c "$SPEAK"; true\' sh "$1"; true'
    assert child(inner).startswith("supervisord|weak|")
    program = tmp_path / "supervisord"
    program.write_text(f"#!/bin/sh\n{inner}\n")
    program.chmod(0o755)
    assert child(f'{program} "$1" "$1"; true').startswith("supervisord|strong|")
