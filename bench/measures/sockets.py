"""Restarts under load: connections that a second process could not make, or that ended without their answer.

A real server (tests/system/listening.py) is restarted by the peer's own command while another process asks it from four
threads without a pause. Once with the socket held by midwatch and passed on, and once, for the distance, with a server
that binds its own port as every server without socket passing does. The server finishes the request it has before it
follows SIGTERM. Must not know how a socket is passed.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

from bench.context import Context
from bench.model import Failed, Result, Variant
from bench.peers.base import Peer
from bench.session import session
from bench.shell import run

PROGRAM = str(Path(__file__).parents[2] / "tests" / "system" / "listening.py")
OURS = "midwatch"  # of the peers only circus passes sockets on, and its restart of one process is kill and start too
THREADS = 4
GAP_S = 0.2  # between two restarts
PATIENCE_S = 20.0


def measure(context: Context) -> list[Result]:
    """One session for each setting."""
    results = []
    for peer in [peer for peer in context.peers if peer.name == OURS]:
        port = _free_port()
        where = f"127.0.0.1:{port}"
        for variant in (Variant("socket passed on", listen=(where,)), Variant("server binds itself")):
            result = Result("sockets", peer.name, variant.name)
            results.append(result)
            try:
                _one(context, peer, variant, where, result)
            except (Failed, OSError, ValueError) as error:
                result.failed = str(error)
    return results


def _one(context: Context, peer: Peer, variant: Variant, where: str, result: Result) -> None:
    restarts = 10 if context.effort.quick else 50
    context.say(f"sockets: {restarts} restarts under load, {variant.name}")
    server = (sys.executable, "-I", PROGRAM, "serve", *(() if variant.listen else (where,)))
    with session(peer, context.base, 1, variant, server) as running:
        _wait_for(where)
        command = [sys.executable, "-I", PROGRAM, "hammer", where, str(THREADS)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            client.stdout.readline()
            try:
                for _ in range(restarts):
                    time.sleep(GAP_S)
                    plan = running.plan
                    run([*peer.command_line(), "restart", "svc0"], PATIENCE_S, peer.env(plan), plan.folder)
                time.sleep(GAP_S)
            finally:
                said, _ = client.communicate("", timeout=60)
        counted = json.loads(said)
    result.add("restarts", restarts)
    for name in ("asked", "failures", "servers", "longest_ms"):
        result.add(name, counted[name])


def _wait_for(where: str) -> None:
    host, _, port = where.rpartition(":")
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise Failed(f"nobody serves at {where}: {error}") from error
            time.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
