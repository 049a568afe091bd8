"""Commands that change something: hand them over as a job, wait for it, say how each service ended.

start, stop, restart, reset, up, reload and down share this. A job goes on when we stop waiting for it.
Must not decide whether a service may start or stop. Tests: tests/front/test_jobs.py.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from midwatch.engine.client import Client, ClientError, DaemonDown, Refused
from midwatch.engine.layout import Layout
from midwatch.front.cli import instances, names, project
from midwatch.front.cli.declare import Failure, Usage
from midwatch.front.cli.render import plain, say_json

SLICE = 30.0  # seconds of one question to the daemon; it takes at most 60
FOREVER = 86400.0
SUCCESSOR = 15.0  # seconds for a new engine to answer after the last one died; it takes 0.2


def by(verb: str) -> str:
    """Who asks, for the journal."""
    return f"midwatch {verb} (uid {os.getuid()}, pid {os.getpid()})"


def seconds(text: str | None, option: str = "--timeout", default: float = FOREVER) -> float:
    """The value of an option that is a time. Raises Usage."""
    if text is None:
        return default
    from midwatch.model import units

    try:
        value = units.parse_seconds(text)
    except ValueError as error:
        raise Usage(f"{option} {text!r}: {error}; nothing was done") from None
    if value < 0:
        raise Usage(f"{option} {text!r}: must not be negative; nothing was done")
    return value


def command(
    verb: str,
    words: list[str],
    *,
    everything: bool,
    json: bool,
    no_wait: bool,
    timeout: str | None,
    now: bool = False,
) -> int:
    """start, stop, restart and reset: on the named services, the project's, or all."""
    patience = seconds(timeout)
    picture = instances.look()
    if not picture.running() and picture.daemon is None:
        raise DaemonDown(
            f"no midwatch daemon is running, so there is nothing to {verb}; 'midwatch up' starts one"
        )
    wanted = choose(verb, words, everything, picture)
    code = 0
    results: list[dict[str, Any]] = []
    for layout in dict.fromkeys(picture.find(name).layout for name in wanted):
        here = [name for name in wanted if picture.find(name).layout is layout]
        params: dict[str, Any] = {"services": here, "by": by(verb)}
        if now:
            params["now"] = True
        with instances.connect(layout) as client:
            job = client.call(verb, **params).get("job")
            results.append(wait_for(client, job, 0.0 if no_wait else patience))
    for result in results:
        code = max(code, verdict(result, no_wait))
    if json:
        merged = {name: outcome for result in results for name, outcome in result["services"].items()}
        say_json({"job": results[0]["id"] if results else None, "ok": code == 0, "services": merged})
    else:
        for result in results:
            tell(verb, result, no_wait)
    return code


def choose(verb: str, words: list[str], everything: bool, picture: instances.Picture) -> list[str]:
    """The services a line means. Raises Usage."""
    here = project.current()
    ids = picture.running()
    if words:
        if everything:
            raise Usage("--all and names exclude each other; nothing was done")
        return names.resolve(words, ids, here)
    if everything:
        return ids
    if here is None:
        raise Usage(
            f"which service to {verb}? nothing was done; name one ({', '.join(ids[:8])}), or use --all"
        )
    mine = [name for name in ids if name.startswith(f"{here}/")]
    if not mine:
        raise Usage(
            f"no service of project {here!r} is known to the daemon; nothing was done; 'midwatch up' starts "
            "it"
        )
    return mine


def wait_for(client: Client, job: Any, patience: float) -> dict[str, Any]:
    """Follow a job until it is finished or our patience ends; then it is reported as running."""
    if not job:
        return {"id": None, "state": "done", "message": "nothing to do", "services": {}}
    deadline = time.monotonic() + patience
    while True:
        left = max(0.0, deadline - time.monotonic())
        piece = min(SLICE, left)
        answer = _ask_again(client, job, piece)
        if answer.get("state") != "running" or left <= 0:
            answer.setdefault("services", {})
            return answer


def _ask_again(client: Client, job: Any, piece: float) -> dict[str, Any]:
    """The engine may die while we wait: its successor knows the job."""
    limit = time.monotonic() + SUCCESSOR
    while True:
        try:
            return client.call("job", patience=piece, id=job, wait=piece)
        except ClientError as error:
            if isinstance(error, Refused) or time.monotonic() > limit:
                raise
        client.close()
        time.sleep(0.05)
        try:
            client.reconnect()
        except ClientError:
            if time.monotonic() > limit:
                raise


def verdict(result: dict[str, Any], no_wait: bool) -> int:
    """0 done; 1 failed or not finished in time."""
    if result["state"] == "running":
        return 0 if no_wait else 1
    return 1 if result["state"] == "failed" else 0


def tell(verb: str, result: dict[str, Any], no_wait: bool) -> None:
    """One line a service; failures on stderr."""
    for name, outcome in sorted(result["services"].items()):
        good = bool(outcome.get("ok"))
        print(
            plain(f"{name}  {outcome.get('message', '')}").rstrip(), file=sys.stdout if good else sys.stderr
        )
    if result["state"] == "running" and no_wait:
        print(f"{verb} goes on as job {result['id']}; 'midwatch ps' shows how far it is")
    elif result["state"] == "running":
        print(
            f"midwatch {verb}: not finished in time; job {result['id']} goes on; 'midwatch ps' shows how "
            "far it is",
            file=sys.stderr,
        )
    elif not result["services"]:
        print(result.get("message") or "nothing to do")


def daemon_or_none(layout: Layout) -> Client | None:
    """A connection, or None when no daemon runs."""
    try:
        return instances.connect(layout)
    except DaemonDown:
        return None


def need_daemon(layout: Layout, verb: str) -> Client:
    """A connection, or the sentence that says why there is none."""
    client = daemon_or_none(layout)
    if client is None:
        raise Failure(
            f"no midwatch daemon is running, so there is nothing to {verb}; 'midwatch up' starts one"
        )
    return client
