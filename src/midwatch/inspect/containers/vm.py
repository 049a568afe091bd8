"""The virtual machine that a desktop's container engine lives in: which process is it, what does it hold, whose app.

Knows the names that the apps give it. Pure but for the process table. Must not judge. Tests:
tests/inspect/doctor/containers/test_vm.py.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from midwatch.inspect.sources import Sources
from midwatch.model.look import Proc

# (process name begins with, a word that its command line must have, app, how it is started again)
_KNOWN = (
    ("com.docker.virtualization", "", "Docker Desktop", ()),
    ("com.docker.hyperkit", "", "Docker Desktop", ()),
    ("OrbStack Helper", "", "OrbStack", ("orbctl", "restart")),
    ("vmgr", "OrbStack", "OrbStack", ("orbctl", "restart")),
    ("qemu-system", "docker", "Docker Desktop", ()),
    ("qemu-system", "colima", "Colima", ("colima", "restart")),
    ("qemu-system", "podman", "podman machine", ()),
    ("qemu-system", "rancher", "Rancher Desktop", ()),
    ("qemu-system", "lima", "Lima", ()),
    ("vfkit", "podman", "podman machine", ()),
    ("krunkit", "podman", "podman machine", ()),
    ("vmmem", "", "WSL", ()),
)
_APPLE = "com.apple.Virtualization.VirtualMachine"  # the same name for everybody who uses Apple's framework
_OWNERS = (
    ("com.docker.backend", "Docker Desktop"), ("Docker Desktop", "Docker Desktop"), ("OrbStack", "OrbStack"),
    ("colima", "Colima"), ("limactl", "Lima"), ("podman", "podman machine"), ("gvproxy", "podman machine"),
)  # fmt: skip


class Machine(msgspec.Struct, frozen=True):
    """One virtual machine. `sure` False: its process bears a name that other apps use as well. `measured`: "held", or
    "resident", which hypervisors are known to over-report.
    """

    app: str
    proc: Proc
    held: int
    sure: bool
    measured: str
    restart: tuple[str, ...] = ()


def find(sources: Sources) -> list[Machine]:
    """Every one, the largest first."""
    procs = list(sources.table().procs.values())
    found = [one for proc in procs if (one := _machine(proc, procs)) is not None]
    return sorted(found, key=lambda one: -one.held)


def vm_app(sources: Sources) -> str:
    """The app of the largest one, "" when there is none."""
    return next((one.app for one in find(sources)), "")


def _machine(proc: Proc, procs: Iterable[Proc]) -> Machine | None:
    held = proc.held if proc.held is not None else proc.rss
    measured = "held" if proc.held is not None and proc.quality in ("exact", "approximate") else "resident"
    if held is None:
        return None
    line = proc.command
    name = proc.argv[0].rpartition("/")[2] if proc.argv else proc.name
    for first, word, app, restart in _KNOWN:
        if (name.startswith(first) or proc.name.startswith(first) or f"/{first}" in line) and word in line:
            return Machine(app, proc, held, True, measured, restart)
    if _APPLE not in line and not proc.name.startswith(_APPLE[:15]):
        return None
    names = [one.command for one in procs]
    owners = [app for word, app in _OWNERS if any(word in other for other in names)]
    return Machine(owners[0] if owners else "a virtual machine", proc, held, len(set(owners)) == 1, measured)
