"""Linux as tree.py and end.py want it: /proc as the `Source`, pidfds and cgroup v2 as the `Hand`.

Must not hold a rule about who belongs to whom.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator

from midwatch.machine.linux import cgroup, files, mrelease, pidfd, procfs
from midwatch.machine.procs import Stat
from midwatch.model.identity import ProcId

_MOST_PIDFDS = 256  # waited for at once; the rest is seen by the next look


class ProcSource:
    """/proc, or a recorded one in tests."""

    subreaper = True

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc

    def stats(self) -> Iterator[Stat]:
        """See procs.Source."""
        for name in os.listdir(self._proc):
            if name[0] in "123456789":
                data = files.read_record(f"{self._proc}/{name}/stat")
                stat = procfs.stat(data) if data else None
                if stat is not None:
                    yield stat

    def stat(self, pid: int) -> Stat | None:
        """See procs.Source."""
        data = files.read_record(f"{self._proc}/{pid}/stat")
        return procfs.stat(data) if data else None

    def marker(self, pid: int) -> str | None:
        """See procs.Source."""
        return procfs.marker(files.read_or_none(f"{self._proc}/{pid}/environ") or b"")

    def may_read(self, pid: int) -> bool:
        """See procs.Source."""
        return os.access(f"{self._proc}/{pid}/environ", os.R_OK)

    def writes_to(self, run: str, pid: int) -> bool:
        """See procs.Source."""
        for fd in (1, 2):
            try:
                path = os.readlink(f"{self._proc}/{pid}/fd/{fd}")
            except OSError:
                continue
            folder, _, name = path.rpartition("/")
            if name.startswith(run + ".") and folder.endswith("/fifo"):
                return True
        return False

    def group(self, directory: str) -> set[int] | None:
        """See procs.Source."""
        return cgroup.pids(directory)


class LinuxHand:
    """pidfds and cgroups."""

    def __init__(self) -> None:
        self.releaser = mrelease.Releaser()

    def send(self, proc: ProcId, signum: int) -> bool:
        """See procs.Hand."""
        return pidfd.send(proc, signum)

    def kill_group(self, directory: str) -> bool:
        """cgroup.kill, Linux >= 5.14."""
        return cgroup.kill(directory)

    def freeze_group(self, directory: str, on: bool) -> bool:
        """cgroup.freeze, Linux >= 5.2."""
        return cgroup.freeze(directory, on)

    def group_frozen(self, directory: str) -> bool:
        """By cgroup.events."""
        return cgroup.frozen(directory)

    def release(self, procs: list[ProcId]) -> None:
        """See procs.Hand."""
        fds = (pidfd.open_checked(proc) for proc in procs) if not self.releaser.why else ()
        self.releaser.start([fd for fd in fds if fd is not None])

    def thaw_group(self, directory: str) -> None:
        """See procs.Hand."""
        cgroup.thaw(directory)

    def group_empty(self, directory: str) -> bool:
        """By cgroup.events, or by the list of a v1 group."""
        return cgroup.populated(directory) is False or cgroup.pids(directory) == set()

    def wait(self, procs: list[ProcId], seconds: float) -> None:
        """See procs.Hand."""
        until = time.monotonic() + seconds
        poll = select.poll()
        fds: set[int] = set()
        try:
            for proc in procs[:_MOST_PIDFDS]:
                fd = pidfd.open_checked(proc)
                if fd is not None:
                    fds.add(fd)
                    poll.register(fd, select.POLLIN)
            waiting = set(fds)
            while waiting and (rest := until - time.monotonic()) > 0:
                for fd, _ in poll.poll(rest * 1000):
                    poll.unregister(fd)
                    waiting.discard(fd)
        finally:
            for fd in fds:
                os.close(fd)
