"""Main processes that are not our children: an adopted run's, or the heir that a launcher left behind.

A pidfd says when it ended. How: the zombie's field 52 of /proc/PID/stat, else what the pidfd itself still knows (Linux
>= 6.15), else nobody knows, and nothing is invented. One that was re-parented to us is a child: wait4 comes first.
macOS has no pidfd: kqueue says when, the engine has checked who it is, and how is unknown. Must not know why.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import sys
import time

from midwatch.keeper.pump import Stream
from midwatch.keeper.spawn import Run, start_time
from midwatch.keeper.wire import Frame

GET_INFO, INFO_EXIT = 0xC040FF0B, 1 << 3  # _IOWR(0xFF, 11, 64 bytes); the status is in its last int
REAPED, NAP = 20, 0.005  # times, s: how long a zombie that we may not read is given to be reaped by its parent
LACK = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSYS)


class Ends:
    """All of them behind one descriptor, which is made when the first one comes."""

    def __init__(self) -> None:
        self.fd = -1
        self.looked = self.before = 0.0  # when we last looked, and when we had before that and all lived
        self.runs: dict[int, Run] = {}  # by pidfd, or pid

    def watch(self, run: Run) -> None:
        """From now on its end is noticed; ESRCH when it is no longer that process."""
        if run.watch < 0:
            run.watch = identify(run.pid, run.start)
        if self.fd < 0:
            self.poll = getattr(select, "epoll" if sys.platform == "linux" else "kqueue")()
            self.fd = self.poll.fileno()
        if sys.platform == "linux":
            try:
                self.poll.register(run.watch, select.EPOLLIN)
            except OSError:
                os.close(run.watch)
                raise
        else:
            self.poll.control([select.kevent(run.watch, -5, 0x11, 1 << 31)], 0)  # PROC, ADD | ONESHOT, NOTE_EXIT
        self.looked = self.looked if self.runs else time.monotonic()
        self.runs[run.watch] = run

    def forget(self, run: Run) -> None:
        """It ended, whoever told."""
        if self.runs.pop(run.watch, None) and sys.platform == "linux":
            os.close(run.watch)  # leaves the epoll by that
        run.watch = -1

    def ready(self) -> list[Run]:
        """Who ended. Asked before wait4 is: whoever is still here after that is not our child."""
        self.looked, self.before = time.monotonic(), self.looked
        if not self.runs:
            return []
        if sys.platform == "linux":
            return [self.runs[fd] for fd, _ in self.poll.poll(0)]
        return [self.runs[e.ident] for e in self.poll.control(None, 100, 0) if e.ident in self.runs]

    def over(self, run: Run) -> Frame:
        """How it ended, as far as it can be known; `unseen`: the seconds in which an unknown end happened."""
        facts: Frame = {"status": how(run), "cpu_seconds": None, "max_rss_bytes": None}
        if facts["status"] is None:
            facts["unseen"] = self.looked - self.before
        self.forget(run)
        return facts


def identify(pid: int, start: int) -> int:
    """A pidfd of exactly this process, zombie or not. Opened first, compared after: it cannot be a later one's."""
    if sys.platform != "linux":
        os.kill(pid, 0)
        return pid
    try:
        fd = os.pidfd_open(pid)
    except OSError as e:  # EINVAL, ENOENT: by now a thread's number
        if e.errno in LACK:
            raise
        fd = -1
    if fd < 0 or not start or start_time(pid) != start:
        if fd >= 0:
            os.close(fd)
        raise ProcessLookupError(errno.ESRCH, f"process {pid} is gone")
    return fd


def how(run: Run) -> int | None:
    """The raw wait status of one that ended, or None. A 0 counts only if we may read the field: others are shown 0."""
    if sys.platform != "linux":
        return None
    for _ in range(REAPED):
        try:
            with open(f"/proc/{run.pid}/stat", "rb", 0) as f:
                fields = f.read(4096).rpartition(b")")[2].split()
            if int(fields[19]) == run.start and fields[0] in b"ZX":
                if status := int(fields[49]):
                    return status
                os.readlink(f"/proc/{run.pid}/ns/user")  # the same permission
                return 0
        except (OSError, LookupError):
            pass
        info = bytearray(INFO_EXIT.to_bytes(64, "little"))
        try:
            fcntl.ioctl(run.watch, GET_INFO, info)
        except OSError:
            return None
        if info[0] & INFO_EXIT:
            return int.from_bytes(info[60:], "little")
        time.sleep(NAP)
    return None


def attach(ask: Frame, ends: Ends) -> tuple[Run, Frame]:
    """A run that outlived its keeper, and in words what of its output cannot be had again."""
    run, lost = Run(ask["run"]), {}
    run.pid, run.start, run.adopted = ask["pid"], ask["start"], True
    streams = [Stream(run.run, name, **facts) for name, facts in ask["streams"].items()]
    ends.watch(run)
    trusted = {os.geteuid(), ask.get("uid", 0)}
    try:
        trusted.add(os.stat(f"/proc/{run.pid}").st_uid)
    except OSError:
        pass
    for stream in streams:
        try:
            stream.reopen(trusted)
            run.streams[stream.name] = stream
        except (OSError, ValueError) as e:
            lost[stream.name] = f"{stream.fifo}: {getattr(e, 'strerror', e)}"
    return run, lost


def follow(run: Run, ask: Frame, ends: Ends) -> Run:
    """The launcher's run with its heir as the main process."""
    heir = Run(run.run)
    heir.pid, heir.start, heir.streams, heir.adopted = ask["pid"], ask["start"], run.streams, run.adopted
    ends.watch(heir)
    return heir
