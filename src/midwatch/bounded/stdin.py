"""What a command reads: nothing, a descriptor of the caller's, or bytes that it gave us.

Bytes go into an unnamed file, so that nobody has to feed a pipe: a command that does not read cannot block us. Must
not keep a copy of them. Tests: tests/system/test_bounded_ends.py.
"""

from __future__ import annotations

import os
from typing import IO, Self

from midwatch.record.files import write_all


class Stdin:
    """`fd` None: /dev/null."""

    def __init__(self, given: str | bytes | int | IO[bytes] | None) -> None:
        self.fd: int | None = None
        self._ours = isinstance(given, str | bytes)
        if isinstance(given, str):
            given = given.encode()
        if isinstance(given, bytes):
            self.fd = _file(given)
        elif isinstance(given, int):
            self.fd = given
        elif given is not None:
            self.fd = given.fileno()
        if self.fd is not None:
            self._check(self.fd)

    @staticmethod
    def _check(fd: int) -> None:
        """Before we open anything: a number that is closed now could be one of our pipes a moment later."""
        try:
            os.fstat(fd)
        except OSError:
            raise ValueError(f"stdin is descriptor {fd}, which is not open") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours and self.fd is not None:
            os.close(self.fd)
            self.fd = None


def _file(data: bytes) -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("midwatch-stdin")
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        write_all(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
    except OSError:
        os.close(fd)
        raise
    return fd
