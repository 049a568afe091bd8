"""Stops containers that a plan has named, and only those: id and start time are compared again right before.

Used by `recover`. A container that was replaced or started anew since the plan is somebody else's. Must not choose what
to stop. Tests: tests/inspect/containers/test_stop.py, tests/real/engines.
"""

from __future__ import annotations

import msgspec

STOP_SECONDS = 30.0  # REC-2: a database wants time to write


class Target(msgspec.Struct, frozen=True):
    """One container in one life."""

    id: str
    name: str
    started: float | None
    endpoint: str


class Stack(msgspec.Struct, frozen=True):
    """A compose project. `datastore`: one of its services keeps data; stopped last."""

    project: str
    engine: str
    targets: tuple[Target, ...]
    held: int
    datastore: bool = False
    why: str = ""


def stop(target: Target, seconds: float = STOP_SECONDS) -> str:
    """ "" when it is stopped, else what went wrong, in words. Takes at most `seconds` and five more."""
    from midwatch.inspect.containers import parse
    from midwatch.inspect.containers.client import Client, trouble
    from midwatch.inspect.containers.together import within

    if not target.endpoint:
        return "the engine's socket is not known (install midwatch[containers])"

    def work() -> str:
        client = Client(target.endpoint, 5.0)
        try:
            told = client.get(f"/containers/{target.id}/json")
            now = parse.container(told if isinstance(told, dict) else {})
            if now.id != target.id or now.started != target.started:
                return "it was started anew since the plan: not touched"
            if now.running:
                client.post(f"/containers/{target.id}/stop", seconds + 4.0, t=str(round(seconds)))
            return ""
        finally:
            client.close()

    try:
        return within(work, seconds + 5.0)
    except Exception as error:  # noqa: BLE001 - the caller tells it and goes on
        if getattr(error, "status", 0) == 404:
            return "it is gone since the plan"
        return trouble(error, target.endpoint)
