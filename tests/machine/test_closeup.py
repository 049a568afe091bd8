"""The close look before a restart (HLT-7): what a hang looks like from outside, bounded in time and size."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from midwatch.machine.linux import closeup, who
from midwatch.machine.linux.closeup import CloseUp

VERSION = (6, 18)


def server(code: str) -> subprocess.Popen[str]:
    code = "import sys,os,socket,threading,time\n" + code
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={"SECRET_TOKEN": "geheim-geheim"},
    )  # fmt: skip


def over(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=30)


def look(*pids: int, seconds: float = 10.0) -> dict[str, Any]:
    answer = CloseUp(list(pids), VERSION, seconds).take()
    json.dumps(answer)
    return answer


def test_a_wedged_server_shows_what_it_waits_for() -> None:
    """HLT-6, HLT-7: blocked in a system call on a descriptor, with a connection that nobody accepted."""
    process = server(
        "s=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(5); c=socket.create_connection(s.getsockname())\n"
        "c.send(b'x'*77); print(s.getsockname()[1], flush=True); os.read(0, 1)"
    )
    try:
        assert process.stdout
        port = process.stdout.readline().strip()
        facts: dict[str, Any] = {}
        for _ in range(50):  # it has said its port, and is on its way into the read
            (facts,) = look(process.pid)["processes"]
            if facts.get("syscall") in ("read", "0", "63"):
                break
        assert (facts["pid"], facts["ppid"]) == (process.pid, os.getpid())
        assert facts["state"] == "S"
        assert facts["syscall"] in ("read", "0", "63")
        assert facts.get("syscall_fd", 0) == 0
        assert facts["fds"]["kinds"]["tcp listen"] == 1
        listening = [sock for sock in facts["sockets"] if sock["kind"] == "tcp listen"]
        assert listening == [{"fd": 3, "kind": "tcp listen", "local": f"127.0.0.1:{port}", "receive": 1, "send": 0}]
        assert facts["held_bytes"] > 0
        assert "geheim" not in json.dumps(facts)
    finally:
        over(process)


def test_the_thread_that_spins_comes_first() -> None:
    """The top thread by what it used just now, with its state; the share of a processor is told."""
    process = server(
        "def spin():\n print(threading.get_native_id(), flush=True)\n while True: pass\n"
        "threads = [threading.Thread(target=time.sleep, args=(100,), daemon=True) for _ in range(20)]\n"
        "[t.start() for t in threads]; threading.Thread(target=spin, daemon=True).start(); sys.stdin.read()"
    )
    try:
        assert process.stdout
        spinner = int(process.stdout.readline())
        facts: dict[str, Any] = {}
        for _ in range(20):  # on a busy machine it may not get a turn between the two looks
            (facts,) = look(process.pid)["processes"]
            if facts["threads"]["top"][0]["tid"] == spinner and facts["cpu_share_now"] > 0:
                break
        assert facts["threads"]["count"] == 22
        assert len(facts["threads"]["top"]) == 8
        assert facts["threads"]["top"][0]["tid"] == spinner
        assert facts["cpu_share_now"] > 0
    finally:
        over(process)


def test_a_stopped_process_and_its_family() -> None:
    """State T; several processes in the order asked for; one that is gone is said to be."""
    process = server("print('.', flush=True); sys.stdin.read()")
    try:
        assert process.stdout
        process.stdout.readline()
        os.kill(process.pid, signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        answer = look(process.pid, os.getpid(), 2**22 + 5)
        assert [facts["pid"] for facts in answer["processes"]] == [process.pid, os.getpid()]
        assert answer["processes"][0]["state"] == "T"
        assert any(str(2**22 + 5) in words for words in answer["missing"])
    finally:
        over(process)


def test_it_never_reads_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Privacy: no file named environ is opened."""
    opened: list[str] = []
    real = os.open

    def noted(path: Any, *more: Any) -> int:
        opened.append(str(path))
        return real(path, *more)

    monkeypatch.setattr(os, "open", noted)
    look(os.getpid())
    assert opened
    assert not [path for path in opened if "environ" in path]


def test_a_file_that_never_answers_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked address space blocks the reader of its command line: the rest is told, and in time."""
    import threading

    never = threading.Event()
    monkeypatch.setattr(who, "command", lambda pid: never.wait(60))
    began = time.monotonic()
    answer = look(os.getpid(), seconds=1.0)
    assert time.monotonic() - began < 30
    assert answer["processes"][0]["threads"]["count"] >= 1
    assert answer["missing"] == [f"everything after its command line of {os.getpid()}, which did not answer"]
    never.set()


def test_out_of_time_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time at all: nothing is begun, everything is named as missing, nothing raises."""
    look_at = CloseUp([os.getpid()], VERSION, 1.0)
    look_at._until = time.monotonic() - 1
    answer = look_at.take()
    assert answer["processes"] == []
    assert any("out of time" in words for words in answer["missing"])


def test_the_answer_stays_small() -> None:
    """At most 32 processes and 256 KiB, whatever they hold; what was cut is said."""
    facts = [
        {
            "pid": pid, "command": "x" * 200, "sockets": [{"local": "l" * 190}] * 64,
            "fds": {"top": [{"target": "t" * 190, "kind": "regular", "count": 1}] * 64},
        }
        for pid in range(32)
    ]  # fmt: skip
    answer = closeup._fit({"processes": facts, "missing": []})
    assert len(json.dumps(answer)) <= closeup.MOST_BYTES * 1.1
    assert any(words.endswith("no room") for words in answer["missing"])
    many = look(*[os.getpid()] * 40)
    assert "8 more processes" in many["missing"]


def test_many_descriptors_are_summed_up(tmp_path: Any) -> None:
    """Kinds with counts, and not more than 64 targets."""
    opened = [os.open(tmp_path / str(number), os.O_CREAT | os.O_RDWR) for number in range(200)]
    (facts,) = look(os.getpid())["processes"]
    for fd in opened:
        os.close(fd)
    assert facts["fds"]["kinds"]["regular"] >= 200
    assert len(facts["fds"]["top"]) == 64
    assert facts["fds"]["targets"] > 64


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's process")
def test_an_unprivileged_user_gets_what_may_be_seen() -> None:
    """Another user's process: state and memory, no descriptors, and that is said."""
    code = (
        "import os,sys,json; from midwatch.machine.linux.closeup import CloseUp; os.setgroups([]); os.setgid(65534);"
        "os.setuid(65534); print(json.dumps(CloseUp([int(sys.argv[1])], (6,18), 10).take()))"
    )
    env = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    out = subprocess.run(
        [sys.executable, "-c", code, str(os.getpid())], capture_output=True, text=True, env=env, timeout=60, check=False
    )
    answer = json.loads(out.stdout or "{}")
    assert answer["processes"][0]["state"] in "RSD", out.stderr
    assert f"the descriptors of {os.getpid()}: not readable" in answer["missing"]
