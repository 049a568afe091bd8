"""The supervisor is killed with kill -9, and started again as its users start it: what that does to its services.

One service writes numbered lines on stdout and has a port; one writes nothing there (its log is a file of its own) and
has a port: a second copy shows as a port conflict; one writes nothing and has no port: a second copy lives on. Killed
is the process that people mean by the supervisor; of midwatch both. Then, for midwatch alone with 100 services: how
long until a killed engine's successor answers, and until a new daemon has adopted them all; beside it the bare start of
the same interpreter. Must not know how anything is adopted.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from bench import procs
from bench.context import Context
from bench.model import Capture, Failed, Result, Variant
from bench.peers.base import Peer
from bench.session import Session, session

OURS, LIMIT = "midwatch", "bare"
PEERS = (OURS, "supervisor", "circus", "pm2", "honcho")
PROGRAM = str(Path(__file__).parents[1] / "survivor.py")
TICK = re.compile(rb"tick (\d+) (\d+)\s*$", re.MULTILINE)
SETTINGS = {"writes, with a port": ("PORT",), "silent, with a port": ("PORT", "silent"), "silent": ("0", "silent")}
CAPTURE = Capture(50 * 2**20, 10)
BEFORE_S, DEAD_S, FLUSH_S = 2.0, 1.0, 1.0
MANY, ENGINES, DAEMONS = 100, 3, 3  # a keeper starts three engines a minute without a pause
PATIENCE_S = 20.0
IMPORTS = "import asyncio, json, sqlite3"


def measure(context: Context) -> list[Result]:
    """Every peer in both settings; then how fast we are back."""
    results = []
    for peer in (peer for name in PEERS for peer in context.peers if peer.name == name):
        for setting, words in SETTINGS.items():
            variant = Variant(setting, capture=CAPTURE)
            result = Result("survive", peer.name, variant.name)
            results.append(result)
            context.say(f"survive: {peer.name}, {variant.name}")
            try:
                _one(context, peer, variant, [str(_free_port()) if word == "PORT" else word for word in words], result)
            except (Failed, OSError, ValueError) as error:
                result.failed = str(error)
    return results + [back for peer in context.peers if peer.name == OURS for back in _back(context, peer)]


def _one(context: Context, peer: Peer, variant: Variant, words: list[str], result: Result) -> None:
    argv = (sys.executable, "-I", "-S", PROGRAM, "{stamps}", *words)
    with session(peer, context.base, 1, variant, argv) as running:
        running.wait_started(1, context.patience(1))
        time.sleep(BEFORE_S)
        first = running.newest()
        kill(running)
        killed = time.monotonic_ns()
        time.sleep(DEAD_S)
        result.add("outlived", procs.alive(first))
        start_again(running)
        time.sleep(5.0 if context.effort.quick else 15.0)
        stamps = [stamp for stamp in running.stamps.poll() if stamp.ns > killed]
        alive = [pid for pid in {stamp.pid for stamp in running.stamps.starts()} if procs.identify(pid)]
        result.add("copies", len(alive))
        result.add("doubled", max(0, len(alive) - 1))
        result.add("starts", sum(stamp.kind == "S" for stamp in stamps))
        result.add("port_conflicts", sum(stamp.kind == "P" for stamp in stamps))
        result.add("output_gone", sum(stamp.kind == "X" for stamp in stamps))
        result.add("lost", lost(running))


def lost(running: Session) -> int:
    """Lines that a copy wrote, or tried to, and that no log has."""
    name = f"{running.stamps.path.name}."
    wrote = {path.name[len(name) :]: int(path.read_text()) for path in running.plan.folder.glob(name + "*")}
    time.sleep(FLUSH_S)
    folder = running.peer.log_folder(running.plan)
    found: dict[str, set[int]] = {}
    for path in (path for path in folder.rglob("*") if path.is_file() and ".log" in path.name):
        for pid, number in TICK.findall(path.read_bytes()):
            found.setdefault(pid.decode(), set()).add(int(number))
    return sum(count - len([n for n in found.get(pid, ()) if n <= count]) for pid, count in wrote.items())


def kill(running: Session) -> None:
    """kill -9 of what people mean by the supervisor."""
    mains = [proc for pid in running.peer.mains(running.plan, running.roots) if (proc := procs.identify(pid))]
    if not mains:
        raise Failed(f"its own processes are not there{running.peer.complaint(running.plan)}")
    for proc in mains:
        procs.send(proc, 9)
    if left := procs.wait_gone(mains, PATIENCE_S):
        raise Failed(f"{left} survived SIGKILL")
    running.peer.forget(running.plan)


def start_again(running: Session) -> float:
    """The same command as at first; when it was given, on the wall clock."""
    given = time.time()
    running.roots = running.peer.start(running.plan)
    return given


def _back(context: Context, peer: Peer) -> list[Result]:
    """With many services: the engine's successor, the next daemon, and what the interpreter alone takes."""
    bare = Result("survive", LIMIT, f"an interpreter: {IMPORTS}")
    ours = Result("survive", OURS, f"{MANY} services")
    for _ in range(5):
        begin = time.monotonic()
        subprocess.run([sys.executable, "-I", "-S", "-OO", "-c", IMPORTS], check=True)
        bare.add("answer_s", time.monotonic() - begin)
    context.say(f"survive: back with {MANY} services")
    try:
        with context.open(peer, Variant("contain=auto"), MANY) as running:
            running.wait_started(MANY, context.patience(MANY))
            time.sleep(BEFORE_S)
            for _ in range(ENGINES):
                ours.add("answer_s", _engine(running))
                time.sleep(DEAD_S)
            for _ in range(DAEMONS):
                _daemon(running, ours)
                time.sleep(DEAD_S)
            ours.add("starts", len(running.stamps.starts()) - MANY)
    except (Failed, OSError, ValueError) as error:
        ours.failed = str(error)
    return [bare, ours]


def _engine(running: Session) -> float:
    """From kill -9 of the engine to the first words of its successor."""
    running.peer.forget(running.plan)
    engine = procs.identify(running.peer.mains(running.plan, running.roots)[-1])
    if engine is None:
        raise Failed("there is no engine")
    begin = time.monotonic()
    procs.send(engine, 9)
    while procs.alive(engine):
        time.sleep(0.0005)
    _greeted(running.plan.folder / "home" / "run" / "control.sock")
    return time.monotonic() - begin


def _greeted(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(PATIENCE_S)
            try:
                asking.connect(str(path))
                if asking.recv(1000):
                    return
            except OSError:
                time.sleep(0.001)
    raise Failed(f"nobody answers at {path}")


def _daemon(running: Session, result: Result) -> None:
    """Both are killed; a new daemon is started."""
    home = running.plan.folder / "home"
    running.peer.forget(running.plan)
    kill(running)
    given = start_again(running)
    deadline = time.monotonic() + PATIENCE_S
    while len(adopted := _adopted(home, given)) < MANY:
        if time.monotonic() > deadline:
            raise Failed(f"{len(adopted)} of {MANY} services were adopted")
        time.sleep(0.02)
    result.add("command_s", max(adopted) - given)
    result.add("adopted_s", max(adopted) - json.loads((home / "lock").read_bytes())["since"])


def _adopted(home: Path, since: float) -> list[float]:
    """When each service was adopted by the newest daemon, on the wall clock."""
    lines = [line for path in (home / "journal").glob("*.jsonl") for line in path.read_bytes().splitlines()]
    told = [json.loads(line)["ts"] for line in lines if b'"run.adopted"' in line]
    return [at for ts in told if (at := dt.datetime.fromisoformat(ts).timestamp()) >= since]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
