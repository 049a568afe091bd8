"""Move output from FIFOs to files inside the kernel, so that killing the keeper loses and doubles no byte.

splice(2) takes bytes out of the pipe only when they are in the file; nothing sits in our memory. The offset is
ours (O_APPEND is EINVAL for splice), so whoever comes after us continues at fstat's size. One thread: a stream
gets at most TURN bytes before the next one's turn, so a flood delays others by one TURN of page cache; a write
that the disk blocks delays all of them, because all logs of an instance share that disk anyway.
Knows nothing of runs beyond their names. Tests: tests/system/test_pump*.py.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

TURN = 1 << 20
PIPE_STEPS = {65536: 1 << 18, 1 << 18: 1 << 20}
FULL_AGAIN = 10.0  # s; a pipe found full twice within this is too small
RETRY = 1.0  # s between tries at a full disk, and between two messages about one stream
INDEX_EVERY = 1.0  # s
SMALL, NAP = 4096, 0.001  # a round that moved less waits a moment: a wake-up per line costs more than it brings
SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR)  # ours, not the disk's: the bytes wait in the pipe
NEVER = 1 << 62
FIONREAD = 0x4004667F if sys.platform == "darwin" else 0x541B
while (NULL := os.open("/dev/null", os.O_RDWR)) < 3:  # a closed stdin, stdout or stderr is filled first
    os.set_inheritable(NULL, True)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def pipe_allowance() -> int:
    """A quarter of the user's soft allowance: beyond it every new pipe of that user shrinks to 8 KiB."""
    try:
        with open("/proc/sys/fs/pipe-user-pages-soft", "rb") as f:
            return int(f.read()) * os.sysconf("SC_PAGE_SIZE") // 4 or NEVER
    except OSError:
        return 0


class Stream:
    """One FIFO (or terminal) and the file its bytes go to."""

    __slots__ = ("copies", "discard", "fd", "fifo", "full_at", "indexed_at", "limit", "log", "lost", "lost_errno",
                 "name", "offset", "retry_at", "run", "size", "src", "told_at")

    def __init__(self, run: str, name: str, src: int, fifo: str, log: str, limit: int | None) -> None:
        self.run, self.name, self.src, self.fifo, self.limit = run, name, src, fifo, limit or NEVER
        self.discard, self.copies = False, not fifo or not hasattr(os, "splice")
        self.size = 0 if self.copies else fcntl.fcntl(src, fcntl.F_GETPIPE_SZ)
        self.full_at = self.told_at = -FULL_AGAIN
        self.lost = self.lost_errno = 0
        self.open(log)

    def open(self, log: str) -> None:
        """Continue `log` where it ends."""
        self.fd = -1
        self.fd = os.open(log, _CREATE, 0o600)
        self.log, self.offset, self.indexed_at, self.retry_at = log, os.fstat(self.fd).st_size, 0.0, 0.0

    def rotate(self) -> dict[str, Any]:
        """Open the file after the full one. The old one is closed first: no extra descriptor is needed."""
        full = self.log
        head, number, tail = full.rsplit(".", 2)
        if self.fd >= 0:
            os.close(self.fd)
        self.open(f"{head}.{int(number) + 1}.{tail}")
        return {"ev": "rotated", "run": self.run, "stream": self.name, "closed": full, "path": self.log}

    def index(self, offset: int, now: float) -> None:
        """Note at which offset this second begins; whole entries only, and never worth an error."""
        self.indexed_at = now
        try:
            fd = os.open(self.log + ".idx", _CREATE, 0o600)
            try:
                os.pwrite(fd, struct.pack("<Qd", offset, time.time()), os.fstat(fd).st_size // 16 * 16)
            finally:
                os.close(fd)
        except OSError:
            pass

    def move(self, count: int, offset: int | None) -> int:
        """Move up to count bytes to the file, or away (offset None); 0 = every writer is gone."""
        if not self.copies:
            return os.splice(self.src, NULL if offset is None else self.fd, count, offset_dst=offset,
                             flags=os.SPLICE_F_NONBLOCK)
        try:
            data = os.read(self.src, min(count, 65536))
        except OSError as e:
            if e.errno == errno.EIO:  # a terminal whose last user left
                return 0
            raise
        if offset is None or not data:
            return len(data)
        self.lost += len(data)
        written = os.pwrite(self.fd, data, offset)
        self.lost -= written
        return written

    def close(self) -> None:
        """Let go of everything; the FIFO's name has no use without us."""
        for fd in (self.src, self.fd):
            if fd >= 0:
                os.close(fd)
        self.src = self.fd = -1
        if self.fifo:
            try:
                os.unlink(self.fifo)
            except OSError:
                pass


class Pump:
    """All streams and the thread that serves them; `tell` hands a message to the main thread."""

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        self.tell = tell
        self.streams: dict[int, Stream] = {}
        self.losing: set[Stream] = set()
        self.allowance = pipe_allowance()
        self.poll: Any = select.epoll() if hasattr(select, "epoll") else select.poll()

    def add(self, stream: Stream) -> None:
        """Serve a stream from now on; any thread may call this."""
        self.streams[stream.src] = stream
        self.poll.register(stream.src, select.POLLIN)

    def idle(self) -> bool:
        """Is every pipe empty right now?"""
        try:
            return not any(any(fcntl.ioctl(fd, FIONREAD, b"\0" * 4)) for fd in list(self.streams))
        except OSError:
            return False

    def run(self) -> None:
        """The thread: signals belong to the main thread, and nothing may end this loop."""
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
        while True:
            try:
                self.round()
            except Exception:  # noqa: BLE001
                sys.excepthook(*sys.exc_info())
                time.sleep(0.1)

    def round(self) -> None:
        """Wait, give each ready stream one turn, and say what was lost."""
        wait = RETRY if self.losing else None
        if not hasattr(select, "epoll"):  # poll(2) does not notice a stream added meanwhile
            wait = 50
        moved = 0
        ready = self.poll.poll(wait)
        for fd, _ in ready:
            if stream := self.streams.get(fd):
                moved += self.turn(stream)
        if ready and moved < SMALL:
            time.sleep(NAP)
        if self.losing:
            self.report(time.monotonic())

    def turn(self, stream: Stream) -> int:
        """Move at most TURN bytes of one stream; never raises for what a disk or a pipe can do."""
        now, moved = time.monotonic(), 0
        while moved < TURN:
            away = stream.discard or now < stream.retry_at
            try:
                if away:
                    n = stream.move(TURN, None)
                    stream.lost += n
                else:
                    if stream.fd < 0 or stream.offset >= stream.limit:
                        self.tell(stream.rotate())
                    at = stream.offset
                    n = stream.move(min(TURN, stream.limit - at), at)
                    stream.offset += n
                    if n and now - stream.indexed_at >= INDEX_EVERY:
                        stream.index(at, now)
            except BlockingIOError:
                break
            except OSError as e:
                if e.errno in SCARCE:
                    time.sleep(20 * NAP)
                    break
                self.trouble(stream, e.errno or errno.EIO, now)
                continue
            if stream.lost:
                self.losing.add(stream)
            if n == 0:
                self.finish(stream)
                break
            moved += n
            if n * 2 >= stream.size and stream.size in PIPE_STEPS:
                self.widen(stream, now)
        return moved

    def trouble(self, stream: Stream, number: int, now: float) -> None:
        """The file did not take the bytes: copy where splice cannot, else throw away until the next try."""
        if number == errno.EINVAL and not stream.copies:
            stream.copies = True
            self.tell({"ev": "degraded", "run": stream.run, "stream": stream.name, "errno": "EINVAL"})
            return
        stream.lost_errno, stream.retry_at = number, now + RETRY
        self.losing.add(stream)

    def widen(self, stream: Stream, now: float) -> None:
        """Found full (half of it counts: short lines leave pages unfilled) twice in a short time."""
        if now - stream.full_at < FULL_AGAIN and stream.full_at != now:
            wanted = PIPE_STEPS[stream.size]
            if sum(s.size for s in list(self.streams.values())) - stream.size + wanted <= self.allowance:
                try:
                    stream.size = fcntl.fcntl(stream.src, fcntl.F_SETPIPE_SZ, wanted)
                except OSError:
                    stream.size = 0  # refused: never asked again
        stream.full_at = now

    def report(self, now: float) -> None:
        """Say what was thrown away, at most once a second for each stream."""
        for stream in list(self.losing):
            if now - stream.told_at < RETRY and stream.src >= 0:
                continue
            if stream.lost:
                self.tell({"ev": "dropped", "run": stream.run, "stream": stream.name, "bytes": stream.lost,
                           "errno": errno.errorcode.get(stream.lost_errno)})
                stream.told_at, stream.lost, stream.lost_errno = now, 0, 0
            else:
                self.losing.discard(stream)

    def finish(self, stream: Stream) -> None:
        """Nobody can write any more and nothing is left."""
        del self.streams[stream.src]
        self.poll.unregister(stream.src)
        self.report(time.monotonic() + 2 * RETRY)
        stream.close()
        self.tell({"ev": "drained", "run": stream.run, "stream": stream.name})
