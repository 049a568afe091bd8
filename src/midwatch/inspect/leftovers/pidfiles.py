"""Is a process named by a PID file? Then somebody means to find it again: a daemon, however it was started.

Looked for where such files lie: its own folder, the run-time folders, the temporary one. Must not judge. Tests:
tests/inspect/test_leftovers.py.
"""

from __future__ import annotations

from midwatch.inspect.sources import Sources

_MOST, _BYTES = 200, 32  # files of one folder, bytes of one file


class PidFiles:
    """Those of one machine; each folder is read once."""

    def __init__(self, sources: Sources) -> None:
        """Nothing is read before the first question."""
        self._sources = sources
        self._common = ("/run", f"/run/user/{sources.uid}", "/tmp", "/var/tmp", sources.home)
        self._known: dict[str, dict[str, str]] = {}

    def names(self, pid: int) -> str:
        """The path of a file that names it, or ""."""
        folders: tuple[str, ...] = self._common
        try:
            folders = (self._sources.link(f"/proc/{pid}/cwd"), *folders)
        except OSError:
            pass  # the common ones remain
        return next((path for folder in folders if (path := self._in(folder).get(str(pid)))), "")

    def _in(self, folder: str) -> dict[str, str]:
        if folder not in self._known:
            found: dict[str, str] = {}
            self._known[folder] = found
            try:
                names = [name for name in self._sources.names(folder) if name.endswith(".pid")]
            except OSError:
                return found
            for name in names[:_MOST]:
                path = f"{folder.rstrip('/')}/{name}"
                try:
                    words = self._sources.read(path, _BYTES).split()
                except OSError:
                    continue
                if words:
                    found.setdefault(words[0].decode("ascii", "replace"), path)
        return self._known[folder]
