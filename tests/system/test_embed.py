"""The embedded supervisor in this very process: threads, callbacks, the command line beside it, refusals.

What happens when a host ends is in test_embed_endings.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.system.conftest import PATIENCE, alive, wait_for
from tests.system.hosting import both_run, nothing_left, ours, supervisor

import midwatch


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


def test_calls_that_race_with_the_end_always_return(home: Path) -> None:
    """Twenty rounds: status from four threads while it stops; each call answers or says that supervision has ended."""
    services = {"w": {"command": [sys.executable, "-S", "-c", "__import__('time').sleep(300)"]}}
    for _ in range(20):
        sup = midwatch.Supervisor(home=home, services=services, control=False)
        sup.start()

        def ask(sup: midwatch.Supervisor = sup) -> None:
            try:
                while True:
                    assert len(sup.status()) == 1
            except midwatch.SupervisorError:
                pass

        threads = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        sup.stop(now=True)
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_the_command_line_sees_it(home: Path) -> None:
    """`ps`, `stop`, `logs` and `why` work on an embedded instance as on any: MIDWATCH_HOME names its home."""
    def cli(*arguments: str, error: bool = False) -> str:
        done = subprocess.run([sys.executable, "-m", "midwatch", *arguments], capture_output=True, text=True,
                              timeout=PATIENCE, check=False)  # fmt: skip
        return done.stderr if error else done.stdout

    script = "print('hello', flush=True); __import__('time').sleep(300)"
    with midwatch.Supervisor(home=home, services={"w": {"command": [sys.executable, "-c", script]}}) as sup:
        assert sup.wait(timeout=PATIENCE)
        assert "up" in cli("ps", "-a")
        wait_for(lambda: "hello" in cli("logs", "embedded/w"), "its output is in the log")
        assert cli("stop", "embedded/w")
        assert sup.status()[0]["state"] == "stopped"
        (home / "midwatch.toml").write_text('[service.other]\ncommand = ["true"]\n')
        refused = cli("up", "-f", str(home / "midwatch.toml"), error=True)
        assert f"lives inside {Path(sys.argv[0]).name} (pid {os.getpid()})" in refused
        assert cli("down", "--all")
        wait_for(lambda: not sup.running, "it is down")
        with pytest.raises(midwatch.SupervisorError, match=r"somebody asked for it \(midwatch down --all\)"):
            sup.status()
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


def test_the_example_runs() -> None:
    """examples/embedding.py as docs/embedding.md names it: ends by itself, and says what happened."""
    example = Path(__file__).parents[2] / "examples" / "embedding.py"
    done = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert "parser needs a person, crash 3, the budget of 3 is spent" in done.stdout
    assert done.stdout.endswith(("verified by cgroup\n", "verified by tree\n")), done.stdout


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
