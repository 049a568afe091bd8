"""A machine in a folder: the files, tables and program outputs of another platform's machine, or of an incident.

Layout: `platform` ("linux" | "darwin"), `now` (ISO 8601 or seconds), `uid`, `home`, `ps.txt` (F-23, any columns of ps
under their headings), `files/<absolute path>` (a link's target is the text of `<path>.link`), `run/<argv joined by "_",
"/" as "-">.txt` (first line the exit code), `sysctl.txt` ("name = value" a line), `space.json` ({path: [total, free,
inodes, free inodes]}). What is not in the folder does not exist there: FileNotFoundError, as on a machine. Must not
look at this machine. Tests: tests/inspect/test_recorded.py.
"""

from __future__ import annotations

import errno
import json
import os
from datetime import datetime
from typing import Literal, cast

from midwatch.inspect.sources import READ_BYTES, RUN_SECONDS, Ran, Table, pstable


class Recorded:
    """See sources.Sources."""

    recorded = True

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Raises OSError when the folder is no recording."""
        self._folder = os.fspath(folder)
        name = self._text("platform").strip()
        if name not in {"linux", "darwin"}:
            raise OSError(errno.EINVAL, f"platform {name!r}: must be linux or darwin", self._folder)
        self.platform = cast('Literal["linux", "darwin"]', name)
        self._table: Table | None = None

    @property
    def uid(self) -> int:
        """Whose machine it was: `uid`, else 501 on a Mac and 1000 on Linux."""
        text = self._text("uid", "").strip()
        return int(text) if text.isdigit() else 501 if self.platform == "darwin" else 1000

    @property
    def home(self) -> str:
        """`home`, else what is usual there."""
        return self._text("home", "").strip() or ("/Users/me" if self.platform == "darwin" else "/home/me")

    def now(self) -> float:
        """When it was recorded."""
        text = self._text("now").strip()
        try:
            return float(text)
        except ValueError:
            return datetime.fromisoformat(text).timestamp()

    def table(self) -> Table:
        """ps.txt; without one nobody is seen, and that is said."""
        if self._table is None:
            now = self.now()
            text = self._text("ps.txt", "")
            zone = (
                datetime.fromisoformat(self._text("now").strip()).tzinfo if "T" in self._text("now") else None
            )
            procs = pstable.parse(text, now, zone)
            self._table = Table(
                procs, now, () if text else ("the recording has no ps.txt: no process is known",)
            )
        return self._table

    def read(self, path: str, limit: int = READ_BYTES) -> bytes:
        """See sources."""
        with open(self._file(path), "rb") as file:
            return file.read(limit)

    def names(self, folder: str, limit: int = 10_000) -> list[str]:
        """See sources."""
        found = {name.removesuffix(".link").removesuffix(".size") for name in os.listdir(self._file(folder))}
        return sorted(found)[:limit]

    def link(self, path: str) -> str:
        """See sources."""
        with open(self._file(path) + ".link", encoding="utf-8") as file:
            return file.read().rstrip("\n")

    def size(self, path: str) -> tuple[int, float]:
        """See sources; the recording's own size, or `<path>.size` with "BYTES TIME" for files not worth keeping."""
        try:
            with open(self._file(path) + ".size", encoding="utf-8") as file:
                words = file.read().split()
            return int(words[0]), float(words[1]) if len(words) > 1 else self.now()
        except FileNotFoundError:
            return os.stat(self._file(path)).st_size, self.now()

    def space(self, path: str) -> tuple[int, int, int, int]:
        """See sources: of the longest known path above."""
        known = json.loads(self._text("space.json", "{}"))
        above = [one for one in known if path == one or path.startswith(one.rstrip("/") + "/")]
        if not above:
            raise FileNotFoundError(errno.ENOENT, "not recorded", path)
        total, free, inodes, left = known[max(above, key=len)]
        return total, free, inodes, left

    def run(self, argv: tuple[str, ...], seconds: float = RUN_SECONDS) -> Ran:
        """See sources. First line "late": the program hung."""
        name = "_".join(argv).replace("/", "-")
        first, _, out = self._text(f"run/{name}.txt").partition("\n")
        if first.strip() == "late":
            return Ran(-9, out[:READ_BYTES], late=True)
        return Ran(int(first), out[:READ_BYTES], cut=len(out) > READ_BYTES)

    def sysctl(self, name: str) -> str:
        """sysctl.txt, else files/proc/sys."""
        for line in self._text("sysctl.txt", "").splitlines():
            key, found, value = line.partition("=" if "=" in line else ":")
            if found and key.strip() == name:
                return value.strip()
        return self.read("/proc/sys/" + name.replace(".", "/"), 4096).decode("utf-8", "replace").strip()

    def _file(self, path: str) -> str:
        return os.path.join(self._folder, "files", os.path.normpath("/" + path).lstrip("/"))

    def _text(self, name: str, missing: str | None = None) -> str:
        try:
            with open(os.path.join(self._folder, name), encoding="utf-8", errors="replace") as file:
                return file.read(8 * READ_BYTES)
        except FileNotFoundError:
            if missing is None:
                raise
            return missing
