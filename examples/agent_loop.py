#!/usr/bin/env python3
"""An agent's loop that stays as small as it begins: tools by bounded execution, long output in spools, all of it in a
session store, each request assembled as a stream.

    python examples/agent_loop.py                  200 tool calls, a few seconds
    python examples/agent_loop.py --calls 10000    what the documentation shows
    python examples/agent_loop.py --keep agent.db  leave the store there, to look at with `midwatch sessions`

The provider is a fake: it reads every byte of every request, asks for the next tool call, and answers in small deltas.
Every twentieth tool prints 300 KB, every hundredth fails, every two hundredth floods until it is stopped. Prints how
much memory the process holds while it goes on. Exit codes: 0 memory stayed flat, 1 it did not.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from midwatch import sessions
from midwatch.bounded import Limits, run
from midwatch.bounded.spool import Store as Spools

MIB = 1 << 20
LIMITS = Limits(output_kill=8 * MIB, spool_cap=4 * MIB)  # a tool that prints more than 8 MiB is stopped
CONTEXT = {"items": 60, "bytes": 256 * 1024}
KEEP = sessions.Retention(session_bytes=32 * MIB)  # the oldest items go; the request, prompts and summaries stay
FLAT = 16 * MIB


def fake_provider(request: Iterable[bytes], number: int) -> Iterator[dict[str, Any]]:
    """Stands for the HTTP call: the body is sent fragment by fragment (chunked) and never joined."""
    sent = sum(len(fragment) for fragment in request)
    for word in ("I have ", f"{sent} bytes, ", "let me ", "look ", "further."):
        yield {"delta": word}
    yield {"call": f"c{number}", "tool": "shell", "command": tool(number)}


def tool(number: int) -> str:
    """The next command that a model asks for."""
    if number % 200 == 199:
        return "yes flood"
    if number % 100 == 99:
        return "ls /nowhere/at/all"
    if number % 20 == 19:
        return f"seq {number} {number + 43_000}"
    return f"echo result {number}; echo all is well"


def turn(talk: sessions.Session, spools: Spools, number: int) -> None:
    """One round: request, streamed answer, tool, result."""
    call: dict[str, Any] = {}
    with talk.draft() as answer:
        for event in fake_provider(talk.assemble(items=CONTEXT["items"], bytes=CONTEXT["bytes"]), number):
            if "delta" in event:
                answer.add(event["delta"])
            else:
                call = event
    words = {"name": call["tool"], "calls": call["call"]}
    talk.append("tool_use", json.dumps({"command": call["command"]}), **words)
    result = run(call["command"], timeout=20, limits=LIMITS, folder=spools.folder, session=talk.id)
    more = {"state": result.state, "exit": result.exit_code, "bytes": result.bytes_total}
    if result.spool is None:
        talk.append("tool_result", result.text, more=more, **words)
    else:  # the whole output by reference; the context shows both its ends and how to read on
        talk.adopt("tool_result", spools, result.spool, more=more, **words)
        spools.release(result.spool)  # the store has a link of its own


def held() -> int:
    """Bytes of memory that this process holds now; 0 where that cannot be read."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon", "VmSwap")))


def loop(path: Path, calls: int) -> bool:
    """The agent. True: it held no more at the end than after its first rounds."""
    warm = min(calls // 2, 400)
    base, most = 0, 0
    began = time.monotonic()
    with sessions.open(path, limits=LIMITS) as store, tempfile.TemporaryDirectory(prefix="agent-spool-") as folder:
        spools = Spools(Path(folder), LIMITS, session="agent")
        talk = store.create(title="find out what is wrong", agent="root", id="agent")
        talk.append("system", "You look after a machine. Read long results page by page.")
        talk.append("user", "Find out what is wrong.")
        print(f"{'calls':>7} {'held MiB':>9} {'store MiB':>10} {'items':>7} {'of the session, MiB':>20}")
        for number in range(calls):
            turn(talk, spools, number)
            if number % 500 == 499:
                store.prune(KEEP, dry_run=False)
            if number + 1 == warm:
                base = held()
            most = max(most, held())
            if (number + 1) % max(1, calls // 10) == 0:
                info, stats = talk.info(), store.stats()
                print(
                    f"{number + 1:>7} {held() / MIB:>9.1f} {stats.file_bytes / MIB:>10.1f} {info.items:>7} "
                    f"{info.bytes / MIB:>20.1f}"
                )
    grown = most - base if base else 0
    seconds = time.monotonic() - began
    print(f"{calls} tool calls in {seconds:.0f} s; at most {grown / MIB:.1f} MiB more than after the first {warm}")
    return grown <= FLAT


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="leave the session store there")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="agent-loop-") as folder:
        return 0 if loop(asked.keep or Path(folder) / "agent.db", asked.calls) else 1


if __name__ == "__main__":
    sys.exit(main())
