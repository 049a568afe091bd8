"""Who holds the other end: as the kernel of this machine says it of real pipes, sockets and terminals."""

from __future__ import annotations

import os
import pty
import socket
import struct
import sys

import pytest

from midwatch.inspect.leftovers.ends import Blind, Fd, Kernel, Unix, descriptors, messages, reads, state
from midwatch.inspect.sources.live import Live

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc")
ME = os.getpid()


@linux
def test_pipes() -> None:
    """Both sides, alone and not; asking takes no byte and closes nothing."""
    reader, writer = os.pipe()
    kernel = Kernel()
    assert kernel.alone(ME, reader, True) is False
    assert kernel.alone(ME, writer, False) is False
    os.write(writer, b"x")
    assert kernel.alone(ME, reader, True) is False
    os.close(writer)
    assert kernel.alone(ME, reader, True) is True
    assert os.read(reader, 10) == b"x"
    os.close(reader)
    reader, writer = os.pipe()
    os.close(reader)
    assert kernel.alone(ME, writer, False) is True
    os.close(writer)
    assert kernel.alone(ME, 9999, True) is None


@linux
def test_unix_sockets() -> None:
    """The peer's inode, 0 when it is gone."""
    one, two = socket.socketpair()
    inode = Fd(one.fileno(), os.readlink(f"/proc/self/fd/{one.fileno()}")).inode
    known = Kernel().unix()
    if known is None:
        pytest.skip("sock_diag is not answered here")
    assert known[inode].peer == os.stat(two.fileno()).st_ino
    two.close()
    after = Kernel().unix()
    assert after is not None
    assert after[inode].peer == 0
    one.close()


@linux
def test_the_states_of_a_stream() -> None:
    """Each kind of standard stream."""
    sources, kernel = Live(), Kernel()

    def told(fd: int) -> str:
        return state(sources, kernel, ME, Fd(fd, os.readlink(f"/proc/self/fd/{fd}")))

    reader, writer = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    file = os.open(__file__, os.O_RDONLY)
    master, slave = pty.openpty()
    assert [told(fd) for fd in (reader, writer, null, file, slave)] == [
        "live",
        "live",
        "null",
        "file",
        "terminal",
    ]
    os.close(writer)
    os.close(master)
    assert told(reader) == "broken"
    assert told(slave) == "dead terminal"
    assert state(sources, Blind(), ME, Fd(reader, os.readlink(f"/proc/self/fd/{reader}"))) == "unknown"
    assert state(sources, kernel, ME, None) == "closed"
    assert reads(sources, ME, reader) is True
    assert reads(sources, ME, null) is None
    for fd in (reader, null, file, slave):
        os.close(fd)


@linux
def test_descriptors_of_somebody_who_is_gone() -> None:
    """None, not an empty list."""
    assert descriptors(Live(), 4_000_000) is None


@pytest.mark.parametrize("data", [b"", b"\x00" * 16, b"\x10" + bytes(15), os.urandom(0)])
def test_torn_answers_end_or_raise(data: bytes) -> None:
    """Nothing that the kernel would not send makes it loop."""
    found: dict[int, Unix] = {}
    try:
        messages(data, found)
    except OSError:
        pass
    assert found == {}


def test_an_answer_is_read() -> None:
    """struct unix_diag_msg with a peer attribute."""
    body = struct.pack("=BBBBI8x", 1, 1, 1, 0, 77) + struct.pack("=HHI", 8, 2, 78)
    found: dict[int, Unix] = {}
    assert messages(struct.pack("=IHHII", 16 + len(body), 20, 0, 1, 0) + body, found)
    assert found == {77: Unix(False, 78)}
    assert not messages(struct.pack("=IHHII", 16, 3, 0, 1, 0), found)
