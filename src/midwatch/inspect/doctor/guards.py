"""DOC-21: which of our own guards work on this machine, rung by rung, and what would make the others work.

The daemon knows best (it has rehearsed them); without one the machine is looked at afresh, nothing is tried. Must not
start, freeze or limit anything. Tests: tests/inspect/doctor/test_guards.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from midwatch.inspect.doctor.check import Check, Context, Missing
from midwatch.model.look import Checked

# What makes a rung work, as one line. A rung that is not named here has its reason only.
CURES = {
    "cgroup": "run midwatch as root, or as a systemd user service (Delegate=yes)",
    "cgroup.kill": "use Linux 5.14 or newer with cgroup v2",
    "memory limit": "give it a cgroup with the memory controller: 'midwatch unit systemd --user'",
    "oom evidence": "sysctl kernel.dmesg_restrict=0, or run as root",
    "pressure": "boot with psi=1",
    "tracing": "trace = true for the service, or sysctl kernel.yama.ptrace_scope=0",
    "exit of adopted runs": "use Linux 6.15 or newer",
    "memory counters": "nothing: small errors, allowed for",
}


def _run(ctx: Context) -> Iterable[Checked]:
    rungs = ctx.rungs if ctx.rungs is not None else _fresh(ctx)
    works = [rung for rung, words in rungs.items() if words == "yes"]
    lacks = {rung: words for rung, words in rungs.items() if words != "yes"}
    evidence = {"rungs": rungs, "from": "the daemon" if ctx.rungs is not None else "a fresh look"}
    if not lacks:
        yield CHECK.say("pass", f"all {len(works)} guards work here", evidence=evidence)
        return
    yield CHECK.say(
        "pass", f"{len(works)} of {len(rungs)} guards work here: {', '.join(works)}", evidence=evidence
    )
    for rung, words in lacks.items():
        yield CHECK.say("warn" if rung in _MATTER else "pass", f"{rung}: {words}", hint=_cure(rung, words))


def _cure(rung: str, words: str) -> str:
    if "no cgroup v2" in words:
        return "boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1)"
    return (
        CURES["cgroup" if "delegated" in words and rung != "memory limit" else rung] if rung in CURES else ""
    )


_MATTER = frozenset(
    {"pidfd", "cgroup", "memory limit", "pressure", "kill", "reap"}
)  # without it a guard is weaker


def _fresh(ctx: Context) -> dict[str, str]:
    if ctx.sources.recorded:
        raise Missing(
            "a recording cannot tell what midwatch could do there", "midwatch doctor on that machine"
        )
    from midwatch.machine import this_machine

    host = this_machine("doctor", 0).host()
    return {**({"start": host.refusal} if host.refusal else {}), **host.rungs}


CHECK = Check(
    id="DOC-21",
    category="limits",
    title="guards that work here",
    about=(
        "Each rung of midwatch's own guards (containment, memory limit, pressure, evidence ...): works, or "
        "why not and what would make it work. A rung that weakens a guard warns."
    ),
    run=_run,
    services=True,
)
