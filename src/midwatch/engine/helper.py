"""Short-lived helper processes of the engine: command probes, TLS probes, compression.

Started on subprocess's vfork path (asyncio has imported the module anyway), in a session of their own, watched
by pidfd, ended as a group at their deadline. Their output is bounded. Must not know what they are for.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Sequence

MAX_OUTPUT = 65536  # bytes kept of a helper's output; the rest is read and dropped

Done = Callable[[int | None, bytes], None]


class Helper:
    """One helper. `done(code, output)` is called exactly once; code None means it was ended at the deadline."""

    def __init__(
        self,
        argv: Sequence[str],
        timeout: float,
        done: Done,
        *,
        env: dict[str, str] | None = None,
        cwd: str | None = None,
        uid: int | None = None,
        gid: int | None = None,
        groups: Sequence[int] | None = None,
    ) -> None:
        self._done = done
        self._output = bytearray()
        self._late = False
        loop = asyncio.get_running_loop()
        self._read_end, write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                env=env,
                cwd=cwd,
                user=uid,
                group=gid,
                extra_groups=list(groups) if groups is not None and os.geteuid() == 0 else None,
                start_new_session=True,
            )
        except OSError:
            os.close(self._read_end)
            raise
        finally:
            os.close(write_end)
        self._pid = self._process.pid
        loop.add_reader(self._read_end, self._read)
        self._timer = loop.call_later(timeout, self._deadline)
        self._watch()

    def cancel(self) -> None:
        """End it now; `done` is still called."""
        self._deadline()

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        if hasattr(os, "pidfd_open"):
            self._pidfd = os.pidfd_open(self._pid)
            loop.add_reader(self._pidfd, self._ended)
        else:  # macOS: a thread that waits for this pid only
            self._pidfd = -1
            loop.run_in_executor(None, os.waitid, os.P_PID, self._pid, os.WEXITED | os.WNOWAIT).add_done_callback(
                lambda _: self._ended()
            )

    def _read(self) -> None:
        try:
            chunk = os.read(self._read_end, MAX_OUTPUT)
        except BlockingIOError:
            return
        if not chunk:
            asyncio.get_running_loop().remove_reader(self._read_end)
        elif len(self._output) < MAX_OUTPUT:
            self._output += chunk[: MAX_OUTPUT - len(self._output)]

    def _deadline(self) -> None:
        self._late = True
        try:
            os.killpg(self._pid, signal.SIGKILL)  # its leader is our unreaped child: the number is ours
        except ProcessLookupError:
            pass

    def _ended(self) -> None:
        loop = asyncio.get_running_loop()
        if self._pidfd >= 0:
            loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._timer.cancel()
        try:
            os.killpg(self._pid, signal.SIGKILL)  # what it left in its group
        except (ProcessLookupError, PermissionError):
            pass
        code = self._process.wait()
        self._read()
        loop.remove_reader(self._read_end)
        os.close(self._read_end)
        self._done(None if self._late else code, bytes(self._output))
