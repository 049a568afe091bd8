"""What is on a port: which sockets listen, who holds them, whether they would be in the way, and the words for it.

Looked at only where a bind has failed, so nothing here has to be quick; `survey` runs in a worker thread. Must not know
whose a process is (ports.py does). Tests: tests/engine/test_ports.py.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Literal, NamedTuple

from midwatch.machine.ports import Holder, Listener, Machine, Tree
from midwatch.model.service import Launch, Rules
from midwatch.model.units import format_seconds
from midwatch.policy import defaults

Klass = Literal["ours", "orphan", "manager", "stranger", "unknown", "wedged"]
QUESTION = b"GET / HTTP/1.0\r\n\r\n"  # no Host: a Redis would log it as an attack


class Sight(NamedTuple):
    """A listening socket and those who hold it, the oldest first. `run`: of ours, by cgroup, where no marker tells."""

    listener: Listener
    holders: tuple[Holder, ...]
    run: str = ""


class Owner(NamedTuple):
    """Who is in the way: the class of ORP-1, in words, and what frees the port."""

    klass: Klass
    words: str
    pid: int | None
    do: str
    service: str = ""  # the service of ours whose run it is
    listener: Listener | None = None


class Seen(NamedTuple):
    """Everything that was found on one port. `blocked`: nobody listens and it still cannot be bound, in words."""

    sights: tuple[Sight, ...]
    blocked: str | None


def survey(machine: Machine, port: int, trees: tuple[Tree, ...] = ()) -> Seen:
    """In a worker thread: at most about a second. What cannot be read counts as nothing found."""
    try:
        listeners = machine.listeners(port)
        sights = [_sight(machine, listener, trees) for listener in listeners]
        blocked = None if listeners or machine.bindable(port) else machine.blockers(port)
    except OSError:
        return Seen((), None)
    return Seen(tuple(sights), blocked)


def _sight(machine: Machine, listener: Listener, trees: tuple[Tree, ...]) -> Sight:
    holders = [machine.holder(pid) for pid in listener.pids[: defaults.PORT_HOLDERS]]
    known = sorted((h for h in holders if h is not None), key=lambda h: (-h.age, h.proc.pid))
    run = ""
    if known and not known[0].marker:  # it has cleared its environment; it cannot leave its run's cgroup
        asked = (tree for tree in trees if machine.listener_in_tree(tree, listener.address, listener.port))
        run = next((tree.run for tree in asked), "")
    return Sight(listener, tuple(known), run)


def in_the_way(listener: Listener, hosts: frozenset[str]) -> bool:
    """Would this socket make the service's bind fail? `hosts`: the addresses at which its probes ask.

    A wildcard always does. A socket on one address of the other family, or on another address than the one that is
    probed, does only if the service binds more than that: then its own start says so.
    """
    import ipaddress  # only where a port is taken

    address = ipaddress.ip_address(listener.address.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        address = mapped
    asked = {ipaddress.ip_address(host) for host in hosts}
    if address.is_unspecified:
        alone = address.version == 6 and listener.v6only is True
        return not alone or any(host.version == 6 for host in asked)
    return address in asked if asked else address.version == 4


def probed_hosts(rules: Rules) -> frozenset[str]:
    """The literal addresses at which its probes expect the service. `localhost` is taken as IPv4."""
    import ipaddress

    from midwatch.engine.asking import target_of

    found = set()
    for probe in (rules.ready, rules.health, rules.deep):
        place = target_of(probe) if probe is not None and not probe.any_owner else None
        if place is None:
            continue
        host = "127.0.0.1" if place[0] == "localhost" else place[0]
        try:
            found.add(str(ipaddress.ip_address(host)))
        except ValueError:
            continue  # a name: asking a resolver takes too long
    return frozenset(found)


def user_of(uid: int) -> str:
    """A user's name, or the number."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def describe(holder: Holder) -> str:
    """One process in words: python server.py (pid 123, 2 h old, user bob)."""
    user = f", user {holder.user}" if holder.user else ""
    from midwatch.record.redact import redact

    command = redact(holder.command) or "a process"
    return f"{command} (pid {holder.proc.pid}, {format_seconds(max(0.0, holder.age))} old{user})"


async def answer_of(listener: Listener) -> str:
    """What is wrong with a listener, in words; "" when it reacts at all, be it by hanging up."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listener.address, listener.address)  # noqa: S104
    patience = f"{defaults.PORT_ANSWER:g} s"
    writer = None
    try:
        async with asyncio.timeout(defaults.PORT_ANSWER):
            reader, writer = await asyncio.open_connection(host, listener.port)
            writer.write(QUESTION)
            await reader.read(1)
            return ""
    except TimeoutError:
        if writer is None:
            return f"it accepts no connection within {patience} (its queue is full): wedged"
        return (
            f"it accepts connections and answers nothing within {patience}: wedged (or its protocol does not answer "
            "to an HTTP request)"
        )
    except OSError:
        return ""  # reset, refused: it reacts, or it has gone meanwhile
    finally:
        if writer is not None:
            writer.close()


def passed_on(launch: Launch, port: int) -> bool:
    """Is this port one of the sockets that the keeper holds for the service?"""
    return any(address.rpartition(":")[2] == str(port) for address in launch.listen)


def end_of(holder: Holder) -> str:
    """The command with which its manager lets go of it, "" when that needs more knowledge."""
    if holder.unit.endswith(".service"):
        return f"systemctl stop {holder.unit}"
    for engine in ("docker", "podman"):
        if holder.manager.startswith(engine) and holder.unit:
            return f"{engine} stop {holder.unit[:12]}"
    if holder.manager.startswith("midwatch") and ":" in holder.marker:
        run = holder.marker.rpartition("/")[2].partition(":")[2]
        return f"midwatch stop {'/'.join(run.split('.')[:2])}  # with the MIDWATCH_HOME of that one"
    if holder.manager.startswith("supervisord"):
        return "supervisorctl status  # find its name, then: supervisorctl stop NAME"
    return ""


def find_out(port: int) -> str:
    if sys.platform == "darwin":
        return f"sudo lsof -nP -iTCP:{port}"
    return f"sudo ss -tanp 'sport = :{port}'"
