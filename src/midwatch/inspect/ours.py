"""What is ours on this machine: keepers, engines, runs, services, and which instance a process says it belongs to.

The front fills it from the daemons' answers and the records; everybody who looks at strangers asks it first. A living
keeper is the reaper of all it started, so whatever descends from one is ours without a record. Must not ask a daemon
and must not read a file. Tests: tests/inspect/test_protect.py.
"""

from __future__ import annotations

import msgspec

from midwatch.model.look import Proc


class Instance(msgspec.Struct, frozen=True):
    """One instance of midwatch. `alive`: its keeper holds its lock; `runs`: those that it has a record of."""

    home: str
    alive: bool
    runs: frozenset[str] = frozenset()


class Ours(msgspec.Struct, frozen=True):
    """Processes by pid with their start (0: not known, the pid has to do). `protected`: services that the user called
    so; `instances` by the short name that the mark MIDWATCH_RUN bears.
    """

    keepers: dict[int, int] = {}
    engines: dict[int, int] = {}
    runs: dict[int, tuple[int, str]] = {}
    services: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    instances: dict[str, Instance] = {}

    def whose(self, proc: Proc, procs: dict[int, Proc]) -> str:
        """Words that say what of ours it is, or ""."""
        if _is(self.keepers, proc):
            return "it is the keeper of midwatch"
        if _is(self.engines, proc):
            return "it is the engine of midwatch"
        for one in lineage(proc, procs):
            start, run = self.runs.get(one.pid, (-1, ""))
            if start in (0, one.start):
                return f"it belongs to run {run}"
            if _is(self.keepers, one):
                return f"it was started by midwatch (keeper {one.pid})"
        return ""

    def marked(self, mark: str) -> tuple[str, str]:
        """(standing, words) of the value of MIDWATCH_RUN; standing: "" no mark, "ours" hands off, "dead" its run ended
        together with its supervisor.
        """
        if not mark:
            return "", ""
        for part in reversed(mark.split("/")):
            name, _, run = part.partition(":")
            known = self.instances.get(name)
            if known is None:
                return (
                    "ours",
                    f"it bears the mark of run {run} of an instance that is not known here ({name})",
                )
            if known.alive:
                return "ours", f"it bears the mark of run {run}, whose supervisor lives"
            if run in known.runs:
                return "ours", f"it bears the mark of run {run}: the next 'midwatch up' takes it back"
        return (
            "dead",
            f"it bears the mark of run {mark.rpartition(':')[2]}; that run has no record and no supervisor",
        )


def lineage(proc: Proc, procs: dict[int, Proc]) -> list[Proc]:
    """The process and its living ancestors, nearest first; a parent is never younger than its child."""
    found = [proc]
    seen = {proc.pid}
    while (parent := procs.get(found[-1].ppid)) is not None and parent.pid not in seen:
        if parent.start > found[-1].start:
            break  # the number was given to somebody else between two reads
        found.append(parent)
        seen.add(parent.pid)
    return found


def _is(known: dict[int, int], proc: Proc) -> bool:
    return proc.pid in known and known[proc.pid] in (0, proc.start)
