"""Scenes of programs that misbehave: a hang, a crash loop, a fork bomb. Tests: tests/system/test_drill.py."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

from midwatch.front.cli.render import duration
from midwatch.front.drill.scene import Scene
from midwatch.front.drill.stage import TOYS, Lost, Stage, command, free_port, ours

FORKS = 150  # processes that the bomb may make in all
CRASHES = 4


def hang(stage: Stage) -> str:
    """Alive, listening, and not answering: captured, then restarted."""
    port = free_port()
    probe = f"{{ http = 'http://127.0.0.1:{port}/', every = '500ms', timeout = '500ms' }}"
    stage.up(
        f"[service.web]\ncommand = {stage.toy('serve', port)}\nport = {port}\nready = {probe}\n"
        f"health = {probe[:-2]}, failures = 2 }}\nstop = {{ grace = '1s' }}\n"
    )
    before = stage.runs("web", None)
    _ask(port, "/hang")
    failed = stage.event("its probe fails", "health.failed", "web")
    end = stage.event("it is stopped", "run.exited", "web")
    if end["cause"] != "unhealthy":
        raise Lost(f"it ended with {end['cause']} instead of being stopped as unhealthy")
    captured = stage.event("it is captured first", "evidence.captured", "web", run_id=end["run_id"])
    if not Path(captured["path"]).is_dir():
        raise Lost("its evidence is not on disk")
    after = stage.runs("web", before["pid"])
    stage.until("the new one answers", lambda: _ask(port, "/"))
    stage.facts |= {"evidence": sorted(entry.name for entry in Path(captured["path"]).iterdir())}
    count = failed.get("count")
    return f"noticed after {count} probes, captured it, stopped it; pid {after['pid']} answers in its place"


def _ask(port: int, path: str) -> bool:
    """One request; what is asked to hang is not waited for."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0) as link:
        link.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        link.settimeout(0.2 if path == "/hang" else 1.0)
        return link.recv(64).startswith(b"HTTP/1.0 200")
    return False


def crash_loop(stage: Stage) -> str:
    """It fails at once, for ever: slower and slower, then degraded, and still tried."""
    stage.up(
        f"[service.crash]\ncommand = {stage.toy('crash')}\nrestart = {{ crash = {CRASHES} }}\n"
        "backoff = { first = '100ms', most = '400ms', degraded_first = '1s', degraded_most = '2s' }\n"
    )
    spent = stage.event("its budget is spent", "budget.exhausted", "crash")
    stage.until("it is degraded", lambda: stage.row("crash")["state"] == "degraded")
    stage.until("it is tried once more all the same", lambda: len(stage.events("run.exited")) > CRASHES)
    crashes = len(stage.events("run.exited", service="crash"))
    if crashes > CRASHES + 4:
        raise Lost(f"it was started {crashes} times: a spinning restart")
    delays = [x["ms"] / 1000 for x in stage.events("backoff", service="crash")][: CRASHES - 1]
    stage.facts |= {"crashes": crashes, "delays_s": delays}
    waits, of = ", ".join(duration(one) for one in delays), f"{spent['count']} of {spent['limit']}"
    return f"waited {waits} between tries; {of} spent: degraded, said once, tried rarely from then on"


def fork_bomb(stage: Stage) -> str:
    """Processes in sessions of their own that ignore TERM and fork once more on it: ended whole."""
    stage.up(f"[service.bomb]\ncommand = {stage.toy('bomb', FORKS)}\nstop = {{ grace = '500ms' }}\n")
    stage.runs("bomb", None)
    most = stage.until("it has forked", lambda: (n := len(_toys(stage))) >= FORKS // 3 and n)
    stage.ok("stop", "bomb")
    done = stage.event("the end is verified", "stop.done", "bomb")
    time.sleep(0.2)  # for one that was forked in the very last moment
    left = len(_toys(stage))
    if left:
        raise Lost(f"{left} of its processes are left")
    stage.facts |= {"seen": most, "ended": done.get("ended"), "verified_by": done["verified_by"]}
    many, proof = f"{most} or more processes, most in sessions of their own", done["verified_by"]
    return f"ended all of it ({many}), nothing left, verified by {proof}"


def _toys(stage: Stage) -> list[int]:
    """The bomb's processes."""
    return [one.pid for one in ours(stage.folder) if str(TOYS) in command(one)]


SCENES = (
    Scene("hang", "a web server that lives, listens and no longer answers", hang),
    Scene("crash-loop", "a program that fails at each start", crash_loop),
    Scene("fork-bomb", f"a program that forks up to {FORKS} processes, which ignore TERM", fork_bomb),
)
