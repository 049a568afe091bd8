"""Where an instance of Midwatch keeps its things.

Never depends on the caller's HOME or XDG variables, which differ between cron, launchd, sudo and a shell: the home
folder comes from the password database. `MIDWATCH_HOME` names another instance with everything under it.
Must not know what the files contain.
"""

from __future__ import annotations

import os
import stat
import sys
from binascii import crc32
from pathlib import Path

from midwatch.record import place

SOCKET_PATH_MAX = 100  # bytes; AF_UNIX ends at 107 (Linux) and 103 (macOS)


class LayoutError(Exception):
    """A folder of ours cannot be used: says which, why and what to do. Exit code 78."""


class Layout:
    """The paths of one instance. Nothing is created before `ensure`."""

    def __init__(self, home: Path, runtime: Path) -> None:
        self.home = home
        self.runtime = runtime
        self.lock = home / "lock"
        self.runs = home / "runs"
        self.journal = home / "journal"
        self.history = home / "history.db"
        self.logs = home / "logs"
        self.specs = home / "specs.json"
        self.daemon_log = home / "daemon.log"
        self.beat = home / "beat"  # touched while the engine lives: since when was nobody looking?
        self.jobs = home / "jobs.json"
        self.control = runtime / "control.sock"
        self.fifos = runtime / "fifo"
        self.notify = runtime / "notify"

    @classmethod
    def default(cls) -> Layout:
        """The caller's own instance, or the one that MIDWATCH_HOME names."""
        if os.environ.get("MIDWATCH_HOME"):
            return cls.for_home(place.home())
        home = place.state_folder()
        return cls(home, _runtime_folder(home))

    @classmethod
    def for_home(cls, home: Path) -> Layout:
        """An instance with everything under `home`."""
        runtime = home / "run"
        if len(bytes(runtime)) > SOCKET_PATH_MAX - 24:
            runtime = _short_runtime(home)
        return cls(home, runtime)

    @property
    def instance(self) -> str:
        """A short name of this instance, the same for every process that uses it."""
        return _digest(self.home)[:8]

    def foreground(self, name: str) -> Layout:
        """The instance of one `midwatch run`: its own lock, journal and socket below ours."""
        home = self.home / "foreground" / name
        runtime = self.runtime / "f" / name
        if len(bytes(runtime)) > SOCKET_PATH_MAX - 24:
            runtime = _short_runtime(home)
        return Layout(home, runtime)

    def foregrounds(self) -> list[Layout]:
        """Every `midwatch run` that left a record below this instance, newest first."""
        folder = self.home / "foreground"
        try:
            names = sorted(os.scandir(folder), key=lambda e: e.stat().st_mtime, reverse=True)
        except OSError:
            return []
        return [self.foreground(e.name) for e in names if e.is_dir(follow_symlinks=False)]

    def service_logs(self, service: str) -> Path:
        """The folder of one service's output. `service` is "project/name"."""
        return self.logs / service.replace("/", ".")

    def ensure(self) -> None:
        """Make the folders, 0700 and ours. Raises LayoutError."""
        for folder in (self.home, self.runtime, self.runs, self.journal, self.logs, self.fifos, self.notify):
            _own_folder(folder)


def _runtime_folder(home: Path) -> Path:
    if os.geteuid() == 0 and sys.platform != "darwin":
        return Path("/run/midwatch")
    user = Path(f"/run/user/{os.geteuid()}")
    if user.is_dir():
        return user / "midwatch"
    return Layout.for_home(home).runtime


def _short_runtime(home: Path) -> Path:
    """A path that fits into a socket address, unique to this home and user."""
    base = Path("/run") if os.geteuid() == 0 and sys.platform != "darwin" else Path("/tmp")
    return base / f"midwatch-{os.geteuid()}-{_digest(home)}"


def _digest(home: Path) -> str:
    """A short name for a path. Not hashlib: importing it loads OpenSSL, 3 MB of the engine's 10."""
    text = bytes(home)
    return f"{crc32(text):08x}{crc32(text, len(text) + 1):08x}"


def _own_folder(folder: Path) -> None:
    try:
        for missing in reversed([part for part in (folder, *folder.parents) if not part.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)  # mkdir's own `parents` would make those 0755
        found = os.lstat(folder)
    except OSError as error:
        raise LayoutError(
            f"cannot use {folder}: {error.strerror}; free the path or set MIDWATCH_HOME to a folder of yours"
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise LayoutError(
            f"{folder} is not a folder of user {os.geteuid()}; somebody else made it: remove it or set MIDWATCH_HOME"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(0o700)
