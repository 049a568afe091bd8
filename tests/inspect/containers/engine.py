"""An engine made of answers: HTTP on a Unix socket, in a thread; it can hang where it is told to."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

GIB = 1 << 30


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False


class Engine:
    """Answers by path; `hangs` are the paths that never get one."""

    def __init__(self, path: Path) -> None:
        self.address = f"unix://{path}"
        self.answers: dict[str, tuple[int, Any]] = {
            "/info": (200, {"MemTotal": 16 * GIB, "OperatingSystem": "Toy OS", "KernelVersion": "1.toy"}),
            "/version": (200, {"Version": "7.0", "Components": [{"Name": "Engine"}]}),
            "/containers/json": (200, []),
            "/volumes": (200, {"Volumes": []}),
            "/system/df": (200, {"Volumes": []}),
        }
        self.hangs: set[str] = set()
        self.asked: list[str] = []
        self.let_go = threading.Event()

    def add(self, identity: str, name: str, usage: int | None = None, **facts: Any) -> None:
        """One running container."""
        rows: list[dict[str, Any]] = self.answers["/containers/json"][1]
        rows.append({"Id": identity})
        told: dict[str, Any] = {"Id": identity, "Name": f"/{name}", "State": {"Status": "running", "Pid": 999_999_999,
                                "StartedAt": "2026-03-02T08:00:00Z"}, "HostConfig": {"Memory": 0}}  # fmt: skip
        for key, value in facts.items():
            told[key] = {**told.get(key, {}), **value}
        self.answers[f"/containers/{identity}/json"] = (200, told)
        if usage is not None:
            stats = {"memory_stats": {"usage": usage, "limit": 16 * GIB, "stats": {"inactive_file": 0}}}
            self.answers[f"/containers/{identity}/stats"] = (200, stats)


@contextmanager
def serving(path: Path) -> Iterator[Engine]:
    """A living engine at this path."""
    engine = Engine(path)

    class Handler(BaseHTTPRequestHandler):
        def address_string(self) -> str:
            return "unix"

        def log_message(self, *words: Any) -> None:
            pass

        def do_GET(self) -> None:
            where = urlsplit(self.path).path
            engine.asked.append(f"{self.command} {self.path}")
            if where in engine.hangs:
                engine.let_go.wait(30)
                return
            status, told = engine.answers.get(where, (404, {"message": "no such thing"}))
            body = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the standard library's name

    server = _Server(str(path), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        engine.let_go.set()
        server.shutdown()
        server.server_close()
