"""What the session tests run in fresh processes: `python sessions_program.py ACT PATH [WORDS]`, one line of JSON out.

Memory is the growth of VmHWM over what was resident after the mark was reset (clear_refs). Must not assert.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from midwatch import sessions

MIB = 1 << 20


def _status(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith(name))
    return int(line.split()[1]) * 1024


def grown(work: Callable[[], Any]) -> tuple[int, Any]:
    """Bytes that the process grew at most while `work` ran."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    before = _status("VmRSS")
    found = work()
    return _status("VmHWM") - before, found


class Noise:
    """So many bytes of text, never in memory as a whole."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int, /) -> bytes:
        size = min(size, self.left, 65536)
        self.left -= size
        return (b"some words of a result %12d\n" % self.left * (size // 36 + 1))[:size]


def say(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def drained(fragments: Any) -> int:
    return sum(len(part) for part in fragments)


def append(path: str, size: str) -> dict[str, Any]:
    """S23: one payload from a stream and one from memory."""
    with sessions.open(path, upkeep=False) as store:
        talk = store.create()
        talk.append("user", "x" * 100_000)
        stream, _ = grown(lambda: talk.append("tool_result", Noise(int(size)), calls="c"))
        data = bytes(int(size))
        memory, _ = grown(lambda: talk.append("tool_result", data, calls="d"))
        return {"stream": stream, "memory": memory}


def context(path: str, session: str) -> dict[str, Any]:
    """S19, S20: list, first page, assemble."""
    began = time.monotonic()
    found: dict[str, Any] = {}

    def work() -> None:
        with sessions.open(path) as store:
            page = store.list(limit=200)
            found["listed"] = len(page.sessions)
            while page.after is not None:
                page = store.list(after=page.after, limit=200)
                found["listed"] += len(page.sessions)
            talk = store.session(session)
            talk.items(limit=50)
            found["assemble"], found["bytes"] = grown(lambda: drained(talk.assemble()))

    found["grown"], _ = grown(work)
    found["seconds"] = time.monotonic() - began
    return found


def foreign(path: str) -> dict[str, Any]:
    """S55: each step by itself."""
    found: dict[str, Any] = {}
    found["open"], store = grown(lambda: sessions.foreign.open(path))
    talk = store.session("one")
    found["items"], items = grown(talk.items)
    found["count"] = len(items)
    found["assemble"], found["bytes"] = grown(lambda: drained(talk.assemble()))
    out = open(os.devnull, "wb")  # noqa: SIM115  ends with the process
    found["export"], found["exported"] = grown(lambda: talk.export(out.write))
    found["read"], page = grown(lambda: talk.read(items[-1].pos, items[-1].size - 1000))
    found["tail"] = page.text[-20:]
    return found


def writes(path: str, session: str, count: str) -> dict[str, Any]:
    """S25: so many items into one session and into one of its own; says its last position."""
    name = f"own-{os.getpid()}"
    with sessions.open(path) as store:
        own = store.create(id=name)
        both = store.session(session)
        for number in range(int(count)):
            own.append("user", str(number))
            if number % 4 == 0:
                both.append("user", f"{name} {number} " + "x" * (number % 20_000))
        return {"name": name, "wal": store.stats().wal_bytes}


def endless(path: str, what: str) -> dict[str, Any]:
    """Until it is killed: items, payloads, drafts, branches, deletions; every finished item is said on stdout
    first."""
    with sessions.open(path) as store:
        talk = store.create(id=f"w{os.getpid()}")
        number = 0
        while True:
            number += 1
            if what == "payload":
                item = talk.append("tool_result", Noise(3 * MIB + number), calls="c")
            elif what == "draft":
                with talk.draft() as draft:
                    for _ in range(40):
                        draft.add("word " * 60)
                item = talk.items(after=talk.info().last - 1)[0]
            elif what == "delete":
                store.create(id=f"d{os.getpid()}-{number}").append("user", "y" * 600_000)
                store.delete(f"d{os.getpid()}-{number}")
                store.clean()
                item = talk.append("user", "kept")
            else:
                item = talk.append("user", f"{number} " * (number % 3000))
                talk.branch(id=f"b{os.getpid()}-{number}") if number % 50 == 0 else None
            say([talk.id, item.pos, item.size])


def slow_reader(path: str, session: str, seconds: str) -> dict[str, Any]:
    """S26: reads on and on, slowly; says when it has begun."""
    with sessions.open(path) as store:
        talk = store.session(session)
        end = time.monotonic() + float(seconds)
        say({})
        reads = 0
        while time.monotonic() < end:
            for _ in talk.assemble():
                reads += 1
                time.sleep(0.02)
                if time.monotonic() > end:
                    break
        return {"reads": reads}


def cascade(path: str, folder: str) -> dict[str, Any]:
    """S17: a tool prints 2,008 matches of 20 KB; exec, store, context, a fake provider that parses what it gets."""
    from pathlib import Path

    from midwatch.bounded import run
    from midwatch.bounded.spool import Store as Spools

    found: dict[str, Any] = {}
    code = "for n in range(2008): print(f'f{n}.js:1:' + 'needle ' * 2857)"

    def work() -> None:
        spools = Spools(Path(folder), session="s")
        with sessions.open(path) as store:
            talk = store.create(id="talk")
            talk.append("user", "find needle")
            talk.append("tool_use", "{}", calls="c")
            result = run([sys.executable, "-c", code], folder=folder, session="s")
            assert result.spool is not None
            info = spools.info(result.spool)
            found.update(lines=info.lines_total, whole=info.complete, exec_text=len(result.text.encode()))
            item = talk.adopt("tool_result", spools, result.spool, calls="c")
            request = json.loads(b"".join(talk.assemble()))
            found.update(text=len(request[2]["content"].encode()), ref=item.ref in request[2]["content"])
            found["last"] = store.read(item.ref, item.size - 100_000, 40_000).text.count("needle")
            stats = store.stats()
            found["store"] = stats.file_bytes + stats.wal_bytes

    found["grown"], _ = grown(work)
    return found


def fill(path: str) -> dict[str, Any]:
    """ENOSPC: payloads until they are refused, short items until the disk is full to the last byte, then room
    again."""
    found: dict[str, Any] = {"kept": 0, "small": 0}
    ballast = f"{path}.ballast"
    with open(ballast, "wb") as file:
        file.write(bytes(2 * MIB))
    with sessions.open(path, upkeep=False) as store:
        talk = store.create(id="talk")
        try:
            while found["kept"] < 1000:
                talk.append("tool_result", Noise(700_000 + found["kept"]), calls="c")
                found["kept"] += 1
        except sessions.DiskFull as error:
            found["refused"] = str(error)
        try:
            while found["small"] < 10_000:
                talk.append("user", f"{found['small']} " * 1000)
                found["small"] += 1
        except sessions.DiskFull as error:
            found["full"] = str(error)
        found["first"] = store.read("talk/1", 0, 100).text
        found["last"] = talk.items(after=talk.info().last - 1)[0].text
        os.unlink(ballast)
        store.delete("talk")
        store.clean()
        found["again"] = store.create(id="again").append("user", "room again").pos
    return found


ACTS = {one.__name__: one for one in (append, context, foreign, writes, endless, slow_reader, cascade, fill)}

if __name__ == "__main__":
    say(ACTS[sys.argv[1]](*sys.argv[2:]))
