"""The process that searches: `worker.py`, its task as one JSON object on stdin, what it finds as JSON lines on stdout.

Standard library only, started with -I -S. It limits itself in processor time and memory before it reads anything; its
parent ends it when it does not keep its time. A pattern that explodes is interrupted by a timer, and what was found by
then is the answer. Lines: {"path"} before the first match in a file, [line, offset, column, excerpt], at last {"end"}.
Must not be imported by the parent. Tests: tests/system/test_search_worker.py.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sys
import time
from json.encoder import encode_basestring_ascii
from types import ModuleType
from typing import Any, NoReturn

_READ = 262_144
_BINARY_LOOK = 8192


def _lone() -> None:
    """Let our modules be imported without anything that stands in their packages' __init__."""
    folder = os.path.dirname(os.path.abspath(__file__))
    for depth, name in enumerate(("midwatch.bounded.search", "midwatch.bounded", "midwatch")):
        package = ModuleType(name)
        package.__path__ = [folder.rsplit(os.sep, depth)[0]]
        sys.modules[name] = package


_lone()
from midwatch.bounded.search.match import Pattern, Scanner  # noqa: E402
from midwatch.bounded.search.walk import Enough, Walk  # noqa: E402


class Worker:
    """One task."""

    def __init__(self, task: dict[str, Any]) -> None:
        self._task = task
        self._matches = self._bytes = self._binary = 0
        self._path: str | None = None
        self._told: str | None = None
        self._until = time.monotonic() + task["wall"]
        self._out: list[str] = []
        self._held = 0
        self._pushed = time.monotonic()
        self._walk: Walk | None = None

    def run(self) -> None:
        """Search; say how it ended."""
        why = ""
        try:
            pattern = Pattern(self._task["pattern"], regex=self._task["regex"], ignore_case=self._task["ignore_case"])
            self._arm(pattern)
            if "fd" in self._task:
                self._scanner = Scanner(pattern, self._found, self._guard)
                self._spool()
            else:
                self._scanner = Scanner(pattern, self._found, self._guard, self._again)
                self._tree()
        except re.error as error:
            why = f"bad pattern: {error}"
        except (Enough, MemoryError, RecursionError) as error:
            why = str(error) or "the pattern needs too much memory"
        except OSError as error:
            why = f"cannot be searched: {error.strerror}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        self._say({"end": why, "matches": self._matches, "bytes": self._bytes, **self._walked()})
        self._push()

    def _arm(self, pattern: Pattern) -> None:
        """The regular expression machine looks for signals; a text cannot take long."""
        self._cpu = 0.0 if pattern.plain else self._task["cpu"]
        signal.signal(signal.SIGPROF, self._exploded)
        signal.setitimer(signal.ITIMER_PROF, self._cpu)

    def _exploded(self, *_: object) -> NoReturn:
        raise Enough(f"stopped after {self._task['cpu']:g} s of processor time: the pattern explodes on this text")

    def _guard(self) -> None:
        """Before each window: in a tree its time begins anew, a spool has one time for all of it."""
        if self._cpu and self._walk is not None:
            signal.setitimer(signal.ITIMER_PROF, self._cpu)
        if time.monotonic() > self._until:
            raise Enough(f"stopped after {self._task['wall']:g} s")

    def _spool(self) -> None:
        going, behind = True, -1
        for place, size, offset, lines in self._task["layout"]:
            if offset != behind:
                going = going and (behind < 0 or self._scanner.end())
                self._scanner.begin(offset, lines)
            done = 0
            while going and done < size:
                data = os.pread(self._task["fd"], min(_READ, size - done), place + done)
                if not data:
                    break
                done += len(data)
                self._bytes += len(data)
                going = self._scanner.feed(data)
            behind = offset + size
        if going and behind >= 0:
            self._scanner.end()

    def _tree(self) -> None:
        task = self._task
        self._walk = Walk(
            os.fsdecode(task["root"].encode("latin-1")), own=[(one[0], one[1]) for one in task["own"]],
            big=task["big"], stream=task["stream"],
            most=task["files"], include=task["include"], exclude=task["exclude"],
        )  # fmt: skip
        for path, fd, size in self._walk.each():
            self._path = path
            try:
                self._file(fd, size)
            except OSError as error:
                self._walk.skipped.add(f"unreadable ({error.strerror})", path)

    def _again(self, begin: int, end: int) -> bytes:
        return os.pread(self._fd, min(_READ, end - begin), begin)

    def _file(self, fd: int, size: int) -> None:
        """No more than it had when it was opened: a log that we write ourselves would have no end."""
        self._fd = fd
        self._scanner.begin(0, 0)
        done = 0
        while done < size:
            data = os.read(fd, min(_READ, size - done))
            if not done and data.find(b"\0", 0, _BINARY_LOOK) >= 0:
                assert self._walk is not None
                self._walk.skipped.add("binary", self._path or "")
                return
            if not data:
                break
            done += len(data)
            self._bytes += len(data)
            self._scanner.feed(data)
        self._scanner.end()

    def _found(self, line: int, offset: int, column: int, excerpt: bytes) -> bool:
        if self._path is not None and self._path != self._told:
            self._told = self._path
            self._say({"path": _sayable(self._path)})
        self._matches += 1
        self._put(f"[{line},{offset},{column},{encode_basestring_ascii(excerpt.decode('latin-1'))}]")
        if self._matches >= self._task["most"]:
            raise Enough(f"stopped at {self._matches:,} matches")
        return True

    def _say(self, value: object) -> None:
        self._put(json.dumps(value))

    def _put(self, text: str) -> None:
        self._out.append(text)
        self._held += len(text)
        if self._held > 32_768 or time.monotonic() - self._pushed > 0.1:
            self._push()

    def _push(self) -> None:
        data = memoryview("".join(f"{text}\n" for text in self._out).encode())
        while data:
            data = data[os.write(1, data) :]
        self._out, self._held, self._pushed = [], 0, time.monotonic()

    def _walked(self) -> dict[str, Any]:
        if self._walk is None:
            return {}
        reasons = self._walk.skipped.reasons.items()
        skipped = [[reason, count, [_sayable(path) for path in paths]] for reason, (count, paths) in reasons]
        return {"files": self._walk.files, "folders": self._walk.folders, "skipped": skipped}


def _sayable(path: str) -> str:
    """A path in JSON, whatever its bytes are."""
    return os.fsencode(path).decode("latin-1")


def main() -> None:
    """Read the task, take the limits, search."""
    task = json.loads(sys.stdin.buffer.readline())
    cpu = int(task["cpu_most"]) + 1
    for limit, value in ((resource.RLIMIT_CPU, cpu), (resource.RLIMIT_AS, task["memory"]), (resource.RLIMIT_CORE, 0)):
        try:
            resource.setrlimit(limit, (value, value))
        except (OSError, ValueError):
            continue  # a lower one is in force, or this system does not know it
    Worker(task).run()


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        os._exit(1)
