"""One probe question and its answer: HTTP, TCP, a command, a line of output, a file.

HTTP is spoken here in a few lines because the usual clients cost the engine 5-11 MB and follow proxies
(ORP-3); TLS runs in a helper process because importing ssl costs 6 MB. Bodies are cut at 64 KiB. Must not
count failures.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from midwatch.engine.helper import Helper
from midwatch.engine.http import Url, fetch, split_url
from midwatch.machine.ports import Target
from midwatch.model.service import Probe

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service
    from midwatch.engine.run import Run


class Answer(NamedTuple):
    """Good or not, and what was seen, in words."""

    ok: bool
    detail: str


class Question:
    """An open question that can be dropped."""

    def __init__(self, cancel: Callable[[], object]) -> None:
        self.cancel = cancel


Answered = Callable[[Answer | Exception], None]  # an exception is a fault of ours, and no answer


def ask(
    engine: Engine, service: Service, run: Run, probe: Probe, kind: str, answered: Answered
) -> Question:
    """Put the probe's question; `answered` is called once, unless it is cancelled."""
    if probe.command is not None:
        return _ask_command(engine, service, run, probe, answered)
    if probe.http is not None or probe.tcp is not None:
        task = asyncio.ensure_future(_over_network(engine, run, probe, kind))
        task.add_done_callback(lambda done: None if done.cancelled() else answered(_outcome(done)))
        return Question(task.cancel)
    answer = _in_file(probe, run, kind) if probe.file is not None else _in_log(engine, run, probe)
    handle = asyncio.get_running_loop().call_soon(answered, answer)
    return Question(handle.cancel)


def _outcome(done: asyncio.Task[Answer]) -> Answer | Exception:
    error = done.exception()
    return error if isinstance(error, Exception) else done.result()


async def _over_network(engine: Engine, run: Run, probe: Probe, kind: str) -> Answer:
    try:
        url = split_url(probe.http) if probe.http is not None else None
        host, port = (url.host, url.port) if url is not None else address(probe.tcp or "")
        async with asyncio.timeout(probe.timeout):
            if url is None:
                _, writer = await asyncio.open_connection(host, port)
                writer.close()
                answer = Answer(True, f"connected to {host}:{port}")
            elif url.tls:
                answer = await _over_tls(probe, run, kind, url)
            else:
                answer = _judge(probe, run, kind, *await fetch(url))
    except TimeoutError:
        return Answer(False, f"no answer within {probe.timeout:g} s")
    except (OSError, ValueError) as error:
        return Answer(False, str(getattr(error, "strerror", None) or error))
    return _by_owner(engine, run, probe, host, port, answer)


def _by_owner(engine: Engine, run: Run, probe: Probe, host: str, port: int, answer: Answer) -> Answer:
    """HLT-2: somebody else's answer is not ours, however good."""
    if probe.any_owner or run.tree is None:
        return answer
    if engine.machine.listener_in_tree(run.tree, host, port) is False:
        return Answer(False, f"answered_by_other: {host}:{port} is held by a process outside this run")
    return answer


def _judge(probe: Probe, run: Run, kind: str, status: int, body: bytes) -> Answer:
    """2xx and, where asked for, the JSON field says "ok" and the counter has risen since our last question (HLT-5)."""
    if not 200 <= status < 300:
        return Answer(False, f"HTTP {status}")
    words = f"HTTP {status}"
    if probe.json_status is not None:
        value = _field(body, probe.json_status)
        if value is None:
            return Answer(False, f"{words} without the JSON field {probe.json_status!r} in its first 64 KiB")
        words = f"{words}, {probe.json_status} is {str(value)[:80]!r}"
        if value != "ok":
            return Answer(False, words)
    if probe.json_active is not None:
        active = _field(body, probe.json_active)
        run.active = float(active) if isinstance(active, int | float) else None  # also the load of the leak watch
    if probe.json_counter is not None:
        count = _field(body, probe.json_counter)
        if isinstance(count, int | float):  # a missing one says nothing
            before, run.counters[kind] = run.counters.get(kind), count
            if count == before and (waits := _stalled(probe, body)) is not None:
                return Answer(False, f"{words}, but {probe.json_counter} stands still at {count}{waits}")
    return Answer(True, words)


def _stalled(probe: Probe, body: bytes) -> str | None:
    """The counter stands still: words when nothing else explains that (G1, G2), None for idle, or at work."""
    waiting = None if probe.json_waiting is None else _field(body, probe.json_waiting)
    active = None if probe.json_active is None else _field(body, probe.json_active)
    if (isinstance(active, int | float) and active > 0) or (isinstance(waiting, int | float) and waiting <= 0):
        return None
    known = isinstance(waiting, int | float)
    return f" while {waiting} wait: it makes no progress" if known else ": it does not serve"


def _field(body: bytes, path: str) -> Any:
    """The value at a dotted path of a JSON body, None when there is none."""
    import msgspec

    try:
        value = msgspec.json.decode(body)
        for part in path.split("."):
            value = value[part]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        return None
    return value


async def _over_tls(probe: Probe, run: Run, kind: str, url: Url) -> Answer:
    import sys

    done: asyncio.Future[tuple[int | None, bytes]] = asyncio.get_running_loop().create_future()

    def finished(code: int | None, output: bytes) -> None:
        if not done.done():
            done.set_result((code, output))

    script = os.path.join(os.path.dirname(__file__), "tls_helper.py")
    helper = Helper([sys.executable, "-I", "-S", script, url.text], probe.timeout, finished)
    try:
        code, output = await done
    except asyncio.CancelledError:
        helper.cancel()
        raise
    if code != 0:
        return Answer(False, output.decode("utf-8", "replace").strip()[:200] or f"no answer within {probe.timeout:g} s")
    head, _, body = output.partition(b"\n")
    status, scheme = head.split()[:2]
    judged = _judge(probe, run, kind, int(status), body)
    return Answer(judged.ok, f"{judged.detail} over {scheme.decode()}")


def _ask_command(
    engine: Engine, service: Service, run: Run, probe: Probe, answered: Answered
) -> Question:
    target = engine.machine.lookup(run.launch)
    known = target if isinstance(target, Target) else Target(exe="")

    def done(code: int | None, output: bytes) -> None:
        last = output.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
        if code is None:
            answered(Answer(False, f"the probe command was ended after {probe.timeout:g} s"))
        else:
            answered(Answer(code == 0, f"exit {code}" + (f": {last}" if last else "")))

    try:
        helper = Helper(
            probe.command or (), probe.timeout, done,
            env={**run.launch.env, "MIDWATCH_RUN": run.marker, "MIDWATCH_SERVICE": service.spec.id},
            cwd=run.launch.cwd, uid=known.uid, gid=known.gid, groups=known.groups,
        )  # fmt: skip
    except OSError as error:
        failed = Answer(False, f"cannot run the probe command: {error.strerror}")
        return Question(asyncio.get_running_loop().call_soon(answered, failed).cancel)
    return Question(helper.cancel)


def _in_file(probe: Probe, run: Run, kind: str) -> Answer:
    """Ready: the file is there and newer than the run. Health: it was touched within the time that `failures`
    probes take."""
    import time

    path = os.path.join(run.launch.cwd, probe.file or "")
    try:
        modified = os.stat(path).st_mtime
    except OSError as error:
        return Answer(False, f"{path}: {error.strerror}")
    if kind == "ready":
        # A second of tolerance: file systems round the time of modification.
        fresh = modified >= run.spawned_wall - 1.0
        return Answer(fresh, f"{path} is there" if fresh else f"{path} is older than this run")
    age = time.time() - modified
    return Answer(age <= max(probe.every, 1.0), f"{path} was touched {age:.0f} s ago")


def _in_log(engine: Engine, run: Run, probe: Probe) -> Answer:
    """A line of this run's output matches. Read from where the last question stopped."""
    return Answer(*engine.output.search(run, probe.log or ""))


def target_of(probe: Probe) -> tuple[str, int] | None:
    """Where a probe asks over the network: host and port; None for any other kind."""
    if probe.http is not None:
        url = split_url(probe.http)
        return url.host, url.port
    return address(probe.tcp) if probe.tcp is not None else None


def address(text: str) -> tuple[str, int]:
    """HOST:PORT cut up; a wildcard means loopback (ORP-3)."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    return ("127.0.0.1" if host in ("", "0.0.0.0", "*") else "::1" if host == "::" else host), int(port)  # noqa: S104
