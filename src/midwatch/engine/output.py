"""What becomes of the services' output after the pump: pruning, compression, the tail of an exit, the low-disk stop.

Every drop is said, once an episode. Must not move bytes of a live stream (that is the keeper's pump).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midwatch.engine.helper import Helper
from midwatch.policy import defaults
from midwatch.record import logs

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service
    from midwatch.engine.run import Run


class Episode:
    """Bytes lost in one go, told at its start and once more when it is over."""

    __slots__ = ("bytes", "since", "timer")

    def __init__(self, since: float) -> None:
        self.since = since
        self.bytes = 0
        self.timer: asyncio.TimerHandle | None = None


class Output:
    """One per engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._episodes: dict[tuple[str, str], Episode] = {}
        self._waiting: deque[str] = deque(maxlen=defaults.COMPRESS_QUEUE)
        self._compressing = False
        self._discarding: bool | None = None  # not known yet: the last engine may have told the keeper to
        self._told: set[str] = set()  # runs whose output is thrown away
        self._seen: dict[str, tuple[str, int, bytes]] = {}
        self._offset: float | None = None  # wall minus awake time
        self._grown = True  # a file was closed since the total was last looked at

    # -- what the keeper reports -------------------------------------------------------------------------------

    def rotated(self, frame: dict[str, Any]) -> None:
        """A file is full and the pump has opened the next."""
        engine = self._engine
        run = engine.runs.get(frame["run"])
        if run is None:
            return
        stream = run.streams.get(frame["stream"])
        if stream is not None:
            stream["log"] = frame["path"]
            if run.proc is not None:
                engine.records.save(run.record(engine.machine.now().awake, "running"))
        service = engine.services.get(run.service)
        if service is None:
            return
        self.prune(service)
        self._grown = True
        if service.spec.logs.compress:
            self._waiting.append(frame["closed"])
            engine.later(defaults.COMPRESS_AFTER, self._compress)

    def dropped(self, frame: dict[str, Any]) -> None:
        """The pump could not write, or was told not to."""
        run = self._engine.runs.get(frame["run"])
        if run is not None:
            reason = "low disk" if self._discarding else frame.get("errno") or "unknown"
            self._drop(run.service, frame["bytes"], reason)

    def drained(self, frame: dict[str, Any]) -> None:
        """Nobody can write to this stream any more and everything is in the file."""
        self._seen.pop(frame["run"], None)
        self._engine.gates.drained(frame["run"])

    # -- bounds ------------------------------------------------------------------------------------------------

    def prune(self, service: Service) -> None:
        """Keep one service's files inside its cap; what goes is said."""
        folder = self._engine.layout.service_logs(service.spec.id)
        gone = sum(size for _, size in logs.prune(folder, service.spec.logs, self._live(service)))
        if gone:
            self._drop(service.spec.id, gone, "rotation")

    def _prune_total(self) -> None:
        """Over the instance's cap the oldest files of the biggest services go first; live files stay."""
        engine = self._engine
        sizes = {name: self._files(service) for name, service in engine.services.items()}
        excess = sum(size for found in sizes.values() for _, size, _ in found) - engine.limits.log_total
        while excess > 0 and (name := max(sizes, key=lambda n: sum(f[1] for f in sizes[n]), default="")):
            found = sizes[name]
            if not found:
                return
            path, size, _ = found.pop(0)
            os.unlink(path)
            (path.parent / (path.name + ".idx")).unlink(missing_ok=True)
            excess -= size
            self._drop(name, size, "total cap")

    def _files(self, service: Service) -> list[tuple[Path, int, float]]:
        """A service's closed files, oldest first."""
        keep = self._live(service)
        folder = self._engine.layout.service_logs(service.spec.id)
        try:
            entries = [Path(entry.path) for entry in os.scandir(folder) if not entry.name.endswith(".idx")]
        except OSError:
            return []
        found = [(path, path.stat().st_size, path.stat().st_mtime) for path in entries if path not in keep]
        return sorted(found, key=lambda file: file[2])

    @staticmethod
    def _live(service: Service) -> set[Path]:
        runs = (run for run in (service.run, service.warm) if run is not None)
        return {Path(stream["log"]) for run in runs for stream in run.streams.values()}

    def _drop(self, service: str, count: int, reason: str) -> None:
        engine = self._engine
        key = (service, reason)
        episode = self._episodes.get(key)
        if episode is None:
            episode = self._episodes[key] = Episode(engine.machine.now().wall)
            fields = {"bytes": count, "since": episode.since, "reason": reason}
            engine.write("output.dropped", service=service, fields=fields)
        episode.bytes += count
        if episode.timer is not None:
            episode.timer.cancel()
        loop = asyncio.get_running_loop()
        episode.timer = loop.call_later(defaults.SAY_AGAIN, self._episode_over, key, count)

    def _episode_over(self, key: tuple[str, str], _: int) -> None:
        episode = self._episodes.pop(key)
        fields = {"bytes": episode.bytes, "since": episode.since, "reason": key[1], "over": True}
        self._engine.write("output.dropped", service=key[0], fields=fields)

    def _compress(self) -> None:
        """One file at a time, in a helper of the lowest priority; files pruned meanwhile are skipped."""
        if self._compressing:
            return
        while self._waiting:
            path = self._waiting.popleft()
            if not os.path.exists(path):
                continue
            script = os.path.join(os.path.dirname(logs.__file__), "compress_helper.py")
            try:
                Helper([sys.executable, "-I", "-S", script, path], defaults.COMPRESS_TIMEOUT, self._compressed)
            except OSError:
                self._waiting.appendleft(path)
                self._engine.later(defaults.SAY_AGAIN, self._compress)
                return
            self._compressing = True
            return

    def _compressed(self, code: int | None, output: bytes) -> None:
        self._compressing = False
        self._compress()

    def watch_disk(self) -> None:
        """Every few seconds: below the reserve the services' output is thrown away, said once, until there is
        room again."""
        engine = self._engine
        free = engine.machine.free_bytes(str(engine.layout.logs))
        low = free is not None and free < self._reserve()
        if low != bool(self._discarding):
            fields = {"free_bytes": free, "reserve_bytes": self._reserve(), "path": str(engine.layout.logs)}
            engine.write("disk.low" if low else "disk.ok", fields=fields)
        if low or self._discarding is not False:
            self._discard(low, first=self._discarding is None)
        self._discarding = low
        if self._grown:
            self._grown = False
            self._prune_total()
        self._watch_clock()
        engine.journal.retry()
        engine.records.retry()
        engine.later(defaults.DISK_CHECK_EVERY, self.watch_disk)

    def _watch_clock(self) -> None:
        """A step of the wall clock changes nothing (every duration is awake time), but explains odd time stamps."""
        now = self._engine.machine.now()
        offset = now.wall - now.awake - self._engine.machine.suspended()
        step = offset - self._offset if self._offset is not None else 0.0
        if abs(step) >= defaults.CLOCK_STEP:
            self._engine.write("clock.stepped", fields={"by_ms": round(step * 1000)})
        self._offset = offset

    def _discard(self, low: bool, *, first: bool) -> None:
        """Tell the pump about every run that it has not been told about; `first`: about all, to be sure."""
        engine = self._engine
        for run in engine.runs.values():
            if first or (run.id in self._told) is not low:
                for stream in run.streams:
                    engine.link.send(op="pump", run=run.id, stream=stream, discard=low)
        self._told = set(engine.runs) if low else set()

    def _reserve(self) -> int:
        asked = self._engine.limits.disk_reserve
        if asked is not None:
            return asked
        size = os.statvfs(self._engine.layout.logs)
        return defaults.low_disk_reserve(size.f_frsize * size.f_blocks)

    # -- reading back ------------------------------------------------------------------------------------------

    def remember(self, service: Service, exited: dict[str, Any]) -> None:
        """Keep the run's last bytes with its exit record, once the pump has had time to drain the FIFO."""
        engine = self._engine
        run = service.run
        paths = [stream["log"] for stream in run.streams.values()] if run is not None else []
        row = {"service": service.spec.id, "ended": engine.machine.now().wall, **exited}

        def keep() -> None:
            tail = "\n".join(filter(None, (_tail(path) for path in paths)))
            if tail:
                engine.write("run.tail", service=service.spec.id, run=row.get("run_id"), fields={"text": tail})
            if engine.history is not None:
                engine.history.add_run({**row, "tail": tail})
            self.prune(service)

        engine.later(defaults.TAIL_AFTER, keep)

    def search(self, run: Run, pattern: str) -> tuple[bool, str]:
        """Does a line of the run's output match? Reads on from where the last search stopped, at most 1 MiB a time."""
        import re

        path = next(iter(run.streams.values()))["log"]
        seen, offset, rest = self._seen.get(run.id, (path, 0, b""))
        if seen != path:
            offset, rest = 0, b""
        try:
            with open(path, "rb") as file:
                file.seek(offset)
                data = file.read(1 << 20)
        except FileNotFoundError:
            return False, "no output yet"
        except OSError as error:
            return False, f"{path}: {error.strerror}"
        lines = (rest + data).split(b"\n")
        self._seen[run.id] = (path, offset + len(data), lines[-1][-defaults.PROBE_BODY_BYTES :])
        for line in lines:
            text = line.decode("utf-8", "replace")
            if re.search(pattern, text):
                return True, f"output line {text.strip()[:120]!r}"
        return False, f"no line of output matches {pattern!r} yet"


def _tail(path: str) -> str:
    """The last bytes of a file as text, from the start of a line."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - defaults.TAIL_BYTES)
            file.seek(start)
            data = file.read(defaults.TAIL_BYTES)
    except OSError:
        return ""
    if start:
        data = data.partition(b"\n")[2] or data
    return data.decode("utf-8", "replace").rstrip("\n")
