"""Everything a look, a check or a proof reads, behind one page: this machine, or a recorded one.

`live.py` is this machine; `recorded.py` replays a folder of files (another platform's, an incident's), so that a check
runs the same code on both. Every read has a bound of bytes and of seconds (GEN-6). Must not know any check.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from midwatch.model.look import Proc

READ_BYTES = 1 << 20  # of one file or one program's output (GEN-6)
RUN_SECONDS = 5.0  # of one program


class Ran(msgspec.Struct, frozen=True):
    """What another program printed. `cut`: more than the bound; `late`: ended by us because it took too long."""

    code: int
    out: str
    err: str = ""
    cut: bool = False
    late: bool = False


class Table(msgspec.Struct, frozen=True):
    """Every process of one moment. `hidden`: how many could not be read and why, in words for a person. `whole` False:
    reading was given up, so who is not in it may be alive: nobody's parent is proven to be gone.
    """

    procs: dict[int, Proc]
    at: float  # wall clock
    hidden: tuple[str, ...] = ()
    whole: bool = True


class Sources(Protocol):
    """One machine at one moment. Paths are the machine's own, absolute."""

    @property
    def platform(self) -> Literal["linux", "darwin"]: ...

    @property
    def recorded(self) -> bool:
        """Files instead of a live machine: `source` of every result is then "file"."""

    @property
    def uid(self) -> int: ...

    @property
    def home(self) -> str: ...

    def now(self) -> float:
        """Wall clock; of the recording when it is one."""

    def table(self) -> Table:
        """Every process; taken once and kept."""

    def read(self, path: str, limit: int = READ_BYTES) -> bytes:
        """The first `limit` bytes of a file. Raises OSError; never blocks on a FIFO or a device."""

    def names(self, folder: str, limit: int = 10_000) -> list[str]:
        """What is in a folder, sorted. Raises OSError."""

    def link(self, path: str) -> str:
        """Where a symbolic link points, e.g. /proc/PID/fd/3. Raises OSError."""

    def size(self, path: str) -> tuple[int, float]:
        """Bytes and modification time of a file. Raises OSError."""

    def space(self, path: str) -> tuple[int, int, int, int]:
        """Total and free bytes, total and free inodes of the file system of `path`. Raises OSError."""

    def run(self, argv: tuple[str, ...], seconds: float = RUN_SECONDS) -> Ran:
        """Run a program that only reads, no shell, LC_ALL=C. Raises FileNotFoundError when it is not installed."""

    def sysctl(self, name: str) -> str:
        """A kernel setting by its name: /proc/sys on Linux, sysctl -n on macOS. Raises OSError."""
