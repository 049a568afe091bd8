"""What the system tests of services share: asking the daemon directly, and small configs.

Polling by `midwatch ps` would start a Python each time. Must not hold a claim.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.system.conftest import PATIENCE, Instance

from midwatch.engine.client import Client
from midwatch.engine.layout import Layout

PYTHON = (
    f'"{sys.executable}", "-S", "-E"'  # the words before a script's name: an interpreter that starts quickly
)
Row = dict[str, Any]


def call(instance: Instance, method: str, patience: float = PATIENCE, **params: Any) -> Row:
    """One question over the control socket."""
    with Client(Layout.for_home(instance.home).control) as client:
        return client.call(method, patience=patience, **params)


def rows(instance: Instance) -> dict[str, Row]:
    """The services as they stand, by name."""
    return {row["name"]: row for row in call(instance, "ps")["services"]}


def until(
    instance: Instance, met: Callable[[dict[str, Row]], Any], what: str, patience: float = PATIENCE
) -> dict[str, Row]:
    """Wait for the services to be so; bounded."""
    deadline = time.monotonic() + patience
    while True:
        found = rows(instance)
        if met(found):
            return found
        assert time.monotonic() < deadline, f"waited in vain until {what}: {found}"
        time.sleep(0.03)


def events(instance: Instance, name: str, service: str | None = None) -> list[Row]:
    """The journal's lines of one event, of one service (by its name) or of all."""
    found = instance.journal(name)
    return [
        line for line in found if service is None or line.get("service", "").rpartition("/")[2] == service
    ]


def seen(instance: Instance, name: str, service: str, count: int = 1) -> list[Row]:
    """Wait for `count` lines of this event; bounded."""
    deadline = time.monotonic() + PATIENCE
    while len(found := events(instance, name, service)) < count:
        assert time.monotonic() < deadline, (
            f"waited in vain for {count} {name} of {service}: {instance.journal()[-8:]}"
        )
        time.sleep(0.03)
    return found


def job(instance: Instance, verb: str, *names: str, project: str = "p") -> str:
    """Give a command and do not wait for it: its job."""
    answer = call(instance, verb, services=[f"{project}/{name}" for name in names], by="test")
    return str(answer["job"])


def finished(instance: Instance, job_id: str) -> Row:
    """How a job ended; it has to end."""
    answer = call(instance, "job", patience=PATIENCE, id=job_id, wait=PATIENCE)
    assert answer["state"] != "running", answer
    return answer


def shell(name: str, script: str, *lines: str) -> str:
    """The table of a service that is a shell script."""
    return "\n".join([f"[service.{name}]", f"command = [\"sh\", \"-c\", '''{script}''']", *lines, ""])


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which nobody listened a moment ago, all different."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def words(path: Path) -> list[str]:
    """What a service has written there so far."""
    return path.read_text().split() if path.exists() else []
