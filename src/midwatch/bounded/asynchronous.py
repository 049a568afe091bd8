"""`arun`: `run` for asyncio, in a thread of its own.

So it needs no child watcher, many at once do not wait for a pool, and the thread whose death the kernel would tell the
child of lives as long as the run. Must not know what a run is made of. Tests: tests/system/test_bounded_arun.py.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Unpack

from midwatch.bounded.cancel import Cancel
from midwatch.bounded.child import CannotStart
from midwatch.bounded.result import Result
from midwatch.bounded.running import Command, Options, not_started, run


async def arun(cmd: Command, *, cancel: Cancel | None = None, **options: Unpack[Options]) -> Result:
    """`run` for asyncio, with the same arguments. A task that is cancelled ends the command first, by the same ladder;
    what was read until then is in the `result` of its CancelledError."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()
    stop = cancel or Cancel()
    try:
        work = (loop, done, partial(run, cmd, cancel=stop, **options))
        thread = threading.Thread(target=_in_thread, args=work, name="midwatch-exec", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no memory for its stack, too many tasks
            return not_started(cmd, options.get("cwd"), CannotStart("EAGAIN", f"no thread for it: {error}"))
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError as error:
            stop.cancel()
            await _settled(done)
            if not done.cancelled() and done.exception() is None:
                error.result = done.result()  # type: ignore[attr-defined]
            raise
        finally:
            if done.done():
                thread.join()
    finally:
        if cancel is None:
            stop.close()


async def _settled(done: asyncio.Future[Result]) -> None:
    """Until the run is over, however often the task is cancelled meanwhile."""
    while not done.done():
        try:
            await asyncio.shield(asyncio.wait([done]))
        except asyncio.CancelledError:
            continue


def _in_thread(
    loop: asyncio.AbstractEventLoop, done: asyncio.Future[Result], work: Callable[[], Result]
) -> None:
    def tell(result: Result | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        elif result is not None:
            done.set_result(result)

    result, failure = None, None
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001  whoever waits for it gets it
        failure = error
    try:
        loop.call_soon_threadsafe(tell, result, failure)
    except RuntimeError:
        pass  # the loop has been closed: nobody waits any more
