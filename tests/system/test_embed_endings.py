"""Every ending of a host that embeds a Supervisor, with real processes: nothing is left, and the lock is free.

The host is a program of its own below this test (hosting.py); what it supervises is found by the marker of its home.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.system.conftest import PATIENCE, alive, wait_for
from tests.system.hosting import Program, both_run, nothing_left, ours, supervisor

import midwatch


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
def test_a_second_interrupt_skips_the_grace(home: Path, program: Callable[[str], Program], form: str) -> None:
    """D7: with a grace of ten minutes and a worker that ignores TERM the second Ctrl-C is what ends it."""
    patient = "SERVICES['w']['stop']['grace'] = '10m'\n"
    sync = "try:\n    with make() as sup:\n        sup.wait(); say('up'); time.sleep(300)\n"
    sync += "except KeyboardInterrupt: say('mine')"
    coroutine = ASYNC.format(body="await asyncio.sleep(300)").replace("asyncio.run(main())", (
        "try: asyncio.run(main())\nexcept KeyboardInterrupt: say('mine')"))  # fmt: skip
    host = program(patient + (sync if form == "sync" else coroutine))
    host.until("up")
    both_run(home)
    host.process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        host.process.wait(1)
    host.process.send_signal(signal.SIGINT)
    host.until("mine")
    assert host.end()[0] == 0
    assert not ours(home)


def test_a_start_that_is_given_up_leaves_nothing(home: Path, program: Callable[[str], Program]) -> None:
    """Cancelled while it begins: what had begun is ended before the cancellation goes on."""
    host = program(
        """
        async def main():
            sup = make()
            for patience in (0.0001, 0.01, 0.03, 0.06):
                try:
                    async with asyncio.timeout(patience):
                        async with sup: pass
                except TimeoutError: pass
                held = midwatch.Supervisor(home=HOME, services=SERVICES)
                held.start(); held.stop()
            say("done")
        asyncio.run(main())
        """
    )
    host.until("done")
    code, words = host.end()
    assert (code, words) == (0, "")
    assert not ours(home)


def test_a_lock_that_is_removed_ends_it(home: Path, program: Callable[[str], Program]) -> None:
    """E12: within some seconds everything is stopped; the host is told by an event, and by the end of its context."""
    host = program(
        """
        def on_event(event):
            if event["event"] == "daemon.stopped": say("lost", event["code"])
        try:
            with make(on_event=on_event) as sup:
                sup.wait(); say("up")
                while sup.running: time.sleep(0.05)
        except midwatch.SupervisorError as error: say("told", error)
        """
    )
    host.until("up")
    both_run(home)
    (home / "lock").unlink()
    assert host.until("lost") == "lost 75\n"
    assert "was removed or replaced; start it anew" in host.until("told")
    assert host.end()[0] == 0
    nothing_left(home)


def test_a_host_whose_loop_is_stuck_keeps_no_service_waiting(home: Path, program: Callable[[str], Program]) -> None:
    """Lesson 6: whoever can be starved cannot guard; the engine is not in the host's loop."""
    host = program(
        """
        SERVICES["w"]["command"] = [sys.executable, "-S", "-c", "pass"]
        async def main():
            async with make() as sup:
                time.sleep(2)
                say("restarts", (await sup.status())[0]["restarts"]["clean"])
        asyncio.run(main())
        """
    )
    assert int(host.until("restarts").split()[1]) >= 5
    assert host.end()[0] == 0


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


def test_kills_at_random_moments_never_give_two_workers(home: Path, program: Callable[[str], Program]) -> None:
    """D9: ten hosts in a row are killed -9 while they begin, run, restart or end; each worker finds itself alone."""
    worker = home / "alone.py"
    worker.write_text(
        "import fcntl, pathlib, sys, time\n"
        "lock = open(sys.argv[1] + '/alone', 'w')\n"
        "try: fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except OSError: pathlib.Path(sys.argv[1] + '/two').touch()\n"
        "time.sleep(300)\n"
    )
    services = {"w": {"command": [sys.executable, "-S", str(worker), str(home)]}}
    chance = random.Random(5)
    for _ in range(10):
        host = program(
            f"""
            say("begins")
            while True:
                with midwatch.Supervisor(home=HOME, services={services!r}) as sup:
                    sup.wait(); sup.restart("w"); time.sleep(0.05)
            """
        )
        host.until("begins")
        time.sleep(chance.uniform(0, 0.6))
        host.process.kill()
        host.process.wait()
    with midwatch.Supervisor(home=home, services=services) as sup:
        assert sup.wait("w", timeout=PATIENCE)
        assert not (home / "two").exists()
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
