"""DOC-7: a container VM that holds far more than its containers use. It does not give memory back by itself.

The cure is to restart the VM's app, never the host. What hypervisors show as resident may be too high, so how it was
measured and whose process it is are said with a confidence. Tests: tests/inspect/doctor/containers/test_vm.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from midwatch.inspect.containers import Picture, vm
from midwatch.inspect.doctor.check import Check, Context, Missing
from midwatch.inspect.doctor.containers import common
from midwatch.model.look import Checked, Offender, Status
from midwatch.model.units import format_bytes
from midwatch.policy import defaults_inspect as figures


def grade(held: int, used: int | None, running: int) -> tuple[Status, int]:
    """The status and what is too much. `used` None: what containers use is not known."""
    excess = held - (used or 0)
    if held >= figures.VM_HIGH and (used is None or excess > figures.VM_EXCESS):
        return "fail", excess
    if used is None:
        return "skip", 0
    if not running and held > figures.VM_EXCESS:
        return "fail", excess
    return ("warn" if excess > max(figures.VM_EXCESS, 2 * used) else "pass"), excess


def _run(ctx: Context) -> Iterable[Checked]:
    machines = vm.find(ctx.sources)
    if not machines:
        yield CHECK.say("pass", "no container VM runs on this machine")
        return
    desktops, why = _engines(ctx)
    for one in machines:
        used = sum(picture.used() for picture in desktops) if not why else None
        running = sum(len(picture.running()) for picture in desktops)
        status, excess = grade(one.held, used, running)
        if status == "skip":
            raise Missing(f"the VM of {one.app} holds {format_bytes(one.held)}; what its containers use: {why}",
                          "docker ps")  # fmt: skip
        inside = (
            f"{running} containers use {format_bytes(used)}" if used is not None else f"containers: {why}"
        )
        words = f"the VM of {one.app} holds {format_bytes(one.held)} while {inside}"
        yield CHECK.say(
            status,
            words,
            offenders=[Offender("process", one.app, one.proc.pid, one.proc.start, f"{one.measured} memory")],
            evidence={"vm_bytes": one.held, "containers_bytes": used, "excess_bytes": excess,
                      "confidence": _sure(one), "measured": one.measured},
            hint="" if status == "pass" else _hint(one),
            fix=one.restart if status == "fail" and one.restart else None,
        )  # fmt: skip


def _engines(ctx: Context) -> tuple[list[Picture], str]:
    """The engines in VMs; in words why nothing is known of them."""
    try:
        found = common.seen(ctx)
    except Missing as missing:
        return [], missing.why
    inside = [picture for picture in found.pictures if not picture.engine.here]
    return inside, "" if inside else "no engine in a VM answered"


def _sure(one: vm.Machine) -> float:
    """0.9 for held memory of a process that bears the app's own name; less for a shared name and for resident pages."""
    return round((0.9 if one.sure else 0.5) * (1.0 if one.measured == "held" else 0.8), 2)


def _hint(one: vm.Machine) -> str:
    if one.restart:
        return f"{' '.join(one.restart)}; this machine need not be restarted"
    return f"quit {one.app}, wait until its VM is gone, start it again; this machine need not be restarted"


CHECK = Check(
    id="DOC-7",
    category="containers",
    title="memory that the container VM keeps",
    about=(
        "The VM's process against the sum of its containers: more than 4 GB and twice their use above it warns; 20 GB, "
        "or over 4 GB without any container, fails. The hint restarts the VM's app, not the host."
    ),
    run=_run,
)
