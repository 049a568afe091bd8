"""Keeps the helper that follows files, and hands what it tells to the services as `Changed`.

One helper for all services, there only while a service that is wanted follows files. It ends with its stdin, hence
with this process. When it dies it is started again, with growing pauses, and said. Must not look at a file, nor decide
what a change means (policy).
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from midwatch.model.event import Changed
from midwatch.policy import defaults

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service

SCRIPT = os.path.join(os.path.dirname(__file__), "filewatch_helper.py")
LAST_WORDS = 300  # characters of a traceback


class FileWatching:
    """One per engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._wanted: dict[str, dict[str, Any]] = {}  # service id -> its part of the wish
        self._helper: WatchHelper | None = None
        self._again: asyncio.TimerHandle | None = None
        self._asked: asyncio.Handle | None = None
        self._deaths = 0
        self._said = ""

    @property
    def pid(self) -> int | None:
        """The helper's, while there is one."""
        return self._helper.pid if self._helper is not None else None

    def observe(self, service: Service) -> None:
        """A service's state has changed, or was restored: are its files to be followed?"""
        state = service.state
        watch = state.rules.file_watch
        if watch is None or state.want != "up" or state.rules.schedule is not None:
            self.forget(state.id)
            return
        wish = {"id": state.id, "paths": watch.paths, "ignore": watch.ignore, "debounce": watch.debounce}
        if self._wanted.get(state.id) != wish:
            self._wanted[state.id] = wish
            self._ask()

    def forget(self, name: str) -> None:
        """It is gone, stopped, or follows no files any more."""
        if self._wanted.pop(name, None) is not None:
            self._ask()

    def close(self) -> None:
        """The engine ends."""
        self._wanted.clear()
        self._settle()

    def _ask(self) -> None:
        """Once for all services of one `up`."""
        if self._asked is None:
            self._asked = asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        self._asked = None
        if self._wanted and self._helper is None and self._again is None:
            self._start()
        elif self._wanted and self._helper is not None:
            self._helper.send(self._wish())
        elif not self._wanted:
            helper, self._helper = self._helper, None
            if helper is not None:
                helper.end()
            if self._again is not None:
                self._again.cancel()
                self._again = None

    def _wish(self) -> dict[str, Any]:
        layout = self._engine.layout
        ours = (layout.logs, layout.journal, layout.runs, layout.home / "evidence", layout.runtime)
        return {
            "watch": list(self._wanted.values()), "never": [os.fspath(path) for path in ours],
            "home": os.fspath(layout.home), "most": defaults.WATCH_MOST, "roots": defaults.WATCH_ROOTS,
            "poll": defaults.WATCH_POLL,
            "named": defaults.WATCH_NAMED,
        }  # fmt: skip

    def _start(self) -> None:
        self._again = None
        if not self._wanted:
            return
        try:
            self._helper = WatchHelper(self._line, self._died)
        except OSError as error:
            self._died(f"it cannot be started: {error.strerror}")
            return
        self._helper.send(self._wish())

    def _died(self, reason: str) -> None:
        self._helper = None
        if not self._wanted:
            return
        delay = min(defaults.WATCH_RETRY * 2**self._deaths, defaults.WATCH_RETRY_MOST)
        self._deaths = min(self._deaths + 1, 16)
        self._say("filewatch.lost", {"reason": reason, "retry_ms": round(delay * 1000)})
        self._again = asyncio.get_running_loop().call_later(delay, self._start)

    def _line(self, line: dict[str, Any]) -> None:
        engine = self._engine
        name = line.get("changed")
        if name is not None:
            self._deaths = 0
            service = engine.services.get(name)
            if service is not None and name in self._wanted:
                engine.post(service, Changed(paths=tuple(line["paths"]), count=line["count"]))
        elif "watching" in line:
            fields = {"pid": self.pid, "services": len(self._wanted), "folders": line["watching"]}
            engine.write("filewatch.started", fields={**fields, "polling": line["polling"]})
        elif "warning" in line and line["warning"] != self._said:
            self._said = line["warning"]
            self._say("filewatch.warning", {"message": self._said})

    def _say(self, event: str, fields: dict[str, Any]) -> None:
        """To everybody who would miss it."""
        for name in self._wanted:
            self._engine.write(event, service=name, fields=fields)


class WatchHelper:
    """The process. `on_line` gets what it says, `on_end` is called once, with its last words, unless `end` was."""

    def __init__(self, on_line: Any, on_end: Any) -> None:
        import subprocess

        self._on_line = on_line
        self._on_end = on_end
        self._held = bytearray()
        self._words = ""
        argv = [sys.executable, "-I", "-S", SCRIPT, str(defaults.WATCH_NICE), *sys.path]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0, cwd="/",
            start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._unsent = b""
        asyncio.get_running_loop().add_reader(self._out, self._read)

    def send(self, wish: dict[str, Any]) -> None:
        """The newest wish replaces one that was not sent yet, unless that is half out."""
        self._unsent += msgspec.json.encode(wish) + b"\n"
        self._write()

    def end(self) -> None:
        """It is not needed any more: end of file, and it leaves. Nothing of it is told."""
        self._on_end = None
        self._close()

    def _write(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self._in, self._unsent) :]
        except BlockingIOError:
            loop.add_writer(self._in, self._write)
            return
        except OSError:  # it is dying: `_read` will see the end
            self._unsent = b""
        loop.remove_writer(self._in)

    def _read(self) -> None:
        try:
            chunk = os.read(self._out, defaults.WATCH_LINE_BYTES)
        except BlockingIOError:
            return
        if not chunk:
            self._close()
            return
        self._held += chunk
        *lines, rest = self._held.split(b"\n")
        self._held = bytearray(rest[-defaults.WATCH_LINE_BYTES :])
        for raw in lines:
            try:
                line = msgspec.json.decode(raw, type=dict[str, Any])
            except msgspec.DecodeError:
                self._words = raw.decode("utf-8", "replace").strip()[:LAST_WORDS] or self._words
                continue
            if self._on_end is not None:
                self._on_line(line)

    def _close(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._out)
        loop.remove_writer(self._in)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        loop.run_in_executor(None, self._wait).add_done_callback(lambda done: self._ended(done.result()))

    def _wait(self) -> int:
        """In a thread: it leaves at the end of its stdin; one that does not is ended."""
        import subprocess

        try:
            return self._process.wait(defaults.STOP_VERIFY)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _ended(self, code: int) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self._words or (f"it ended with exit code {code}" if code >= 0 else f"signal {-code} ended it"))
