"""`midwatch upgrade`: the running daemon replaces itself by this version; no service stops, no output waits.

Must not know how the keeper does it. Tests: tests/front/test_jobs.py, tests/system/test_upgrade.py.
"""

from __future__ import annotations

import time
from typing import Any

import midwatch
from midwatch.engine.client import Client, ClientError, HungUp, Refused
from midwatch.engine.layout import Layout
from midwatch.front.cli import instances, jobs
from midwatch.front.cli.declare import JSON, Failure, Verb
from midwatch.front.cli.render import say_json

NO_SUCH_METHOD = -32601
WAIT = 30.0  # seconds for the new engine to answer; it takes 0.2


def _run(json: bool) -> int:
    from midwatch.engine.launch import successor

    layout = Layout.default()
    with jobs.need_daemon(layout, "upgrade") as client:
        before = client.call("ping")
        try:
            client.call("upgrade", patience=WAIT, by=jobs.by("upgrade"), **successor())
        except Refused as error:
            if error.code != NO_SUCH_METHOD:
                raise
            raise Failure(
                f"the running daemon is midwatch {before['version']}, which cannot be replaced in place; its "
                "services go on; once: 'midwatch down --all', then 'midwatch up -d'"
            ) from None
        except HungUp:  # that is how it leaves
            pass
    after = _answer(layout, before["pid"])
    with instances.connect(layout) as client:
        services = client.call("ps")["services"]
    alive = sum(1 for service in services if service["pid"])
    if json:
        say_json({"from": before["version"], "to": after["version"], "keeper_pid": after["keeper_pid"],
                  "pid": after["pid"], "running": alive})  # fmt: skip
    else:
        print(f"midwatch {before['version']} -> {after['version']}: the keeper is still pid {after['keeper_pid']}, "
              f"the engine is now pid {after['pid']}; {alive} running services were not touched")  # fmt: skip
    return 0 if after["version"] == midwatch.__version__ else 1


def _answer(layout: Layout, old: int) -> dict[str, Any]:
    """What the new engine says of itself."""
    limit = time.monotonic() + WAIT
    while time.monotonic() < limit:
        try:
            with Client(layout.control) as client:
                found = client.call("ping")
            if found["pid"] != old:
                return found
        except ClientError:
            pass  # between the two
        time.sleep(0.01)
    raise Failure(f"no new engine answers within {WAIT:g} s; your services go on; see {layout.daemon_log}")


VERB = Verb(
    name="upgrade",
    help="Let the running daemon replace itself by this version; no service stops.",
    detail=(
        "Install the new version first. Both programs of the daemon are tried before anything is replaced; if the "
        "new ones do not start, the old ones go on."
    ),
    examples=("midwatch upgrade",),
    run=_run,
    opts=(JSON,),
)
