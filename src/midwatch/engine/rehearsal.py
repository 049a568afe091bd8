"""The rare path is tried soon after the start, so that its failure is known before it is needed.

The machine freezes, kills and reaps a dummy tree of its own in a worker thread, after the services have been started;
what works is shown by `ps -v` and in `ps --json` (daemon.rungs), what fails is said once. Must not delay anything.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from midwatch.policy import defaults

if TYPE_CHECKING:
    from midwatch.engine.core import Engine

AGAIN = 60.0  # seconds: a machine that was too busy for it
TRIES = 3
MUST = ("rehearsal", "reap")  # the others have a way around, which their words name


def rehearse_later(engine: Engine) -> None:
    """Once the services are under way."""
    engine.later(defaults.REHEARSE_AFTER, lambda: rehearse(engine))


def rehearse(engine: Engine, tries: int = TRIES) -> None:
    """Now, in a thread."""
    future = asyncio.get_running_loop().run_in_executor(None, engine.machine.rehearse)
    future.add_done_callback(lambda done: _rehearsed(engine, done, tries - 1))


def _rehearsed(engine: Engine, done: asyncio.Future[dict[str, str]], tries: int) -> None:
    problem = done.exception()
    told = {"rehearsal": f"failed: {problem}"} if problem is not None else done.result()
    engine.rehearsed = told
    if tries and any(words.startswith("not tried") for words in told.values()):
        engine.later(AGAIN, lambda: rehearse(engine, tries))
    failed = [f"{name}: {told[name]}" for name in MUST if told.get(name, "yes") not in ("yes", "not done on macOS")]
    if told.get("kill", "").endswith(" s"):
        failed.append(f"kill: {told['kill']}")
    if failed:
        words = f"ending a tree was tried on a dummy and did not work as it should: {'; '.join(failed)}"
        engine.write("limit.warning", fields={"message": words})
