"""A daemon made of a dictionary, a record written by hand, and the command line in this process.

`daemon` answers the control socket's protocol with canned values and notes every question; `cli` runs one command line
and returns code, stdout and stderr. No process is started here.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from midwatch.engine.layout import Layout
from midwatch.front.cli.main import main

Answer = dict[str, Any] | Callable[[dict[str, Any]], dict[str, Any]]


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Daemon:
    """Listens on the layout's control socket. `answers[method]` is a result, a function, or {"error": {...}}."""

    def __init__(self, layout: Layout, greeting: dict[str, Any] | None = None) -> None:
        self.layout = layout
        self.answers: dict[str, Answer] = {"ping": {"pid": 1, "keeper_pid": 2, "version": "0.1.0"}}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.greeting = {"protocol": 1, "version": "0.1.0"} if greeting is None else greeting
        layout.control.parent.mkdir(parents=True, exist_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(layout.control))
        self._socket.listen(16)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.layout.control.unlink(missing_ok=True)
        for thread in self._threads:
            thread.join(5)

    def services(self, *rows: dict[str, Any]) -> None:
        self.answers["ps"] = {"schema_version": 1, "daemon": DAEMON, "services": list(rows)}

    def of(self, method: str) -> list[dict[str, Any]]:
        return [params for name, params in self.asked if name == method]

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._socket.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(link,), daemon=True))
            self._threads[-1].start()

    def _serve(self, link: socket.socket) -> None:
        with link, link.makefile("rwb", buffering=0) as wire:
            try:
                wire.write(json.dumps(self.greeting).encode() + b"\n")
                while line := wire.readline():
                    request = json.loads(line)
                    wire.write(json.dumps(self._answer(request)).encode() + b"\n")
            except OSError:
                return

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((request["method"], request["params"]))
        answer = self.answers.get(request["method"])
        if callable(answer):
            answer = answer(request["params"])
        if answer is None:
            return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "no method"}}
        if "error" in answer:
            return {"jsonrpc": "2.0", "id": request["id"], **answer}
        return {"jsonrpc": "2.0", "id": request["id"], "result": answer}


DAEMON = {
    "pid": 411,
    "keeper_pid": 410,
    "version": "0.1.0",
    "held_bytes": 18 << 20,
    "cpu_s": 0.2,
    "home": "/h",
}


def row(name: str, state: str = "up", project: str = "shop", **more: Any) -> dict[str, Any]:
    """One service as `ps` answers it."""
    alive = state in {"up", "starting", "stopping"}
    return {
        "name": name,
        "project": project,
        "state": state,
        "want": "up",
        "pid": 4410 if alive else None,
        "run_id": f"{project}.{name}.1",
        "since": 1795262412.0,
        "uptime_s": 11520.0 if alive else None,
        "restarts": {},
        "memory": {
            "held_bytes": 41 << 20 if alive else None,
            "quality": "upper-bound" if alive else "absent",
            "soft_bytes": None,
            "hard_bytes": None,
        },
        "fds": {"open": 8 if alive else None, "soft_limit": 1024 if alive else None},
        "ready": state == "up",
        "health": "unknown",
        "decision": "",
        "last_cause": None,
        "retry_at": None,
        "needs": [],
        "source": "/srv/shop/midwatch.toml:3",
        **more,
    }


@pytest.fixture
def layout(home: Path) -> Layout:
    """The paths of this test's instance."""
    return Layout.for_home(home)


@pytest.fixture
def daemon(layout: Layout) -> Iterator[Daemon]:
    """A daemon with two services, shop/web and shop/worker, and a job that succeeds."""
    fake = Daemon(layout)
    fake.services(row("web"), row("worker", "backoff"))
    fake.answers["job"] = {
        "id": "j-1",
        "state": "done",
        "message": "done",
        "services": {"shop/web": {"ok": True, "message": "stopped, verified by cgroup"}},
    }
    for verb in ("start", "stop", "restart", "reset", "down"):
        fake.answers[verb] = {"job": "j-1"}
    yield fake
    fake.close()


@pytest.fixture
def cli(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Run one command line in an empty folder that is no project's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*words: str) -> Done:
        capfd.readouterr()
        code = main(list(words))
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return run


def write_journal(layout: Layout, *lines: dict[str, Any]) -> None:
    """A journal of these lines; `ts` counts up from 2026-06-02T02:31:00Z when it is not given."""
    layout.journal.mkdir(parents=True, exist_ok=True)
    with (layout.journal / "2026-W23.jsonl").open("a") as file:
        for number, line in enumerate(lines):
            file.write(json.dumps({"ts": f"2026-06-02T02:31:{number:02}.000Z", **line}) + "\n")


def write_log(layout: Layout, service: str, run: int, body: bytes, stream: str = "out", n: int = 1) -> None:
    """One output file as the keeper's pump leaves it."""
    folder = layout.service_logs(service)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{service.replace('/', '.')}.{run}.{stream}.{n}.log").write_bytes(body)
