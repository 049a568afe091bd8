"""This machine, as everything in inspect/ reads it: processes, small files, programs that only read.

No read can hang on a FIFO or a device, no program runs longer than it was given or prints more than is kept, and none
goes through a shell. What a dead network mount holds up is the caller's to give a deadline (look/picture.py does).
Must not know any check, and must not change anything. Tests: tests/inspect/test_live.py.
"""

from __future__ import annotations

import errno
import os
import pwd
import selectors
import signal
import stat
import subprocess
import sys
import threading
import time
from typing import Literal

from midwatch.inspect.sources import READ_BYTES, RUN_SECONDS, Ran, Table, procs
from midwatch.model.look import Proc
from midwatch.policy import defaults_inspect as figures

_ERR_BYTES = 65536
_QUIET = {"LC_ALL": "C", "LANG": "C", "SYSTEMD_PAGER": "", "PAGER": "cat", "SYSTEMD_COLORS": "0"}


class Live:
    """See sources.Sources. `proc`: a folder that stands for /proc in tests."""

    recorded = False

    def __init__(self, proc: str = "/proc") -> None:
        """Nothing is read yet."""
        self._proc = proc
        self._table: Table | None = None
        self._lock = threading.Lock()
        self._found: dict[int, Proc] = {}

    @property
    def platform(self) -> Literal["linux", "darwin"]:
        """The platform this interpreter was built for."""
        return "darwin" if sys.platform == "darwin" else "linux"

    @property
    def uid(self) -> int:
        """Who we are to the kernel."""
        return os.geteuid()

    @property
    def home(self) -> str:
        """Of that user, whatever HOME says (design 7)."""
        try:
            return pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:  # a container runs under a number without a name
            return os.environ.get("HOME", "/")

    def now(self) -> float:
        """Wall clock."""
        return time.time()

    def table(self) -> Table:
        """See sources; taken at the first question."""
        with self._lock:
            if self._table is None:
                self._table = self._patiently()
            return self._table

    def partial(self) -> Table:
        """Those seen until now, without waiting for the rest."""
        if self._table is not None:
            return self._table
        found = dict(self._found.copy())
        words = (
            f"only {len(found)} processes were read in time: the machine is slow, or one holds up who asks"
        )
        return Table(found, time.time(), (words,), whole=False)

    def _patiently(self) -> Table:
        """In a thread: /proc/PID/cmdline waits for the process's memory lock, for ever when its disk is gone."""
        done: list[Table | Exception] = []

        def work() -> None:
            try:
                done.append(self._look())
            except Exception as error:  # noqa: BLE001 - raised below, where somebody can catch it
                done.append(error)

        worker = threading.Thread(target=work, name="table", daemon=True)
        worker.start()
        known = -1
        while worker.is_alive() and len(self._found) != known:
            known = len(self._found)
            worker.join(figures.TABLE_STALL)
        if not done:
            return self.partial()
        if isinstance(done[0], Exception):
            raise done[0]
        return done[0]

    def _look(self) -> Table:
        if self.platform == "darwin":
            from midwatch.inspect.sources import macprocs
            from midwatch.machine.macos.libproc import Libproc

            return macprocs.table(Libproc())
        return procs.table(self._proc, None, self._found)

    def _path(self, path: str) -> str:
        return self._proc + path[5:] if path.startswith("/proc/") else path

    def read(self, path: str, limit: int = READ_BYTES) -> bytes:
        """See sources."""
        path = self._path(path)
        _only_files(os.stat(path), path)  # before open: opening a device can already do something
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            _only_files(os.fstat(fd), path)
            parts: list[bytes] = []
            while limit > 0:
                block = os.read(fd, min(limit, 1 << 16))
                if not block:
                    break
                parts.append(block)
                limit -= len(block)
            return b"".join(parts)
        finally:
            os.close(fd)

    def names(self, folder: str, limit: int = 10_000) -> list[str]:
        """See sources."""
        found: list[str] = []
        with os.scandir(self._path(folder)) as entries:
            for entry in entries:
                if len(found) >= limit:
                    break
                found.append(entry.name)
        return sorted(found)

    def link(self, path: str) -> str:
        """See sources."""
        return os.readlink(self._path(path))

    def size(self, path: str) -> tuple[int, float]:
        """See sources."""
        seen = os.stat(self._path(path))
        return seen.st_size, seen.st_mtime

    def space(self, path: str) -> tuple[int, int, int, int]:
        """See sources. Free: what a user without privileges may still write."""
        seen = os.statvfs(self._path(path))
        unit = seen.f_frsize
        return seen.f_blocks * unit, seen.f_bavail * unit, seen.f_files, seen.f_favail

    def run(self, argv: tuple[str, ...], seconds: float = RUN_SECONDS) -> Ran:
        """See sources. In a session of its own, which ends with it; `code` of a program that was cut is 0."""
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **_QUIET},
            start_new_session=True,
        )
        assert child.stdout is not None
        assert child.stderr is not None
        # not `with child`: that would wait for ever for one that cannot be ended
        with child.stdout, child.stderr:
            out, err, cut, late = _collect(child, seconds)
        if cut or late:
            _end(child)
        code = _wait(child, 0.5)
        if code is None:
            late, code = True, -int(signal.SIGKILL)
        return Ran(0 if cut and not late else code, _text(out), _text(err), cut, late)

    def sysctl(self, name: str) -> str:
        """See sources."""
        if self.platform == "linux":
            return self.read("/proc/sys/" + name.replace(".", "/"), 4096).decode("utf-8", "replace").strip()
        done = self.run(("sysctl", "-n", name))
        if done.code != 0:
            raise OSError(errno.ENOENT, done.err.strip() or "no such setting", name)
        return done.out.strip()


def _only_files(seen: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(seen.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)


def _collect(child: subprocess.Popen[bytes], seconds: float) -> tuple[bytes, bytes, bool, bool]:
    """(out, err, cut, late): until both ends are closed, the bound is reached, or time is over."""
    assert child.stdout is not None
    assert child.stderr is not None
    kept = {child.stdout: bytearray(), child.stderr: bytearray()}
    until = time.monotonic() + seconds
    cut = late = False
    with selectors.DefaultSelector() as both:
        for pipe in kept:
            both.register(pipe, selectors.EVENT_READ)
        while both.get_map() and not cut:
            ready = both.select(max(0.0, until - time.monotonic()))
            if not ready and time.monotonic() >= until:
                late = True
                break
            for key, _ in ready:
                block = os.read(key.fd, 1 << 16)
                buffer = kept[key.fileobj]  # type: ignore[index]
                buffer += block
                if not block:
                    both.unregister(key.fileobj)
                if len(buffer) > READ_BYTES:
                    cut = True
    return bytes(kept[child.stdout][:READ_BYTES]), bytes(kept[child.stderr][:_ERR_BYTES]), cut, late


def _end(child: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)  # its own session: nobody else is in it
    except (ProcessLookupError, PermissionError):
        child.kill()


def _wait(child: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Its code; a child that cannot be ended (uninterruptible) is not waited for."""
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        _end(child)
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
