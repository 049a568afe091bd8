"""The embedded supervisor with real processes: each ending of the host leaves nothing behind and frees the lock.

The host is a program of its own, `python -c`, below this test; what it supervises is found by the marker of its home.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.system.conftest import PATIENCE, alive, wait_for

import midwatch

# Ignores the polite signal and has a child in another session: what a careless end would leave.
STUBBORN = textwrap.dedent(
    """
    import os, signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if len(sys.argv) == 1:
        subprocess.Popen([sys.executable, __file__, "child"], start_new_session=True)
    print(os.getpid(), flush=True)
    time.sleep(300)
    """
)
HOST = textwrap.dedent(
    """
    import asyncio, os, signal, sys, threading, time
    import midwatch
    HOME, WORKER = sys.argv[1:3]
    SERVICES = {"w": {"command": [sys.executable, WORKER], "stop": {"grace": "500ms"}}}
    def make(**more):
        return midwatch.Supervisor(home=HOME, services=SERVICES, **more)
    def say(*words):
        print(*words, flush=True)
    """
)


class Program:
    """One host program and what it says."""

    def __init__(self, home: Path, body: str) -> None:
        self.home = home
        worker = home / "worker.py"
        worker.write_text(STUBBORN)
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOST + textwrap.dedent(body), str(home), str(worker)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def until(self, word: str) -> str:
        """Read on to the line that begins so."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return line
        raise AssertionError(f"it ended without saying {word}: {self.end()}")

    def end(self) -> tuple[int, str]:
        """Its exit code and stderr."""
        _, words = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, words


def ours(home: Path) -> list[int]:
    """Everything that bears a marker of this home's instance, and its keeper."""
    from midwatch.engine.layout import Layout

    marker = f"MIDWATCH_RUN={Layout.for_home(home).instance}:".encode()
    plan = str(home / "keeper.json").encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and alive(int(entry.name)):
            with contextlib.suppress(OSError):
                if marker in (entry / "environ").read_bytes() or plan in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def nothing_left(home: Path) -> None:
    """No process and no lock: the next one starts at once."""
    wait_for(lambda: not ours(home), "nothing of the tree is left")
    with supervisor(home) as again:
        assert again.wait("w", timeout=PATIENCE)
        assert len(again.status()) == 1
    assert not ours(home)


def supervisor(home: Path, **more: Any) -> midwatch.Supervisor:
    services = {"w": {"command": [sys.executable, str(home / "worker.py")], "stop": {"grace": "500ms"}}}
    (home / "worker.py").write_text(STUBBORN)
    return midwatch.Supervisor(home=home, **{"services": services, **more})


@pytest.fixture
def program(home: Path) -> Iterator[Callable[[str], Program]]:
    started: list[Program] = []

    def start(body: str) -> Program:
        started.append(Program(home, body))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()
    wait_for(lambda: not ours(home), "the keeper has ended what its host left")


def both_run(home: Path) -> list[int]:
    """The worker, its child and the keeper."""
    wait_for(lambda: len(ours(home)) >= 3, "worker, child and keeper run")
    return ours(home)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("with make() as sup:\n    sup.wait('w'); say('up', sys.stdin.readline())", 0),
        ("with make() as sup:\n    sup.wait('w'); say('up', sys.stdin.readline()); raise RuntimeError('mine')", 1),
        ("sup = make(); sup.start(); sup.wait(); say('up', sys.stdin.readline()); sup.stop(); sup.stop()", 0),
        ("with make() as sup:\n    sup.wait(); say('up', sys.stdin.readline()); sys.exit(7)", 7),
    ],
    ids=["normal", "exception", "start-stop", "sys.exit"],
)
def test_a_sync_host_that_leaves_takes_everything_along(
    home: Path, program: Callable[[str], Program], body: str, code: int
) -> None:
    """D4, D5: also a worker that ignores TERM and its child in another session; then the lock is free."""
    host = program(body.replace("say('up', sys.stdin.readline())", "say('up'); sys.stdin.readline()"))
    host.until("up")
    both_run(home)
    assert host.process.stdin is not None
    host.process.stdin.write("go\n")
    host.process.stdin.flush()
    got, words = host.end()
    assert got == code, words
    assert not ours(home)
    nothing_left(home)


ASYNC = """
async def main():
    async with make() as sup:
        await sup.wait()
        say("up")
        {body}
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("body", "signals", "code"),
    [
        ("await asyncio.sleep(0.2)", [], 0),
        ("await asyncio.sleep(0.2); raise RuntimeError('mine')", [], 1),
        ("await asyncio.sleep(300)", [signal.SIGINT], 130),
        ("await asyncio.sleep(300)", [signal.SIGINT, signal.SIGINT], 130),
        ("await asyncio.wait_for(asyncio.sleep(300), 0.2)", [], 1),
        ("asyncio.get_running_loop().call_later(0.2, asyncio.current_task().cancel); await asyncio.sleep(300)", [], 1),
    ],
    ids=["normal", "exception", "ctrl-c", "ctrl-c twice", "timeout", "cancelled"],
)
def test_an_async_host_that_leaves_takes_everything_along(
    home: Path, program: Callable[[str], Program], body: str, signals: list[int], code: int
) -> None:
    """D7: normal end, exception, KeyboardInterrupt once and twice, cancellation: nothing is left, the lock is free."""
    host = program(ASYNC.format(body=body))
    host.until("up")
    if signals:
        both_run(home)
    for signum in signals:
        host.process.send_signal(signum)
        time.sleep(0.1)  # the second one has to come while the first is dealt with
    got, words = host.end()
    assert got in (code, -signal.SIGINT if code == 130 else code), words
    assert not ours(home)
    nothing_left(home)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_sync_host_keeps_its_own_signal_handlers(
    home: Path, program: Callable[[str], Program], signum: signal.Signals
) -> None:
    """D8: one owner of a signal, the host: what its handler raises ends the context, and that ends the rest."""
    host = program(
        """
        class Mine(Exception): pass
        def handler(number, frame): raise Mine(f"got {number}")
        for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, handler)
        before = [signal.getsignal(n) for n in range(1, 32)]
        try:
            with make() as sup:
                sup.wait()
                assert [signal.getsignal(n) for n in range(1, 32)] == before
                say("up")
                time.sleep(300)
        except Mine as error:
            say("ended by", error)
        """
    )
    host.until("up")
    both_run(home)
    host.process.send_signal(signum)
    assert host.until("ended by") == f"ended by got {signum.value}\n"
    assert host.end()[0] == 0
    nothing_left(home)


@pytest.mark.parametrize("form", ["sync", "async"])
def test_a_host_killed_takes_everything_along_within_seconds(
    home: Path, program: Callable[[str], Program], form: str
) -> None:
    """D9: kill -9 of the host; the keeper ends worker and child (TERM, 5 s, KILL), and only then the lock is free."""
    sync = "with make() as sup:\n    sup.wait(); say('up'); time.sleep(300)"
    host = program(sync if form == "sync" else ASYNC.format(body="await asyncio.sleep(300)"))
    host.until("up")
    before = both_run(home)
    host.process.kill()
    host.process.wait()
    began = time.monotonic()
    (home / "worker.py").write_text("import time; time.sleep(300)")
    with midwatch.Supervisor(
        home=home, services={"w": {"command": [sys.executable, str(home / "worker.py")]}}
    ) as again:  # waits for the keeper of the dead one
        assert not [pid for pid in before if alive(pid)], "never two workers"
        assert again.wait("w", timeout=PATIENCE)
    assert time.monotonic() - began < PATIENCE
    assert not ours(home)


def test_host_and_keeper_killed_together_the_next_start_cleans_up(
    home: Path, program: Callable[[str], Program]
) -> None:
    """D9: nobody is left to end them, so the next start does, by identity, before it starts anything."""
    host = program("with make() as sup:\n    sup.wait(); say('up', sup.home); time.sleep(300)")
    host.until("up")
    before = both_run(home)
    keeper = next(pid for pid in before if b"keeper.json" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(host.process.pid, signal.SIGSTOP)  # so that neither sees the other one go
    os.kill(keeper, signal.SIGKILL)
    host.process.kill()
    host.process.wait()
    wait_for(lambda: not alive(keeper), "the keeper is gone")
    assert [pid for pid in before if alive(pid)], "the worker should live on: that is what this is about"
    told: list[dict[str, Any]] = []
    with supervisor(home, on_event=told.append) as again:
        assert not [pid for pid in before if alive(pid)], "never two workers"
        assert again.wait("w", timeout=PATIENCE)
    assert "run.orphaned" in {event["event"] for event in told}
    assert not ours(home)


def test_a_killed_keeper_ends_supervision_and_everything(home: Path) -> None:
    """The host lives on, is told, and can start anew at once."""
    told: list[str] = []
    sup = supervisor(home, on_event=lambda event: told.append(event["event"]))
    sup.start()
    assert sup.wait("w", timeout=PATIENCE)
    before = both_run(home)
    keeper = next(pid for pid in before if b"keeper.json" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(keeper, signal.SIGKILL)
    wait_for(lambda: not sup.running, "supervision has ended")
    with pytest.raises(midwatch.SupervisorError, match="killed the keeper"):
        sup.status()
    assert not [pid for pid in before if alive(pid)]
    sup.stop()
    assert told[-1] == "daemon.stopped"
    nothing_left(home)


def test_fifty_threads_one_wins(home: Path) -> None:
    """E5: starts at the same moment in one process; one supervises, the others are told who does."""
    (home / "worker.py").write_text("import time; time.sleep(300)")
    services = {"w": {"command": [sys.executable, str(home / "worker.py")]}}
    made = [midwatch.Supervisor(home=home, services=services, control=False) for _ in range(50)]
    lost: list[midwatch.AlreadyRunning] = []
    ready = threading.Barrier(len(made))

    def start(sup: midwatch.Supervisor) -> None:
        ready.wait()
        try:
            sup.start()
        except midwatch.AlreadyRunning as error:
            lost.append(error)

    threads = [threading.Thread(target=start, args=(sup,)) for sup in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert [sup.running for sup in made].count(True) == 1
        assert len(lost) == len(made) - 1
        assert {error.pid for error in lost} <= {os.getpid(), None}
    finally:
        for sup in made:
            sup.stop()
    assert not ours(home)


def test_it_can_be_used_from_any_thread_and_from_its_own_callbacks(home: Path) -> None:
    """Commands from several threads at once; `stop()` inside on_event ends it without a deadlock."""
    stopped = threading.Event()

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "run.exited" and event["code"] == 3:
            sup.stop()
            stopped.set()

    script = "import sys, os; print('up', flush=True); sys.stdin.read() or __import__('time').sleep(300)"
    sup = midwatch.Supervisor(
        home=home, services={n: {"command": [sys.executable, "-c", script]} for n in "abcd"}, on_event=on_event
    )
    sup.start()
    assert sup.wait(timeout=PATIENCE)
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda n=n: answers.append(sup.restart(n)[n].ok)) for n in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert answers == [True] * 4
    sup.stop("b")
    assert {row["name"]: row["state"] for row in sup.status()}["b"] == "stopped"
    # Ends with the code that the callback waits for.
    sup2 = midwatch.Supervisor(
        home=home / "second", services={"x": {"command": [sys.executable, "-c", "raise SystemExit(3)"]}},
        on_event=on_event,
    )  # fmt: skip
    sup2.start()
    assert stopped.wait(PATIENCE)
    sup2.stop()
    sup.stop()


def test_a_host_that_forgets_to_stop_still_leaves_nothing(home: Path, program: Callable[[str], Program]) -> None:
    """The program ends at once, as without us, and the keeper ends the services."""
    host = program("sup = make(); sup.start(); sup.wait(); say('up')")
    host.until("up")
    assert host.end() == (0, "")
    wait_for(lambda: not ours(home), "nothing of the tree is left")


def test_the_keeper_holds_nothing_of_the_host_open(home: Path, program: Callable[[str], Program]) -> None:
    """Descriptors that the host passes to its children on purpose do not reach the keeper or a service."""
    host = program(
        """
        out, into = os.pipe(); os.set_inheritable(into, True)
        sup = make(); sup.start(); sup.wait()
        os.close(into)
        say("up", os.read(out, 1) == b"")
        sup.stop()
        """
    )
    assert host.until("up") == "up True\n"
    assert host.end()[0] == 0


def test_a_host_with_another_kind_of_event_loop(home: Path, program: Callable[[str], Program]) -> None:
    """The engine does not run in the loop that the host's policy makes (uvloop and its like have their own clocks)."""
    host = program(
        """
        class Odd(asyncio.SelectorEventLoop):
            def time(self): return super().time() + 1e6
        class Policy(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self): return Odd()
        asyncio.set_event_loop_policy(Policy())
        async def main():
            async with make() as sup:
                say("up", await sup.wait(timeout=20), type(asyncio.get_running_loop()).__name__)
        asyncio.run(main())
        """
    )
    assert host.until("up") == "up True Odd\n"
    assert host.end()[0] == 0


def test_a_fork_of_the_host_does_not_keep_it_alive(home: Path, program: Callable[[str], Program]) -> None:
    """A child made by os.fork lets go of socket and lock: kill -9 of its parent still ends the services."""
    host = program(
        """
        sup = make(); sup.start(); sup.wait()
        pid = os.fork()
        if pid == 0:
            try: sup.status()
            except midwatch.SupervisorError as error: say("child", error)
            time.sleep(20); os._exit(0)
        say("up", pid)
        time.sleep(300)
        """
    )
    said = sorted([host.until(""), host.until("")])
    assert "of which this one is a fork" in said[0]
    child = int(said[1].split()[1])
    before = both_run(home)
    try:
        host.process.kill()
        host.process.wait()
        wait_for(lambda: not [pid for pid in before if alive(pid) and pid != child], "the services have ended")
        with supervisor(home) as again:
            assert again.wait("w", timeout=PATIENCE)
    finally:
        os.kill(child, signal.SIGKILL)


def test_the_command_line_sees_it(home: Path) -> None:
    """`ps`, `stop`, `logs` and `why` work on an embedded instance as on any: MIDWATCH_HOME names its home."""
    def cli(*arguments: str) -> str:
        return subprocess.run([sys.executable, "-m", "midwatch", *arguments], capture_output=True, text=True,
                              timeout=PATIENCE, check=False).stdout  # fmt: skip

    script = "print('hello', flush=True); __import__('time').sleep(300)"
    with midwatch.Supervisor(home=home, services={"w": {"command": [sys.executable, "-c", script]}}) as sup:
        assert sup.wait(timeout=PATIENCE)
        assert "up" in cli("ps", "-a")
        wait_for(lambda: "hello" in cli("logs", "embedded/w"), "its output is in the log")
        assert cli("stop", "embedded/w")
        assert sup.status()[0]["state"] == "stopped"
    assert "requested" in cli("why", "embedded/w")


def test_a_name_is_a_place_below_the_users_instance(home: Path) -> None:
    """`name=` needs no folder, and `midwatch ps` of the user's own instance lists it."""
    script = "__import__('time').sleep(300)"
    services = {"w": {"command": [sys.executable, "-c", script]}}
    with midwatch.Supervisor(name="crawler", services=services) as sup:
        assert sup.wait(timeout=PATIENCE)
        assert sup.home == home / "foreground" / "crawler"
        done = subprocess.run([sys.executable, "-m", "midwatch", "ps", "-a", "--json"], capture_output=True,
                              text=True, timeout=PATIENCE, check=False)  # fmt: skip
        assert [(row["project"], row["name"]) for row in json.loads(done.stdout)["services"]] == [("crawler", "w")]


def test_a_slow_callback_holds_nobody_up_and_what_it_misses_is_counted(home: Path) -> None:
    """The queue is bounded; supervision goes on while the callback sleeps, and the gap is told."""
    script = "raise SystemExit(0)"
    gate, told = threading.Event(), list[dict[str, Any]]()

    def on_event(event: dict[str, Any]) -> None:
        gate.wait(PATIENCE)
        told.append(event)

    from midwatch.policy import defaults

    services = {"w": {"command": [sys.executable, "-S", "-c", script], "restart": {"clean": "1000 in 10s"}}}
    before = defaults.EVENT_QUEUE
    defaults.EVENT_QUEUE = 20
    try:
        with midwatch.Supervisor(home=home, services=services, on_event=on_event) as sup:
            wait_for(lambda: sup.status()[0]["restarts"].get("clean", 0) >= 10, "it was restarted ten times")
            gate.set()
    finally:
        defaults.EVENT_QUEUE = before
    assert sum(event["count"] for event in told if event["event"] == "events.dropped") >= 10


def test_wrong_tables_are_refused_in_the_words_of_the_file(home: Path) -> None:
    """One vocabulary: the same message with the same hint, before anything is touched."""
    with pytest.raises(midwatch.ConfigError, match=r"service\.w\.restart\.crahs: unknown key \(did you mean"):
        midwatch.Supervisor(home=home, services={"w": {"command": ["true"], "restart": {"crahs": 5}}})
    with pytest.raises(midwatch.ConfigError, match="there is no service"):
        midwatch.Supervisor(home=home, services={})
    with pytest.raises(ValueError, match="is not a name"):
        midwatch.Supervisor(name="../x", services={"w": {"command": ["true"]}})
    with pytest.raises(TypeError, match="either name"):
        midwatch.Supervisor(services={"w": {"command": ["true"]}})
    assert not list(home.iterdir())
