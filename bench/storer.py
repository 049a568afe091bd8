"""The program behind measures/sessions.py: one act on a session store, in a process of its own, measured from inside.

    storer.py build PATH | append PATH | bare PATH | full PATH | opened PATH | assemble PATH | branch PATH | deltas PATH
              | original PATH | shrink PATH

Prints JSON: samples in ms and bytes; `written` is what was passed to write calls (wchar); growth is VmHWM after a
reset. `bare` is a loop of the same commits in plain sqlite3, `original` docker-agent's way as read in its sources. Must
not know the goals.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import sys
import time
from collections.abc import Callable
from typing import Any

MIB = 1 << 20
SESSIONS, ITEMS, BYTES = 1168, 51_649, 531_000_000  # the store of the report
LARGE, LARGE_BYTES = 5_000, 300_000_000  # of which one session has
APPENDS, DELTAS, ORIGINAL = 3000, 500, 12
CHANCE = random.Random(6)


def status(name: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name)) * 1024


def written() -> int:
    with open("/proc/self/io") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("wchar"))


def reset() -> int:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return status("VmRSS")


def text(size: int) -> str:
    """Words that differ, so that nothing is shared."""
    return (f"{CHANCE.random()} " + "a line of some output, as tools print it\n" * (size // 41 + 1))[:size]


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def build(path: str) -> dict[str, Any]:
    from midwatch import sessions

    with sessions.open(path, upkeep=False) as store:
        talk = store.create(id="large", title="the long one")
        talk.append("system", "be good")
        talk.append("user", "go on")
        for number in range(LARGE // 2 - 1):
            talk.append("tool_use", '{"q": 1}', name="grep", calls=f"c{number}")
            talk.append("tool_result", text(LARGE_BYTES // (LARGE // 2)), name="grep", calls=f"c{number}")
        each, more = divmod(ITEMS - LARGE, SESSIONS - 1)
        size = (BYTES - LARGE_BYTES) // (ITEMS - LARGE)
        for number in range(SESSIONS - 1):
            other = store.create(id=f"s{number}", title=f"session number {number}")
            for at in range(each + (number < more)):
                other.append("user" if at % 10 == 0 else "assistant", text(size))
        store.clean()
        stats = store.stats()
        return {"items": stats.items, "bytes": stats.bytes, "file": stats.file_bytes}


def append(path: str) -> dict[str, Any]:
    from midwatch import sessions

    with sessions.open(path) as store:
        talk = store.session("s7")
        body = text(2000)
        return {"append_ms": [timed(lambda: talk.append("assistant", body)) for _ in range(APPENDS)]}


def _plain(path: str, synchronous: str) -> dict[str, Any]:
    base = sqlite3.connect(path, isolation_level=None)
    base.execute(f"PRAGMA synchronous = {synchronous}")
    base.execute("CREATE TABLE IF NOT EXISTS bench_bare (id INTEGER PRIMARY KEY, body TEXT)")
    body = text(2000)

    def one() -> None:
        base.execute("BEGIN IMMEDIATE")
        base.execute("INSERT INTO bench_bare (body) VALUES (?)", (body,))
        base.execute("COMMIT")

    found = [timed(one) for _ in range(APPENDS if synchronous == "NORMAL" else APPENDS // 10)]
    base.execute("DROP TABLE bench_bare")
    base.close()
    return {"append_ms": found}


def bare(path: str) -> dict[str, Any]:
    return _plain(path, "NORMAL")


def full(path: str) -> dict[str, Any]:
    return _plain(path, "FULL")


def opened(path: str) -> dict[str, Any]:
    """Open and list all, and the first page of the largest: a fresh process, the import not counted."""
    from midwatch import sessions

    before = reset()
    began = time.perf_counter()
    store = sessions.open(path)
    count, after = 0, None
    while True:
        page = store.list(after=after, limit=200)
        count, after = count + len(page.sessions), page.after
        if after is None:
            break
    listed = (time.perf_counter() - began) * 1000
    first = timed(lambda: store.session("large").items(limit=50))
    grown = status("VmHWM") - before
    store.close()
    assert count == SESSIONS
    return {"list_ms": [listed], "page_ms": [first], "list_grown_mib": [grown / MIB]}


def assemble(path: str) -> dict[str, Any]:
    from midwatch import sessions

    with sessions.open(path) as store:
        talk = store.session("large")
        before = reset()
        began, cpu = time.perf_counter(), time.process_time()
        fragments = iter(talk.assemble())
        next(fragments)
        next(fragments)
        cpu_ms = (time.process_time() - cpu) * 1000
        first = (time.perf_counter() - began) * 1000
        size = sum(map(len, fragments))
        whole = (time.perf_counter() - began) * 1000
        grown = status("VmHWM") - before
    return {
        "first_byte_ms": [first], "first_byte_cpu_ms": [cpu_ms], "context_ms": [whole], "context_bytes": [size],
        "context_grown_mib": [grown / MIB],
    }  # fmt: skip


def branch(path: str) -> dict[str, Any]:
    from midwatch import sessions

    with sessions.open(path, upkeep=False) as store:
        store.clean()
        before = store.stats()
        took = timed(lambda: store.session("large").branch(4000, id="fork"))
        after = store.stats()
        grown = after.file_bytes + after.wal_bytes - before.file_bytes - before.wal_bytes
        store.delete("fork")
        store.clean()
    return {"branch_ms": [took], "branch_bytes": [grown]}


def deltas(path: str) -> dict[str, Any]:
    """500 deltas at 50 a second on a session of 10 MiB."""
    from midwatch import sessions

    with sessions.open(path) as store:
        talk = store.create(id="stream")
        for number in range(10):
            talk.append("tool_result", text(MIB), calls=str(number))
        store.clean()
        before, costs = written(), []
        with talk.draft() as draft:
            for number in range(DELTAS):
                costs.append(timed(lambda number=number: draft.add(f"delta number {number} ")))
                time.sleep(0.02)
        total = written() - before
    return {"delta_ms": costs, "deltas_written": [total], "delta_written": [total / DELTAS]}


def original(path: str) -> dict[str, Any]:
    """A row an item and, after each change of one, all of them again as one JSON value beside the session."""
    base = sqlite3.connect(path, isolation_level=None)
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("PRAGMA synchronous = NORMAL")
    base.execute("CREATE TABLE sessions (id TEXT PRIMARY KEY, messages TEXT)")
    columns = "id INTEGER PRIMARY KEY, session_id TEXT, position INTEGER, message_json TEXT"
    base.execute(f"CREATE TABLE session_items ({columns})")
    put = "INSERT INTO session_items (session_id, position, message_json) VALUES ('one', ?, ?)"
    base.execute("INSERT INTO sessions VALUES ('one', '[]')")
    for number in range(10):
        row = json.dumps({"role": "tool", "content": text(MIB)})
        base.execute(put, (number, row))
    row = base.execute(put, (10, "{}")).lastrowid
    answer, before, costs = "", written(), []

    def update() -> None:
        said = json.dumps({"role": "assistant", "content": answer})
        base.execute("UPDATE session_items SET message_json = ? WHERE id = ?", (said, row))
        query = "SELECT message_json FROM session_items WHERE session_id = 'one' ORDER BY position"
        items = [{"message": json.loads(one[0])} for one in base.execute(query).fetchall()]
        base.execute("UPDATE sessions SET messages = ? WHERE id = 'one'", (json.dumps(items),))

    for number in range(ORIGINAL):
        answer += f"delta number {number} "
        costs.append(timed(update))
    total = written() - before
    base.close()
    return {"delta_ms": costs, "delta_written": [total / ORIGINAL], "deltas_written": [total / ORIGINAL * DELTAS]}


def shrink(path: str) -> dict[str, Any]:
    """S28: 900 of the sessions deleted, the largest among them; idle until the file is <= 1.2 times what lives."""
    from midwatch import sessions
    from midwatch.bounded.sessions import upkeep

    steps: list[float] = []
    real = upkeep.Upkeep.step

    def step(self: Any) -> bool:
        began = time.perf_counter()
        more = real(self)
        steps.append((time.perf_counter() - began) * 1000)
        return more

    upkeep.Upkeep.step = step  # type: ignore[method-assign]
    with sessions.open(path) as store:
        store.delete("large")
        for number in range(899):
            store.delete(f"s{number}")
        began = time.perf_counter()
        while time.perf_counter() - began < 280:
            time.sleep(0.5)
            stats = store.stats()
            if stats.file_bytes <= 1.2 * stats.bytes:
                break
        took = time.perf_counter() - began
        left = store.stats()
    return {"shrink_s": [took], "shrink_step_ms": steps, "shrunk_ratio": [left.file_bytes / left.bytes]}


ACTS = {
    one.__name__: one for one in (build, append, bare, full, opened, assemble, branch, deltas, original, shrink)
}  # fmt: skip

if __name__ == "__main__":
    print(json.dumps(ACTS[sys.argv[1]](sys.argv[2])))
    sys.stdout.flush()
    os._exit(0)
