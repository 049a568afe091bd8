"""ORP-5: a unit of systemd that waits for its next restart has our port tomorrow, although it is silent now.

Asked before a start that a person or `up` wants, not before a restart, and only where systemd runs: units that are
activating or reloading, whose command line or environment names the port. Ours is not one of them. Must not stop or
change a unit. Tests: tests/system/test_managers.py.
"""

from __future__ import annotations

import asyncio
import os
import re
from typing import NamedTuple

from midwatch.engine.helper import Helper

BOOTED = "/run/systemd/system"  # sd_booted(3)
SHARED = 2.0  # seconds for which one answer serves all starts
TIMEOUT = 2.0  # seconds for one question; then it counts as not answered
MOST_UNITS = 32
_LIST = (
    "list-units", "--type=service", "--state=activating,reloading", "--no-legend", "--plain", "--full", "--no-pager",
)  # fmt: skip
_SHOW = ("show", "--property=Id,ActiveState,SubState,Environment,ExecStart", "--no-pager")


class Unit(NamedTuple):
    """One that is about to come back."""

    name: str
    state: str
    user: bool

    @property
    def words(self) -> str:
        """For the owner's line."""
        return f"systemd unit {self.name}, which is {self.state} and has the port in its settings"

    @property
    def do(self) -> str:
        """What keeps it from coming back."""
        return f"systemctl {'--user ' if self.user else ''}stop {self.name}"


Facts = dict[str, str]


async def restarting() -> list[tuple[Facts, bool]]:
    """The units that are about to come back, each with whether it is a user's. Nobody can tell: none."""
    if not os.path.isdir(BOOTED):
        return []
    own = _own_units()
    found: list[tuple[Facts, bool]] = []
    for user in (False, True) if os.geteuid() else (False,):
        scope = ("--user",) if user else ()
        listed = await _systemctl(*scope, *_LIST)
        names = [line.split()[0] for line in listed.splitlines() if line.split()]
        names = [name for name in names if name.endswith(".service") and name not in own][:MOST_UNITS]
        if names:
            found += [(facts, user) for facts in parse(await _systemctl(*scope, *_SHOW, "--", *names))]
    return found


def unit_for(port: int, units: list[tuple[Facts, bool]]) -> Unit | None:
    """The first of them that wants this port."""
    for facts, user in units:
        if wants(facts, port):
            return Unit(facts.get("Id", "?"), f"{facts.get('ActiveState')} ({facts.get('SubState')})", user)
    return None


def parse(text: str) -> list[Facts]:
    """The blocks of `systemctl show`."""
    found = []
    for block in text.split("\n\n"):
        facts = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if facts:
            found.append(facts)
    return found


def wants(facts: Facts, port: int) -> bool:
    """Does its command line or environment name the port, as a word of its own?"""
    commands = re.findall(r"argv\[\]=(.*?) ; ", facts.get("ExecStart", ""))
    text = " ".join([*commands, facts.get("Environment", "")])
    return re.search(rf"(?<![0-9A-Za-z.]){port}(?![0-9A-Za-z.])", text) is not None


def _own_units() -> set[str]:
    """The units that we live in: `midwatch run --port N` as a service is activating while it asks."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as file:
            return {part for line in file for part in line.strip().split("/") if part.endswith(".service")}
    except OSError:
        return set()


async def _systemctl(*arguments: str) -> str:
    """Its output; "" when it fails, is not there or takes too long."""
    done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def finished(code: int | None, output: bytes) -> None:
        if not done.done():
            done.set_result(output.decode("utf-8", "replace") if code == 0 else "")

    try:
        Helper(["systemctl", *arguments], TIMEOUT, finished)
    except OSError:
        return ""
    return await done
