"""Move output from FIFOs to files inside the kernel, so that killing the keeper loses and doubles no byte.
splice(2) takes bytes out of the pipe only when they are in the file; nothing sits in our memory. The offset is
ours (splice refuses O_APPEND), so a successor continues at fstat's size. One thread: a stream gets TURN bytes before
the next one's turn; a write that the disk blocks delays all, for all logs share that disk. Tests: test_pump.py.
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
from collections import deque

from midwatch.keeper.wire import TYPE_CHECKING, Frame

if TYPE_CHECKING:
    from typing import Any

TURN = 1 << 20
WIDER = {1 << 16: 1 << 18, 1 << 18: 1 << 20}  # a pipe found full twice in FULL_AGAIN seconds gets the next size
FULL_AGAIN, RETRY, INDEX_EVERY = 10.0, 1.0, 1.0  # s; RETRY: a full disk is tried, and told of, once a second
SMALL, NAP = 4096, 0.001  # a round that moved less waits a moment: a wake-up a line costs more than it brings
SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR)  # ours, not the disk's: bytes wait in the pipe
NEVER = 1 << 62
CREATE = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
FIONREAD = 0x4004667F if sys.platform == "darwin" else 0x541B
while (NULL := os.open("/dev/null", os.O_RDWR)) < 3:  # a closed stdin, stdout or stderr is filled first
    os.set_inheritable(NULL, True)


def pipe_allowance() -> int:
    """A quarter of the user's soft allowance: beyond all of it every new pipe of that user shrinks to 8 KiB."""
    try:
        with open("/proc/sys/fs/pipe-user-pages-soft", "rb", 0) as f:
            return int(f.read()) * os.sysconf("SC_PAGE_SIZE") // 4 or NEVER
    except OSError:
        return 0


class Stream:
    """One FIFO (or a terminal: no fifo) and the file its bytes go to."""

    def __init__(self, ask: Frame, name: str, src: int, fifo: str = "") -> None:
        self.run, self.name, self.src, self.fifo = ask["run"], name, src, fifo
        self.limit = ask["streams"][name].get("limit") or NEVER
        self.discard, self.copies = False, not fifo or not hasattr(os, "splice")
        self.size = 0 if self.copies else fcntl.fcntl(src, fcntl.F_GETPIPE_SZ)
        self.full_at = self.told_at = -FULL_AGAIN
        self.lost = self.lost_errno = 0
        self.log, self.fd, self.offset, self.indexed_at, self.retry_at = ask["streams"][name]["log"], -1, 0, 0.0, 0.0

    def open(self) -> None:
        """Continue the log where it ends. At the first byte: a service that says nothing costs no file."""
        try:
            self.fd = os.open(self.log, CREATE, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.log), 0o700)
            self.fd = os.open(self.log, CREATE, 0o600)
        self.offset, self.indexed_at = os.fstat(self.fd).st_size, 0.0

    def message(self, event: str, **more: object) -> Frame:
        return {"ev": event, "run": self.run, "stream": self.name, **more}

    def rotate(self) -> Frame:
        """Go on to the file after the full one, which is closed first: no spare descriptor is needed."""
        full = self.log
        head, number, tail = full.rsplit(".", 2)
        os.close(self.fd)
        self.fd, self.log, self.offset = -1, f"{head}.{int(number) + 1}.{tail}", 0
        return self.message("rotated", closed=full, path=self.log)

    def index(self, offset: int) -> None:
        """Note at which offset this moment begins; whole entries only, and never worth an error."""
        try:
            with open(os.open(self.log + ".idx", CREATE, 0o600), "wb", 0) as f:
                os.pwrite(f.fileno(), struct.pack("<Qd", offset, time.time()), os.fstat(f.fileno()).st_size // 16 * 16)
        except OSError:
            pass

    def move(self, count: int, offset: int | None) -> int:
        """Move up to count bytes to the file, or away (offset None); 0 = every writer is gone."""
        if not self.copies:
            to = NULL if offset is None else self.fd
            return os.splice(self.src, to, count, offset_dst=offset, flags=os.SPLICE_F_NONBLOCK)
        try:
            data = os.read(self.src, min(count, 1 << 16))
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
        for fd in (self.src, self.fd):
            if fd >= 0:
                os.close(fd)
        self.src = self.fd = -1
        try:
            os.unlink(self.fifo)
        except OSError:
            pass


class Pump:
    """All streams and the thread that serves them; messages wait in `said`, a byte to `waker` tells of them."""

    def __init__(self, waker: int) -> None:
        self.waker, self.said = waker, deque[Frame]()
        self.streams: dict[int, Stream] = {}
        self.losing: set[Stream] = set()
        self.allowance = pipe_allowance()
        self.poll: Any = select.epoll() if hasattr(select, "epoll") else select.poll()

    def tell(self, message: Frame) -> None:
        self.said.append(message)
        try:
            os.write(self.waker, b"\0")
        except BlockingIOError:
            pass

    def add(self, stream: Stream) -> None:
        self.streams[stream.src] = stream
        self.poll.register(stream.src, select.POLLIN)

    def idle(self) -> bool:
        try:
            return not any(any(fcntl.ioctl(fd, FIONREAD, b"\0" * 4)) for fd in list(self.streams))
        except OSError:
            return False

    def serve(self) -> None:
        """The thread: signals are the main thread's, and nothing may end this loop."""
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
        while True:
            try:
                self.round()
            except Exception:  # noqa: BLE001
                sys.excepthook(*sys.exc_info())
                time.sleep(0.1)

    def round(self) -> None:
        wait = (RETRY if self.losing else None) if hasattr(select, "epoll") else 50  # poll(2) does not see new streams
        ready = self.poll.poll(wait)
        if not any(event & select.POLLIN for _, event in ready):
            time.sleep(NAP)  # only ends: the main thread is about to say how, and needs the interpreter first
        moved = sum(self.turn(self.streams[fd]) for fd, _ in ready if fd in self.streams)
        if ready and moved < SMALL:
            time.sleep(NAP)
        self.report(time.monotonic())

    def turn(self, stream: Stream) -> int:
        """Move at most TURN bytes of one stream; never raises for what a disk or a pipe can do."""
        now, moved = time.monotonic(), 0
        while moved < TURN:
            try:
                if stream.discard or now < stream.retry_at:
                    n = stream.move(TURN, None)
                    stream.lost += n
                else:
                    if stream.offset >= stream.limit:
                        self.tell(stream.rotate())
                    if stream.fd < 0:
                        stream.open()
                    n = stream.move(min(TURN, stream.limit - stream.offset), stream.offset)
                    if n and now - stream.indexed_at >= INDEX_EVERY:
                        stream.index(stream.offset)
                        stream.indexed_at = now
                    stream.offset += n
            except BlockingIOError:
                break
            except OSError as e:
                if e.errno in SCARCE:
                    time.sleep(20 * NAP)
                    break
                if e.errno == errno.EINVAL and not stream.copies:  # a file system without splice
                    stream.copies = True
                    self.tell(stream.message("degraded", errno="EINVAL"))
                else:  # thrown away until the next try: a full disk must not block the service
                    stream.lost_errno, stream.retry_at = e.errno or errno.EIO, now + RETRY
                continue
            if stream.lost:
                self.losing.add(stream)
            if n == 0:
                self.finish(stream)
                break
            moved += n
            if n * 2 >= stream.size and stream.size in WIDER:  # half: short writes leave their pages unfilled
                self.widen(stream, time.monotonic())
        return moved

    def widen(self, stream: Stream, now: float) -> None:
        again, stream.full_at = now - stream.full_at < FULL_AGAIN, now
        wanted = WIDER[stream.size]
        if again and sum(s.size for s in list(self.streams.values())) - stream.size + wanted <= self.allowance:
            try:
                stream.size = fcntl.fcntl(stream.src, fcntl.F_SETPIPE_SZ, wanted)
            except OSError:
                stream.size = 0  # refused: not asked again

    def report(self, now: float) -> None:
        """Say what was thrown away, at most once a second for each stream."""
        for stream in list(self.losing):
            if stream.lost and now - stream.told_at >= RETRY:
                name = errno.errorcode.get(stream.lost_errno)
                self.tell(stream.message("dropped", bytes=stream.lost, errno=name))
                stream.told_at, stream.lost, stream.lost_errno = now, 0, 0
            elif not stream.lost and now - stream.told_at >= RETRY:
                self.losing.discard(stream)

    def finish(self, stream: Stream) -> None:
        """Nobody can write any more and nothing is left."""
        if self.streams.pop(stream.src, None):
            self.poll.unregister(stream.src)
        self.report(NEVER)
        self.losing.discard(stream)
        stream.close()
        self.tell(stream.message("drained"))
