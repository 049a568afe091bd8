"""A web crawler's main program, with two services kept alive by Midwatch while it does its own work.

    python examples/embedding.py

One worker crashes until its budget is spent, the other one leaves with 0 each time its work is done. Ends by itself.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from typing import Any

import midwatch

FETCHER = "import time; print('fetched', flush=True); time.sleep(0.2)"
PARSER = "raise SystemExit('no memory for the tree')"
SERVICES = {
    "fetcher": {"command": [sys.executable, "-c", FETCHER]},
    "parser": {"command": [sys.executable, "-c", PARSER], "restart": {"crash": 3}, "backoff": {"first": "100ms"}},
}


async def main(home: str) -> None:
    given_up = asyncio.Event()

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "run.exited":
            print(f"{event['service']}: {event['decision']}")

    async def on_exhausted(service: str, decision: str) -> None:
        print(f"{service} needs a person, {decision.partition(':')[0]}")
        given_up.set()

    async with midwatch.Supervisor(home=home, services=SERVICES, on_event=on_event, on_exhausted=on_exhausted) as sup:
        await sup.wait("fetcher", timeout=10)
        await given_up.wait()
        for row in await sup.status():
            print(f"{row['name']}: {row['state']}, restarts {row['restarts']}")
        print("stopped:", (await sup.stop("fetcher"))["fetcher"].message)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        asyncio.run(main(folder))
