"""DOC-6: how much of the host the container VM may take. It takes it in the end, and gives nothing back (DOC-7).

Tests: tests/inspect/doctor/containers/test_vm.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from midwatch.inspect.doctor.check import Check, Context, Missing
from midwatch.inspect.doctor.containers import common
from midwatch.model.look import Checked
from midwatch.model.units import format_bytes
from midwatch.policy import defaults_inspect as figures


def _run(ctx: Context) -> Iterable[Checked]:
    found = common.seen(ctx)
    desktops = [
        picture.engine for picture in found.pictures if picture.engine.desktop and picture.engine.memory
    ]
    if not desktops:
        yield CHECK.say("pass", "containers run on this machine itself: there is no VM to cap")
        return
    whole = common.machine_memory(ctx)
    if not whole:
        raise Missing("the memory of this machine cannot be read", "sysctl hw.memsize")
    for engine in desktops:
        cap = engine.memory or 0
        advised = max(figures.VM_ADVISED, ctx.expect_heavy)
        words = f"the VM of {engine.system} may take {common.of(cap, whole)} of this machine"
        heavy = f" (needed: {format_bytes(ctx.expect_heavy)})" if ctx.expect_heavy else ""
        evidence = {"cap_bytes": cap, "machine_bytes": whole, "advised_bytes": advised}
        hint = f"set the VM's memory to {format_bytes(advised)} in the settings of {engine.system}"
        if cap > figures.VM_SHARE * whole and cap > ctx.expect_heavy:
            yield CHECK.say("fail", f"{words}: more than half{heavy}", evidence=evidence, hint=hint)
        elif cap > advised * 1.02 and whole >= figures.VM_HOST:
            default = ", a default that is too large" if cap > 15 << 30 else ""
            yield CHECK.say("warn", f"{words}{default}{heavy}", evidence=evidence, hint=hint)
        else:
            yield CHECK.say("pass", f"{words}{heavy}", evidence=evidence)


CHECK = Check(
    id="DOC-6",
    category="containers",
    title="memory cap of the container VM",
    about=(
        "The memory that Docker Desktop, OrbStack, Colima or podman machine may take: over 8 GB on a host of 32 GB or "
        "more warns (16 GB is a common default and too much), over half of the host fails. --expect-heavy SIZE raises "
        "both lines to what a heavy job needs."
    ),
    run=_run,
)
