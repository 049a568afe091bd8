"""Move output from FIFOs to files inside the kernel, so that killing the keeper loses and doubles no byte.

splice(2) takes bytes out of a pipe only when they are in the file: nothing sits in our memory ([M] 100 kills -9 at full
output, 184 MB exact; with read and write the first kill corrupted the log). It refuses O_APPEND: the offset is ours.
Terminals, macOS and file systems without splice are copied. One thread serves all streams: each gets TURN bytes before
the next one's turn; a disk that blocks delays all, for all logs share it. Must not know what a run is.
"""

from __future__ import annotations

import _thread
import errno
import fcntl
import os
import select
import signal
import stat
import struct
import sys
import time

from midwatch.keeper.wire import Frame

TURN = 1 << 20
RETRY, INDEX_EVERY = 1.0, 1.0  # s; RETRY: a full disk is tried, and what it cost is told, once a second
WIDEST, FULL_AGAIN = 1 << 20, 10.0  # bytes, s: a pipe found full twice in that time becomes four times as wide
ALLOWANCE = 16 << 20  # of all pipes: beyond four times that (Linux's default) each new one shrinks to 8 KiB [M]
SMALL, NAP = 4096, 0.001  # a round that moved less waits a moment: a wake-up a line costs more than it brings
PATIENT = (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # empty, or our lack: bytes wait in the pipe
F_GETPIPE_SZ: int = getattr(fcntl, "F_GETPIPE_SZ", 0)
CREATE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
while (NULL := os.open("/dev/null", os.O_RDWR)) < 3:  # a closed stdin, stdout or stderr is filled first
    os.set_inheritable(NULL, True)
NULL = fcntl.fcntl(NULL, fcntl.F_DUPFD_CLOEXEC, 10)  # the low numbers are reserved (spawn.py)


class Stream:
    """One FIFO, or one terminal, and the file its bytes go to."""

    def __init__(self, run: str, name: str, fifo: str, log: str, limit: int | None) -> None:
        self.run, self.name, self.fifo, self.log, self.limit = run, name, fifo, log, limit or 1 << 62
        self.src = self.fd = -1
        self.offset = self.lost = self.errno = 0
        self.size = 1 << 16  # of the pipe, as far as we know: a new one is that wide
        self.copies, self.discard = not hasattr(os, "splice"), False
        self.indexed_at = self.retry_at = 0.0
        self.full_at = -FULL_AGAIN

    def connect(self, terminal: bool) -> int:
        """Make the FIFO, or a terminal; returns the child's end."""
        if terminal:
            self.copies = True
            self.src, theirs = os.openpty()
            os.set_blocking(self.src, False)
            return theirs
        os.mkfifo(self.fifo, 0o600)
        self.src = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        return os.open(self.fifo, os.O_RDWR)  # read-write: never a SIGPIPE

    def reopen(self, owners: set[int]) -> None:
        """Take up a FIFO that outlived its reader; never a file, a link or a stranger's in its place."""
        self.src = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            found = os.fstat(self.src)
            if not stat.S_ISFIFO(found.st_mode) or found.st_uid not in owners:
                raise OSError(errno.EPERM, "not the FIFO that was made for it")
            self.size = fcntl.fcntl(self.src, F_GETPIPE_SZ) if F_GETPIPE_SZ else self.size
            os.close(os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW))  # writers were: end of file works
        except OSError:
            os.close(self.src)
            raise

    def open(self) -> None:
        """Continue the log where it ends. At the first byte: a service that says nothing costs no file."""
        os.makedirs(os.path.dirname(self.log), 0o700, exist_ok=True)
        self.fd = os.open(self.log, CREATE, 0o600)
        self.offset, self.indexed_at = os.fstat(self.fd).st_size, 0.0

    def rotate(self) -> None:
        """Go on to the file after the full one, which is closed first: no spare descriptor is needed."""
        os.close(self.fd)
        head, number, tail = self.log.rsplit(".", 2)
        self.fd, self.log, self.offset = -1, f"{head}.{int(number) + 1}.{tail}", 0

    def index(self, offset: int) -> None:
        """Note at which offset this moment begins; whole entries only, and never worth an error."""
        try:
            with open(os.open(self.log + ".idx", CREATE, 0o600), "wb", 0) as f:
                os.pwrite(f.fileno(), struct.pack("<Qd", offset, time.time()), os.fstat(f.fileno()).st_size // 16 * 16)
        except OSError:
            pass

    def move(self, *, keep: bool) -> int:
        """Move bytes to the file (keep) or away; returns how many left the pipe, 0 = every writer is gone."""
        count = min(TURN, self.limit - self.offset) if keep else TURN
        to, offset = (self.fd, self.offset) if keep else (NULL, None)
        if self.copies:
            moved = self.copy(to, count, offset or 0)
        else:
            moved = os.splice(self.src, to, count, offset_dst=offset, flags=os.SPLICE_F_NONBLOCK)
        if keep:
            self.offset += moved
        else:
            self.lost += moved
        return moved

    def copy(self, to: int, count: int, offset: int) -> int:
        """What splice does, where there is none; between its two calls a byte can be lost, and is counted."""
        try:
            data = os.read(self.src, min(count, 1 << 16))
        except OSError as e:
            if e.errno == errno.EIO:  # a terminal whose last user left
                return 0
            raise
        self.lost += len(data)
        written = os.pwrite(to, data, offset)
        self.lost -= written
        return written

    def close(self) -> None:
        for fd in (self.src, self.fd):
            if fd >= 0:
                os.close(fd)
        try:
            os.unlink(self.fifo)
        except OSError:
            pass


class Pump:
    """All streams and the thread that serves them; messages wait in `said`, a byte to `waker` tells of them."""

    def __init__(self, waker: int) -> None:
        self.waker, self.lock = waker, _thread.allocate_lock()  # held while bytes move
        self.said: list[Frame] = []
        self.streams: dict[int, Stream] = {}
        self.losing: set[Stream] = set()
        self.poll: select.epoll | select.poll = select.epoll() if hasattr(select, "epoll") else select.poll()

    def add(self, stream: Stream) -> None:
        self.streams[stream.src] = stream
        self.poll.register(stream.src, select.POLLIN)

    def tell(self, stream: Stream, event: str, **more: object) -> None:
        self.said.append({"ev": event, "run": stream.run, "stream": stream.name, **more})
        try:
            os.write(self.waker, b"\0")
        except BlockingIOError:
            pass

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
        wait = (RETRY if self.losing else None) if hasattr(select, "epoll") else 50  # poll(2) misses new streams
        ready = self.poll.poll(wait)
        if not any(event & select.POLLIN for _, event in ready):
            time.sleep(NAP)  # only ends: the main thread is about to say how, and needs the interpreter first
        with self.lock:
            moved = sum(self.turn(self.streams[fd], event) for fd, event in ready)
            now = time.monotonic()
            for stream in [s for s in self.losing if now >= s.retry_at]:
                self.settle(stream)
        if moved < SMALL:
            time.sleep(NAP)

    def turn(self, stream: Stream, event: int) -> int:
        """Move at most TURN bytes of one stream; never raises for what a disk or a pipe can do."""
        now, moved = time.monotonic(), 0
        while moved < TURN:
            try:
                n = self.step(stream, now) if event & select.POLLIN else 0
            except OSError as e:
                if e.errno == errno.EINVAL and not stream.copies:
                    stream.copies = True  # a file system without splice
                elif e.errno not in PATIENT:
                    self.lose(stream, now, e.errno or 0)
                break
            if n == 0:
                self.finish(stream)
                break
            moved += n
            if n * 2 >= stream.size and not stream.copies:  # half: short writes leave their pages unfilled
                self.widen(stream, now)
        return moved

    def step(self, stream: Stream, now: float) -> int:
        """Move one piece to the file, which is opened, rotated and indexed here, or away."""
        if stream.discard and now >= stream.retry_at:
            self.lose(stream, now, 0)
        if now < stream.retry_at:
            return stream.move(keep=False)
        while stream.fd < 0 or stream.offset >= stream.limit:
            if stream.fd >= 0:
                full = stream.log
                stream.rotate()
                self.tell(stream, "rotated", closed=full, path=stream.log)
            stream.open()
        begin = stream.offset
        moved = stream.move(keep=True)
        if moved and now - stream.indexed_at >= INDEX_EVERY:
            stream.indexed_at = now
            stream.index(begin)
        return moved

    def lose(self, stream: Stream, now: float, number: int) -> None:
        """Throw this stream's bytes away for a second: a full disk must not block the service."""
        stream.errno, stream.retry_at = number, now + RETRY
        self.settle(stream)
        self.losing.add(stream)

    def settle(self, stream: Stream) -> None:
        """Say what was thrown away."""
        self.losing.discard(stream)
        if stream.lost:
            self.tell(stream, "dropped", bytes=stream.lost, errno=errno.errorcode.get(stream.errno))
            stream.lost = 0

    def widen(self, stream: Stream, now: float) -> None:
        again, stream.full_at = now - stream.full_at < FULL_AGAIN, now
        wanted = 4 * stream.size
        if again and wanted <= WIDEST and sum(s.size for s in list(self.streams.values())) + wanted <= ALLOWANCE:
            try:
                stream.size = fcntl.fcntl(stream.src, fcntl.F_SETPIPE_SZ, wanted)
            except OSError:
                stream.size = WIDEST  # refused: not asked again

    def finish(self, stream: Stream) -> None:
        """Nobody can write any more and nothing is left."""
        self.poll.unregister(stream.src)
        del self.streams[stream.src]
        self.settle(stream)
        stream.close()
        stream.src = -1
        self.tell(stream, "drained")
