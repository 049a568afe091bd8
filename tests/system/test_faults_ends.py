"""How runs end for real: the OOM killer, signals from outside, faults of their own (A5 A6 A10)."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest
from tests.system.conftest import Instance, wait_for

SLEEP = '[service.{name}]\ncommand = ["sleep", "1000"]\n'


EAT = "x = []\nwhile True: x.append(b'x' * (1 << 20))"


def first_exit(instance: Instance) -> dict[str, Any]:
    [line, *_] = wait_for(lambda: instance.journal("run.exited"), "it has exited")
    return dict(line)


@pytest.mark.parametrize("wrapped", [False, True], ids=["direct", "sh-c"])
@pytest.mark.root("to limit a memory cgroup")
def test_an_oom_kill_is_told_apart_and_spends_the_memory_budget(instance: Instance, wrapped: bool) -> None:
    """A5: evidence by the run's own cgroup; also code 137 of a shell whose child was killed. No crash is counted."""
    (instance.folder / "eat.py").write_text(EAT)
    direct = f'["{sys.executable}", "-S", "eat.py"]'
    command = f'["sh", "-c", "{sys.executable} -S eat.py; exit $?"]' if wrapped else direct
    instance.up(f'[service.a]\ncommand = {command}\nmemory = {{ hard = "48M" }}\n', "--no-wait")
    if instance.daemon()["rungs"].get("memory limit") != "yes":
        pytest.skip(f"needs a memory cgroup: {instance.daemon()['rungs'].get('memory limit')}")
    end = first_exit(instance)
    assert end["cause"] == "oom", end
    assert (end["code"], end["signal"]) == ((137, None) if wrapped else (None, "SIGKILL"))
    assert end["crash_count"] == 0
    assert any("memory group counted" in words for words in end["because"])
    assert instance.ps()["a"]["restarts"].get("oom")
    assert wait_for(lambda: instance.journal("backoff"), "the delay is told")[0]["reason"] == "memory"


ENDS = [
    ("kill -KILL $$", "killed", None, "SIGKILL", None, 0),
    ("kill -TERM $$", "killed", None, "SIGTERM", None, 0),
    ("ulimit -c 0; kill -SEGV $$", "segfault", None, "SIGSEGV", None, 1),
    ("ulimit -c 0; kill -ABRT $$", "abort", None, "SIGABRT", None, 1),
    ("exit 137", "crash", 137, None, 9, 1),
    ("exit 143", "crash", 143, None, 15, 1),
    ("exit 1", "crash", 1, None, None, 1),
]


def test_every_end_has_its_true_cause(instance: Instance) -> None:
    """A5 A6 A10: a signal from outside is `killed` and no crash; 128+N as a code is a crash that reports a signal;
    segfault and abort are crashes with a name of their own."""
    instance.up(
        "".join(
            f"[service.e{n}]\ncommand = [\"sh\", \"-c\", '{end[0]}']\nbackoff = {{ first = \"30s\" }}\n"
            'restart = { killed = "1 in 10m" }\n'
            for n, end in enumerate(ENDS)
        ),
        "--no-wait",
    )
    wait_for(lambda: len({line["service"] for line in instance.journal("run.exited")}) == len(ENDS), "all have ended")
    seen: dict[str, dict[str, Any]] = {}
    for line in instance.journal("run.exited"):
        seen.setdefault(line["service"], line)
    for n, (script, cause, code, name, reported, count) in enumerate(ENDS):
        end = seen[f"p/e{n}"]
        found = (end["cause"], end["code"], end["signal"], end.get("reported_signal"), end["crash_count"])
        assert found == (cause, code, name, reported, count), script


def test_a_kill_from_outside_stays_killed_also_with_a_memory_line(instance: Instance) -> None:
    """A5: no OOM evidence, no OOM: the sender is not known and that is what it says."""
    instance.up(SLEEP.format(name="a") + 'memory = { hard = "64M" }\n')
    os.kill(instance.ps()["a"]["pid"], signal.SIGKILL)
    end = first_exit(instance)
    assert (end["cause"], end["crash_count"]) == ("killed", 0)
    assert any("who sent it is not known" in words for words in end["against"])
