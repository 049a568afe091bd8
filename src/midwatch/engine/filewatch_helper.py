"""Follows files for all services in a process of its own: the library costs 6 MB, which the engine shall not pay.

Reads JSON lines on stdin, each the whole wish: {"watch": [{"id", "paths", "ignore", "debounce"}], "never": [folders],
"home": folder, "most": s, "roots": s, "poll": s, "named": n}. Writes JSON lines: {"changed": id, "paths": [...],
"count": n} once a service's files were quiet for its debounce (or after `most` seconds of changes without a pause),
{"watching": n, "polling": bool}, {"warning": words}. Ends with its stdin, so it never outlives the engine.

watchfiles reports what happens inside folders. So a file is followed through its folder (an editor's save replaces
it), a symbolic link also through what it leads to, and a path that is not there through the nearest folder that is;
a stat of every path, each `roots` seconds and after each change, sees what comes, goes and is replaced. Without
inotify (no watches or instances left) it polls, and says so. Must not import anything of midwatch.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import select
import stat
import sys
import time
from typing import Any

STEP = 0.25  # s between two looks into the library's queue (it has no wait that can be ended): 0.06 s of CPU a minute
LEAST_STEP = 0.05
MAGIC = re.compile(r"[*?\[]")
MOST_PENDING = 10_000  # paths kept of one service until it is told; the rest is counted


class Root:
    """A folder to hand to the library, and whether with everything below."""

    def __init__(self) -> None:
        self.deep: set[str] = set()
        self.flat: set[str] = set()


class Target:
    """One path of a service, as it stands on the disk now."""

    def __init__(self, path: str) -> None:
        self.path = path
        base, magic = path, ""
        while MAGIC.search(base):
            base, _, last = base.rpartition("/")
            magic = f"{last}/{magic}" if magic else last
        self.base = base or "/"
        self.pattern = re.compile(_translated(magic)) if magic else None
        self.deep_pattern = "/" in magic or "**" in magic
        self.seen: tuple[str, Any, Any] = ("missing", None, None)
        self.real = ""

    def look(self) -> tuple[str, Any, Any]:
        """Kind, through what it is followed, and what it is by now."""
        self.real = os.path.realpath(self.base)
        try:
            found = os.stat(self.base)
        except OSError:
            return ("missing", _mark(_nearest(self.base)), None)
        if stat.S_ISDIR(found.st_mode):
            return ("folder", _mark(self.real), (found.st_dev, found.st_ino))
        through = (_mark(_folder(self.real)), _mark(_folder(self.base)))
        return ("file", through, (self.real, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))

    def add_to(self, root: Root) -> None:
        """The folders through which it is followed."""
        folder = self.seen[0] == "folder"
        if folder and (self.pattern is None or self.deep_pattern):
            root.deep.add(self.real)
        elif folder:
            root.flat.add(self.real)
        elif self.seen[0] == "file":
            root.flat |= {_folder(self.real), os.path.realpath(_folder(self.base))}
        else:
            root.flat.add(os.path.realpath(_nearest(self.base)))

    def below(self, event: str) -> str | None:
        """The path of an event relative to this target ("" for the file itself); None: not of this target."""
        if self.seen[0] == "file":
            own = os.path.join(os.path.realpath(_folder(self.base)), os.path.basename(self.base))
            return "" if event in (self.real, self.base, own) else None
        for base in (self.real, self.base):
            if event.startswith(base.rstrip("/") + "/"):
                rest = event[len(base.rstrip("/")) + 1 :]
                return rest if self.pattern is None or self.pattern.fullmatch(rest) else None
        return None


class Service:
    """What one service wants to hear of, and what has changed since it was told."""

    def __init__(self, wish: dict[str, Any]) -> None:
        self.wish = wish
        self.id: str = wish["id"]
        self.debounce: float = wish["debounce"]
        self.targets = [Target(path) for path in wish["paths"]]
        names = [one for one in wish["ignore"] if "/" not in one]
        paths = [one for one in wish["ignore"] if "/" in one]
        self.ignore_names = [re.compile(fnmatch.translate(name)) for name in names]
        self.ignore_paths = [re.compile(_translated(path) + "(/.*)?") for path in paths]
        self.changed: dict[str, None] = {}
        self.more = 0
        self.first = self.last = 0.0

    def look(self, first: bool = False) -> bool:
        """Stat everything; what is another one now has changed. True: other folders have to be watched."""
        moved = False
        for target in self.targets:
            before, target.seen = target.seen, target.look()
            if (target.seen[0], target.seen[2]) != (before[0], before[2]) and not first:
                self.add(target.base)
            moved = moved or target.seen[:2] != before[:2]
        return moved

    def offer(self, event: str, usual: Any) -> None:
        """An event of the library: is it ours?"""
        for target in self.targets:
            rest = target.below(event)
            if rest is not None and (rest == "" or self._counts(event, rest, usual)):
                self.add(os.path.join(target.base, rest) if rest else target.path)
                return

    def _counts(self, event: str, rest: str, usual: Any) -> bool:
        parts = rest.split("/")
        if any(pattern.fullmatch(part) for pattern in self.ignore_names for part in parts):
            return False
        return not any(pattern.fullmatch(event) for pattern in self.ignore_paths) and bool(usual(None, "/" + rest))

    def add(self, path: str) -> None:
        now = time.monotonic()
        if not self.changed:
            self.first = now
        self.last = now
        if path not in self.changed and len(self.changed) >= MOST_PENDING:
            self.more += 1
        else:
            self.changed[path] = None

    def due(self, most: float) -> float | None:
        """When it is to be told; None: nothing has changed."""
        return min(self.last + self.debounce, self.first + most) if self.changed else None

    def tell(self, named: int) -> dict[str, Any]:
        count = len(self.changed) + self.more
        paths = [path[-500:].encode("utf-8", "replace").decode() for path in list(self.changed)[:named]]
        self.changed.clear()
        self.more = 0
        return {"changed": self.id, "paths": paths, "count": count}


class Watching:
    """The library's watchers for all services: one for whole trees, one for single folders."""

    def __init__(self, usual: Any) -> None:
        self.usual = usual  # says of a path whether it is of the usual kind that does not count
        self.services: dict[str, Service] = {}
        self.limits: dict[str, Any] = {"most": 10.0, "roots": 2.0, "poll": 1.0, "named": 10}
        self.never: tuple[str, ...] = ()  # what midwatch itself writes: folders, and files right in `home`
        self.home = ""
        self.roots: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        self.notifiers: list[Any] = []
        self.polling = False
        self.look_at = 0.0
        self.again_at: float | None = None  # a folder is new: the library does not say when it has no watch left for it

    def wish(self, wish: dict[str, Any]) -> None:
        """The engine wants this from now on; what has not changed goes on as it was."""
        self.limits.update({name: wish[name] for name in self.limits if name in wish})
        self.never = tuple(os.path.realpath(path).rstrip("/") + "/" for path in wish["never"])
        self.home = os.path.realpath(wish["home"])
        old, self.services = self.services, {}
        for one in wish["watch"]:
            known = old.get(one["id"])
            if known is None or known.wish != one:
                known = Service(one)
                known.look(first=True)
            self.services[one["id"]] = known
        self.renew()
        say({"watching": len(self.roots[0]) + len(self.roots[1]), "polling": self.polling})

    def look(self) -> None:
        """What the library cannot see: paths that come, go, and are replaced together with their folder."""
        self.look_at = time.monotonic() + self.limits["roots"]
        moved = [service.look() for service in self.services.values()]
        if any(moved):
            self.renew(force=True)

    def renew(self, force: bool = False) -> None:
        """Watch the folders that are to be watched now; the new watchers are there before the old ones go."""
        root = Root()
        for service in self.services.values():
            for target in service.targets:
                target.add_to(root)
        deep = frozenset(path for path in root.deep if not any(_inside(path, other) for other in root.deep))
        flat = frozenset(path for path in root.flat if not any(_inside(path, other) or path == other for other in deep))
        if (deep, flat) == self.roots and not force:
            return
        self.roots = (deep, flat)
        fresh = [one for one in (self.open(deep, True), self.open(flat, False)) if one is not None]
        old, self.notifiers = self.notifiers, fresh
        for notifier in old:
            self.drain(notifier)
            notifier.close()

    def open(self, paths: frozenset[str], recursive: bool, lenient: bool = False) -> Any:
        """A watcher of the library, by inotify or, where that is not to be had, by looking.

        `lenient`: folders that cannot be watched are left out, whatever the reason; else any is an error.
        """
        from watchfiles import watch

        if not paths:
            return None
        names = ", ".join(sorted(paths))[:200]
        try:
            made = watch(
                *sorted(paths), watch_filter=None, debounce=1, step=1, rust_timeout=1, yield_on_timeout=True,
                raise_interrupt=False, force_polling=self.polling, poll_delay_ms=int(self.limits["poll"] * 1000),
                recursive=recursive, ignore_permission_denied=lenient or self.polling,
            )  # fmt: skip
            next(made)  # the watches are made with the first look
        except Exception as error:  # noqa: BLE001  the library has errors of its own for a full table
            if self.polling or lenient:
                say({"warning": f"cannot follow {names}: {error}"})
                return None
            if isinstance(error, FileNotFoundError):  # gone while it was being looked through
                return self.open(paths, recursive, lenient=True)
            if isinstance(error, PermissionError):
                say({"warning": f"not everything below {names} is followed: {str(error)[:200]}"})
                return self.open(paths, recursive, lenient=True)
            self.polling = True
            say({"warning": shortage(error, self.limits["poll"])})
            return self.open(paths, recursive)
        return made

    def drain(self, notifier: Any) -> bool:
        """What one watcher has seen; returns at once."""
        try:
            found = next(notifier, ())
        except Exception as error:  # noqa: BLE001  new folders found no place in inotify's table
            if self.polling:
                say({"warning": f"a watcher gave up: {error}; the paths themselves are still looked at"})
                self.notifiers.remove(notifier)
                return False
            say({"warning": shortage(error, self.limits["poll"])})
            self.polling = True
            self.renew(force=True)
            return True
        events = {path for _, path in found}
        if self.again_at is None and any(what == 1 and os.path.isdir(path) for what, path in found):
            self.again_at = time.monotonic() + self.limits["roots"]
        for event in events:
            if not event.startswith(self.never) and _folder(event) != self.home:
                for service in self.services.values():
                    service.offer(event, self.usual)
        return bool(events)

    def step(self) -> float | None:
        """How long nobody has to look: half of the shortest debounce; None: for ever."""
        shortest = min((service.debounce for service in self.services.values()), default=None)
        return None if shortest is None else max(LEAST_STEP, min(STEP, shortest / 2))

    def turn(self) -> None:
        """What has happened since the last turn, and who is to be told."""
        happened = [self.drain(notifier) for notifier in list(self.notifiers)]
        if any(happened) or time.monotonic() >= self.look_at:
            self.look()
        now = time.monotonic()
        if self.again_at is not None and now >= self.again_at:
            self.again_at = None
            self.renew(force=not self.polling)
        for service in self.services.values():
            due = service.due(self.limits["most"])
            if due is not None and now >= due:
                say(service.tell(self.limits["named"]))


def shortage(error: Exception, every: float) -> str:
    """Why inotify refuses, and what to do."""
    text = str(error)
    knob = "max_user_instances" if "Too many open files" in text or "os error 24" in text else "max_user_watches"
    return (
        f"no inotify watches left ({text[:200]}): files are looked at every {every:g} s instead, which costs more; "
        f"raise fs.inotify.{knob} (sysctl), or watch fewer folders"
    )


def say(line: dict[str, Any]) -> None:
    """One line to the engine; when it is gone, so are we."""
    data = json.dumps(line).encode() + b"\n"
    try:
        while data:
            data = data[os.write(1, data) :]
    except BrokenPipeError:
        raise SystemExit(0) from None


def _translated(pattern: str) -> str:
    """A path pattern: * and ? stop at a slash, ** does not."""
    found = ""
    for piece in re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]/]+\])", pattern):
        known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(piece)
        if known is None:
            bracket = piece.startswith("[") and piece.endswith("]")
            known = ("[^" + piece[2:] if piece[1:2] == "!" else piece) if bracket else re.escape(piece)
        found += known
    return found


def _mark(folder: str) -> tuple[Any, ...]:
    """Changes when another folder stands there."""
    real = os.path.realpath(folder)
    try:
        found = os.stat(real)
    except OSError:
        return (real,)
    return (real, found.st_dev, found.st_ino)


def _folder(path: str) -> str:
    return os.path.dirname(path) or "/"


def _inside(path: str, folder: str) -> bool:
    return path != folder and path.startswith(folder.rstrip("/") + "/")


def _nearest(path: str) -> str:
    while not os.path.isdir(path) and path != "/":
        path = _folder(path)
    return path


def main() -> None:
    """Until stdin ends."""
    from watchfiles import DefaultFilter

    watching = Watching(DefaultFilter())
    held = b""
    os.set_blocking(0, False)
    while True:
        select.select([0], [], [], watching.step())
        try:
            while chunk := os.read(0, 65536):
                held += chunk
            return
        except BlockingIOError:
            pass
        *lines, held = held.split(b"\n")
        if lines:
            watching.wish(json.loads(lines[-1]))
        watching.turn()


if __name__ == "__main__":
    os.nice(int(sys.argv[1]))
    sys.path[:] = sys.argv[2:]  # the engine's: where the library was found when the configuration was read
    main()
