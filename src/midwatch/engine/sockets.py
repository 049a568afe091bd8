"""Sockets that the keeper holds and passes on (`listen`): opened before a start, kept through restarts, given back.

A connection that comes while the service is away waits in the socket's queue, so a restart drops none. A socket belongs
to a project and an address: services of one project that name the same address (instances above all) share it. After
the death of the keeper too, an adopted service still holds its socket and we do not: nothing is opened beside it (on a
Unix path that would steal its clients), but before its next start. Must not decide when that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from midwatch.model.event import SpawnFailed
from midwatch.model.service import ServiceSpec

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service

DOWN = ("stopped", "done", "gave_up", "scheduled")  # it does not come back soon: clients are better refused than kept


def name_of(project: str, address: str) -> str:
    """What the keeper and LISTEN_FDNAMES call it; a colon separates names there."""
    return f"{project}.{address.replace(':', '_')}"


class Sockets:
    """One per engine: which sockets the keeper holds, by name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._open: dict[str, str] = {}
        self._lost: set[str] = set()  # services that were told

    def known(self, held: dict[str, str]) -> None:
        """What the keeper held when this engine came."""
        self._open = dict(held)

    def names(self, spec: ServiceSpec) -> list[str]:
        """In the order in which the service gets them."""
        return [name_of(spec.project, address) for address in spec.launch.listen]

    def holds(self, spec: ServiceSpec, port: int) -> bool:
        """Does the keeper listen on this port for this service? Then it is nobody's conflict, and the service's own."""
        tail = f":{port}"
        return any(a.endswith(tail) and name_of(spec.project, a) in self._open for a in spec.launch.listen)

    def ensure(self, service: Service, run_id: str, start: Callable[[], None], *, again: bool = True) -> None:
        """Open what is missing, then start; or end in `PortBusy` or `SpawnFailed`."""
        spec = service.spec
        missing = {n: a for n, a in zip(self.names(spec), spec.launch.listen, strict=True) if n not in self._open}
        if not missing:
            start()
            return
        answers: dict[str, dict[str, Any]] = {}

        def answered(name: str, answer: dict[str, Any]) -> None:
            answers[name] = answer
            if "error" not in answer:
                self._open[name] = missing[name]
            if len(answers) < len(missing):
                return
            failed = [name for name in missing if "error" in answers[name]]
            if failed:
                self._failed(service, run_id, missing[failed[0]], answers[failed[0]], start, again)
                return
            self._lost.discard(spec.id)
            self._engine.write("listen.open", service=spec.id, fields={"addresses": list(missing.values())})
            start()

        for name, address in missing.items():
            self._engine.link.ask(
                lambda answer, name=name: answered(name, answer),  # type: ignore[misc]
                op="listen", name=name, address=address,
            )  # fmt: skip

    def _failed(
        self, service: Service, run_id: str, address: str, answer: dict[str, Any], start: Callable[[], None],
        again: bool,
    ) -> None:  # fmt: skip
        engine = self._engine
        number = str(answer.get("errno") or "EIO")
        fields = {"address": address, "errno": number, "error": answer["error"]}
        if again and number == "EADDRINUSE" and not address.startswith("/"):
            port = int(address.rpartition(":")[2])
            engine.ports.look(service, run_id, lambda: self.ensure(service, run_id, start, again=False), port)
            return
        engine.write("listen.failed", service=service.spec.id, fields=fields)
        message = f"cannot listen on {address}: {answer['error']}"
        failed = SpawnFailed(run=run_id, error=number, phase="prepare", message=message, lasting=number == "EACCES",
                             fingerprint=engine.machine.fingerprint(service.spec.launch))  # fmt: skip
        asyncio.get_running_loop().call_soon(engine.post, service, failed)

    def observe(self, service: Service) -> None:
        """A service's state has changed, or was restored."""
        state, spec = service.state, service.spec
        if service.run is not None and state.phase in ("starting", "up") and state.pid is not None:
            listen = service.run.launch.listen
            gone = [address for address in listen if name_of(spec.project, address) not in self._open]
            if gone and spec.id not in self._lost:
                self._lost.add(spec.id)
                self._engine.write("listen.lost", service=spec.id, fields={"addresses": gone})
        self.review()

    def forget(self, name: str) -> None:
        """A service is gone."""
        self._lost.discard(name)
        self.review()

    def review(self) -> None:
        """Give back what nobody wants."""
        if not self._open:
            return
        services = self._engine.services.values()
        wanted = {name for s in services if s.state.phase not in DOWN for name in self.names(s.spec)}
        closed = [name for name in self._open if name not in wanted]
        for name in closed:
            self._engine.link.send(op="unlisten", name=name)
        if closed:
            addresses = [self._open.pop(name) for name in closed]
            self._engine.write("listen.closed", fields={"addresses": addresses})
