"""Packs one rotated log file: `x.log` -> `x.log.gz`, its times kept; at every moment one complete copy is
there.

Also a program of its own (`python -I -S compress_helper.py PATH`), because gzip belongs in a helper of the
lowest priority: the standard library only, nothing of ours. Exit code 0 done, 1 could not (words on stderr,
nothing changed). Must not choose the file. Tests: tests/record/test_logs_bounds.py.
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import sys

CHUNK = 1 << 18
LEVEL = 6
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def compress(path: str) -> str:
    """Returns the new path. Raises OSError; also EBUSY when the file grew meanwhile. Nothing is changed
    then.
    """
    target = path + ".gz"
    temporary = target + ".tmp"
    _remove(temporary)  # of an interrupted try
    with os.fdopen(os.open(path, _READ), "rb") as source:
        try:
            with os.fdopen(os.open(temporary, _FRESH, 0o600), "wb") as raw:
                info = os.fstat(source.fileno())
                with gzip.GzipFile("", "wb", LEVEL, raw, info.st_mtime) as packed:
                    shutil.copyfileobj(source, packed, CHUNK)
                raw.flush()
                os.fsync(raw.fileno())
                os.utime(raw.fileno(), ns=(info.st_atime_ns, info.st_mtime_ns))
            if os.fstat(source.fileno()).st_size != source.tell() or source.tell() < info.st_size:
                raise OSError(errno.EBUSY, "still being written", path)
            os.rename(temporary, target)
        except BaseException:
            _remove(temporary)
            raise
    _remove(path)
    return target


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def main(argv: list[str]) -> int:
    """The program."""
    if len(argv) != 2:
        sys.stderr.write("usage: compress_helper.py PATH\n")
        return 2
    os.nice(19)
    try:
        compress(argv[1])
    except OSError as error:
        sys.stderr.write(f"{argv[1]}: {error.strerror or error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
