"""systemd units: both shapes, what must and must not be in them, and systemd's own opinion."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.host.units.conftest import daemon, web

from midwatch.host.units import systemd, systemd_check
from midwatch.host.units.common import Facts, UnitError
from midwatch.host.units.unitfile import last, parse, words

SHAPES = {
    "run": web(),
    "run with all": web(
        memory_hard=1 << 30, needs=("db",), home="/srv/my home", account="ann", uid=1000, project="p%n",
        folder="/srv/a b%c", file="/srv/a b%c/midwatch.toml", files=(20000, 600000),
    ),
    "oneshot": web(oneshot=True),
    "exec": web(shape="exec", skipped=("health",)),
    "direct": web(
        shape="direct", argv=("/usr/bin/python3", "-c", 'print("$HOME 100%")\nx=1'), env={"A": 'b "c" $d %n\n'},
        umask=0o27, nice=5, skipped=("the ready probe that web has",),
    ),
    "user": web(user_manager=True),
    "daemon": daemon(),
    "daemon of an account": daemon(account="ann", uid=1000),
    "daemon of a session": daemon(user_manager=True),
}  # fmt: skip
shapes = pytest.mark.parametrize("facts", SHAPES.values(), ids=SHAPES)


def get(facts: Facts, key: str, section: str = "Service") -> str | None:
    return last(parse(systemd.make(facts)), section, key)


@shapes
def test_two_generations_are_the_same_bytes(facts: Facts) -> None:
    """UNI-7, scenario 45."""
    assert systemd.make(facts) == systemd.make(facts)


@shapes
def test_our_own_check_finds_nothing(facts: Facts) -> None:
    """Scenario 45: the audit is clean, with D11's patience too."""
    assert systemd_check.findings(systemd.make(facts), facts.stop) == []


@shapes
def test_systemd_finds_nothing(facts: Facts, tmp_path: Path) -> None:
    """UNI-7: `systemd-analyze verify` ends with 0 and says nothing on stderr, where its warnings go."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    text = systemd.make(facts).replace("/usr/local/bin/midwatch", sys.executable)
    unit = tmp_path / "x-midwatch-test.service"
    unit.write_text(text)
    done = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    own = [line for line in done.stderr.splitlines() if "x-midwatch-test" in line or str(tmp_path) in line]
    assert (done.returncode, own) == (0, [])


@shapes
def test_the_command_reads_back(facts: Facts) -> None:
    """UNI-7: the words of ExecStart are the words of the command, absolute and without a shell."""
    value = get(facts, "ExecStart")
    assert value is not None
    assert words(value, command=True) == list(facts.command)
    assert value.startswith("/")


def test_one_service() -> None:
    """UNI-3, scenario 45: limits that bite, 78 and 3 prevented, 75 forced, a watchdog with notify only."""
    expected = {
        "Type": "notify", "NotifyAccess": "main", "Restart": "on-failure", "RestartSec": "5",
        "RestartPreventExitStatus": "2 3 78", "RestartForceExitStatus": "75", "KillMode": "mixed",
        "TimeoutStopSec": "23", "TasksMax": "4096", "LimitNOFILE": "10240:524288", "OOMPolicy": "stop",
        "WatchdogSec": "60", "MemoryMax": None, "MemoryHigh": None, "Delegate": None,
    }  # fmt: skip
    assert {key: get(web(), key) for key in expected} == expected
    assert get(web(), "StartLimitBurst", "Unit") == "5"
    assert get(web(), "StartLimitIntervalSec", "Unit") == "360"  # the longest failed life: a hang of 60 s and its end
    assert get(web(), "WantedBy", "Install") == "multi-user.target"


def test_run_exec_is_the_service_itself() -> None:
    """SVC-1, UNI-3: Type=exec, no watchdog, the service's own 3 is no word of ours, 120 s."""
    facts = web(shape="exec")
    assert get(facts, "Type") == "exec"
    assert get(facts, "WatchdogSec") is None
    assert get(facts, "RestartPreventExitStatus") == "78"
    assert get(facts, "StartLimitIntervalSec", "Unit") == "120"
    assert get(facts, "KillSignal") is None
    assert get(web(shape="exec", signal="SIGINT"), "KillSignal") == "SIGINT"
    assert get(web(signal="SIGINT"), "KillSignal") is None  # for Midwatch TERM is enough; it knows the signal
    assert " run --exec -f " in (get(facts, "ExecStart") or "")


def test_a_memory_line_only_if_the_service_has_one() -> None:
    """UNI-3: beside `run`, keeper and engine need room, so that our own limit is the one that acts."""
    assert get(web(memory_hard=1 << 30), "MemoryMax") == str((1 << 30) + (64 << 20))
    assert get(web(memory_hard=1 << 30, shape="exec"), "MemoryMax") == str(1 << 30)
    assert get(web(memory_hard=1 << 30), "MemoryHigh") is None


def test_a_oneshot_is_done_when_it_has_ended() -> None:
    """It never says READY and needs no watchdog; the unit stays active for what is ordered after it."""
    facts = web(oneshot=True)
    assert (get(facts, "Type"), get(facts, "RemainAfterExit")) == ("oneshot", "yes")
    assert (get(facts, "WatchdogSec"), get(facts, "TimeoutStartSec")) == (None, "infinity")


def test_the_daemon() -> None:
    """ORP-9: its services outlive it: no signal, no memory line and no OOM policy of the unit reaches them."""
    expected = {
        "Type": "notify", "NotifyAccess": "all", "KillMode": "process", "Delegate": "yes",
        "FileDescriptorStoreMax": "64", "OOMPolicy": "continue",
        "MemoryMax": None, "MemoryHigh": None, "WatchdogSec": "60", "TimeoutStopSec": "70",
        "ExecStart": "/usr/local/bin/midwatch up -f /srv/shop/midwatch.toml",
        "ExecStop": "/usr/local/bin/midwatch down --all",
        "ExecReload": "/usr/local/bin/midwatch reload -f /srv/shop/midwatch.toml",
        "Restart": "on-failure", "RestartPreventExitStatus": "2 78", "RestartForceExitStatus": "75",
        "TasksMax": "7168",
    }  # fmt: skip
    assert {key: get(daemon(), key) for key in expected} == expected


def test_room_is_made_below_our_own_unit_only() -> None:
    """The words after an end touch nothing unless systemd runs them in the unit's own .control group."""
    done = subprocess.run(["sh", "-x", "-c", systemd.MAKE_ROOM], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "cd " not in done.stderr
    assert "for " not in done.stderr
    post = get(daemon(), "ExecStopPost") or ""
    assert words(post.removeprefix("-"), command=True) == ["/bin/sh", "-c", systemd.MAKE_ROOM]
    assert get(web(), "ExecStopPost") is None


def test_an_account_of_a_system_unit_has_its_runtime_folder() -> None:
    """Our sockets lie below /run/user/UID where it exists: it has to exist before the first login too."""
    facts = daemon(account="ann", uid=1000)
    assert get(facts, "User") == "ann"
    assert get(facts, "Wants", "Unit") == "user-runtime-dir@1000.service"
    assert "user-runtime-dir@1000.service" in (get(facts, "After", "Unit") or "")
    assert get(daemon(), "Wants", "Unit") is None


def test_a_user_unit_says_that_it_ends_with_the_session() -> None:
    """UNI-3: the hint to linger; default.target; no User=."""
    text = systemd.make(daemon(user_manager=True, account="ann"))
    assert "loginctl enable-linger" in text
    assert "WantedBy=default.target" in text
    assert "User=" not in text
    assert "network.target" not in text
    assert any("enable-linger" in line for line in systemd.install_commands(daemon(user_manager=True)))


def test_what_is_skipped_is_listed() -> None:
    """UNI-6: the direct shape names what it leaves out."""
    text = systemd.make(web(shape="direct", argv=("/bin/true",), skipped=("the checks", "the health probe")))
    assert "# Not done here: the checks\n# Not done here: the health probe\n" in text
    assert "midwatch run" not in text


def test_a_path_with_a_line_end_is_refused() -> None:
    with pytest.raises(UnitError, match="control character"):
        systemd.make(web(folder="/srv/a\nUser=root"))
    with pytest.raises(UnitError, match="control character"):
        systemd.make(web(again="x\n[Service]"))
