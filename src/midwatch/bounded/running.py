"""`run`: one command, bounded in output, memory and time, whatever it does.

Puts the parts together: child, tapes, sink, loop, result. Must not know what a preview looks like, nor asyncio.
Tests: tests/system/test_bounded_exec.py, test_bounded_ends.py.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Literal, TypedDict

from midwatch.bounded import notice, traces
from midwatch.bounded.cancel import Cancel
from midwatch.bounded.child import CannotStart, Child, Order, reap
from midwatch.bounded.drain import Bounds, Drain
from midwatch.bounded.finish import Facts, finish
from midwatch.bounded.limits import DEFAULTS, Limits, checked_timeout, positive
from midwatch.bounded.machinery import machinery
from midwatch.bounded.result import Result
from midwatch.bounded.sink import Sink
from midwatch.bounded.spool import SpoolError, Store, Writer
from midwatch.bounded.stdin import Stdin
from midwatch.bounded.tape import Tape
from midwatch.policy import defaults_bounded as d

Command = str | Sequence[str | os.PathLike[str]]
Streams = Literal["merged", "split"]
STREAMS = ("merged", "split")


def run(
    cmd: Command,
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = d.TIMEOUT,
    idle_timeout: float | None = None,
    memory: int | None = None,
    limits: Limits = DEFAULTS,
    streams: Streams = "merged",
    stdin: str | bytes | int | IO[bytes] | None = None,
    detach_ok: bool = False,
    spool: bool = True,
    session: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    cancel: Cancel | None = None,
) -> Result:
    """Run a command to its end, or to the first of its bounds. Returns by timeout + 4 s, always.

    `cmd`: a list of words; one text is a command line for /bin/sh. `timeout`, `idle_timeout`: seconds, None for the
    longest that `limits` allow and for none. `memory`: bytes of the command and all it starts. `streams`: "split"
    keeps stderr apart. `stdin`: /dev/null, or what it reads: text, bytes, a file. `detach_ok`: who still holds its
    output when it ends may go on. `spool`: keep what cannot be shown, in `folder`, for `session`. Raises ValueError for
    a bound that is none; a command that cannot be started is a Result of state "failed".
    """
    words = _words(cmd)
    if streams not in STREAMS:
        raise ValueError(f"streams is {streams!r}: one of {', '.join(STREAMS)}")
    if memory is not None:
        positive("memory", memory, whole=True)
    if idle_timeout is not None:
        idle_timeout = checked_timeout("idle_timeout", idle_timeout, limits)
    timeout = limits.timeout_most if timeout is None else checked_timeout("timeout", timeout, limits)
    try:
        where = os.path.abspath(os.fspath(cwd) if cwd is not None else os.curdir)
    except FileNotFoundError:
        why = "the current folder does not exist any more; give another `cwd`"
        return not_started(cmd, cwd, CannotStart("ENOENT", why))
    again = Again(Store(Path(folder) if folder else None, limits, session=session) if spool else None, words, where)
    with Stdin(stdin) as given:
        order = Order(words, where, os.environ if env is None else env, streams == "split", given.fd, memory)
        bounds = Bounds(timeout, idle_timeout, limits.output_kill, memory, detach_ok)
        return _run(order, bounds, limits, again, cancel)


class Options(TypedDict, total=False):
    """The arguments of `run`."""

    cwd: str | os.PathLike[str] | None
    env: Mapping[str, str] | None
    timeout: float | None
    idle_timeout: float | None
    memory: int | None
    limits: Limits
    streams: Streams
    stdin: str | bytes | int | IO[bytes] | None
    detach_ok: bool
    spool: bool
    session: str | None
    folder: str | os.PathLike[str] | None


class Again:
    """The spool of a run, and whether the same command had one shortly before."""

    def __init__(self, store: Store | None, words: tuple[str, ...], cwd: str) -> None:
        self.store, self._words, self._cwd = store, words, cwd
        self.earlier: str | None = None

    def begin(self) -> Writer:
        """Make the spool."""
        assert self.store is not None
        key = repr((self._words, self._cwd))
        try:
            known = self.store.recent(key, d.REPEAT_WITHIN)
        except SpoolError:
            known = None  # the writer's `why` will say what is wrong with the folder
        self.earlier = known.ref if known else None
        return self.store.begin(kind="exec", command=self._words, cwd=self._cwd, same=key)


def _run(order: Order, bounds: Bounds, limits: Limits, again: Again, cancel: Cancel | None) -> Result:
    host, fresh = machinery()
    if fresh:
        traces.sweep(host.machine)
    if host.late:
        host.late = reap(host.late)
    began, peak = time.monotonic(), _own_peak()
    store = again.store
    pour = str(store.folder) if store is not None and not order.split and sys.platform == "linux" else None
    sink = Sink(again.begin if store is not None else None, limits, pour)
    try:
        child = Child(order, host)
    except CannotStart as error:
        return not_started(order.argv, order.cwd, error)
    try:
        child.start()
        split = len(child.outs) > 1
        read = d.READ_BUFFER // len(child.outs)
        tapes = [Tape(limits.inline_cap, limits.tail * d.TAIL_RAW, read, count=split) for _ in child.outs]
        drain = Drain(child, tapes, sink, bounds, cancel.fd if cancel else -1)
        drain.run()
        uncounted = sink.settle(tapes[0])
        warnings = (*child.told(), *((uncounted,) if uncounted else ()))
        child.close()
        took = time.monotonic() - began
        facts = Facts(
            _told(order.argv), _told((order.cwd,))[0], limits, bounds.timeout, bounds.idle, bounds.memory, took, peak,
            again.earlier, warnings, again.store is not None,
        )  # fmt: skip
        return finish(facts, drain, tapes, sink)
    except CannotStart as error:
        return not_started(order.argv, order.cwd, error)
    except BaseException:  # Ctrl-C in the middle, or a bug of ours
        child.abandon()
        sink.close({"state": "interrupted"})
        raise


def _told(words: tuple[str, ...]) -> tuple[str, ...]:
    """A command for people and JSON: bytes that are no UTF-8 (surrogates here) as question marks."""
    return tuple(word.encode("utf-8", "replace").decode() for word in words)


def not_started(cmd: Command, cwd: str | os.PathLike[str] | None, error: CannotStart) -> Result:
    """What was asked for, and why it is not running."""
    line = notice.write(notice.ended("failed", None, None, str(error)), (), 0, 0, notice.Kept(None, True), ())
    return Result(
        state="failed", reason=error.error, message=str(error), text=line + "\n", notice=line,
        command=_told(_words(cmd)), cwd=_told((os.fspath(cwd or ""),))[0],
    )  # fmt: skip


def _words(cmd: Command) -> tuple[str, ...]:
    given = ("/bin/sh", "-c", cmd) if isinstance(cmd, str) else tuple(cmd)
    words = tuple(os.fspath(word) if isinstance(word, os.PathLike) else word for word in given)
    if not words or not all(isinstance(word, str) for word in words):
        raise ValueError("cmd is a list of words (texts), the program first; or one text for /bin/sh")
    if any("\0" in word for word in words):
        raise ValueError("cmd has a NUL in it: no program can be given that")
    return words


def _own_peak() -> int:
    """Our own largest resident size, which a child of ours starts with."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
