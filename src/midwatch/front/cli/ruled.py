"""What a death was not, and what could not be looked at: the second half of a verdict.

Each check is one function over the recorded facts; it says why something is ruled out, or that it stays open, or
nothing when it does not matter for this cause. Only what was really looked at rules anything out: a counter that
nobody read is no zero. Pure, and must not judge: the cause is the policy's. Tests: tests/front/test_why_ruled.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from midwatch.front.cli.render import duration, size

Line = dict[str, Any]
Said = Iterator[tuple[bool, str]]  # (ruled out, or still open; the sentence)

UNASKED = frozenset({"oom", "segfault", "abort", "killed", "crash", "lost"})
OURS = frozenset({"requested", "unhealthy", "memory-guard", "fd-guard"})
OWN_WAY = frozenset({"drain", "clean", "permanent", "port-conflict", "crash"})  # by an exit code of its own
SENDERS = frozenset({"TERM", "KILL", "INT", "HUP", "QUIT"})
KILLS = frozenset({"SIGKILL"})
_STOPS = ("stop.begin", "stop.signal", "stop.kill")


class Case(NamedTuple):
    """One end and everything the record has around it. `samples`: see samples.py; `complete`: the run's start and all
    that follows are in the lines that were read."""

    end: Line
    run: list[Line]  # what was written about the run before it ended
    daemon: list[Line]  # what midwatch wrote about itself and the machine before the end
    samples: dict[str, Any] | None = None
    complete: bool = True

    @property
    def cause(self) -> str:
        """The recorded cause."""
        return str(self.end.get("cause") or "")

    @property
    def facts(self) -> dict[str, Any]:
        """What the cause was judged from; empty for one that never started, or that another version wrote."""
        return facts(self.end)

    def had(self, *events: str) -> list[Line]:
        """The run's lines of these events."""
        return [line for line in self.run if line.get("event") in events]


def acts(tripped: Line) -> bool:
    """Did a guard do more than say it?"""
    return tripped.get("action", "stop") != "warn" and tripped.get("level") in ("soft", "hard")


def facts(end: Line) -> dict[str, Any]:
    """The recorded facts behind an exit."""
    cause = end.get("input")
    found = cause.get("facts") if isinstance(cause, dict) else None
    return found if isinstance(found, dict) else {}


def ruled_out(case: Case) -> tuple[list[str], list[str]]:
    """Sentences: what it was not, and what could not be ruled out."""
    said = [piece for check in CHECKS for piece in check(case)]
    return [text for out, text in said if out], [text for out, text in said if not out]


def _killed_by_nine(case: Case) -> bool:
    return case.end.get("signal") == "SIGKILL" or case.end.get("code") == 137


def _oom_killer(case: Case) -> Said:
    """The kernel's OOM killer: by the run's own counter, else by the kernel's log, else open."""
    found, checked = case.facts, case.facts.get("checked") or ()
    if case.cause == "oom" or found.get("oom_kills") or "input" not in case.end:
        return
    if "oom-counter" in checked and case.cause in UNASKED | OURS:
        yield True, "not the kernel's OOM killer: its counter for this run stayed 0"
    elif case.cause == "lost":
        yield False, "the kernel's OOM killer: how it ended was not seen, and no counter of its own could be read"
    elif not _killed_by_nine(case):
        signal = case.end.get("signal")
        how = f"signal {signal}" if signal else f"exit code {case.end.get('code')}"
        if case.cause in UNASKED and (signal or case.end.get("code") is not None):
            yield True, f"not the kernel's OOM killer: that sends SIGKILL, and this was {how}"
    elif "kernel-log" in checked:
        yield True, "not the kernel's OOM killer: the kernel's log names no process of this run"
    elif case.cause in UNASKED:
        yield False, ("the kernel's OOM killer: the run had no memory group with a counter of its own, and the "
                      "kernel's log could not be read")  # fmt: skip


def _oomd(case: Case) -> Said:
    """systemd-oomd, which kills a whole group and leaves a mark on it."""
    if "oomd" in (case.facts.get("checked") or ()) and not case.facts.get("oom_by") and _killed_by_nine(case):
        yield True, "not systemd-oomd: it left no mark on the run's group"


def _ourselves(case: Case) -> Said:
    """Us: no stop was asked, no guard and no probe acted."""
    if case.cause not in UNASKED:
        return
    acted = case.had(*_STOPS, "guard.drain") or [g for g in case.had("guard.tripped") if acts(g)]
    if acted:
        names = ", ".join(dict.fromkeys(str(line.get("event")) for line in acted))
        yield False, f"midwatch itself: it had acted on this run before ({names})"
    elif not case.complete:
        yield False, "midwatch itself: the record begins later than this run"
    elif case.cause == "lost":
        yield True, "not midwatch, as long as it looked: no stop was asked, no guard and no probe acted on this run"
    else:
        yield True, "not midwatch: no stop was asked, and no guard and no probe acted on this run"


def _managers(case: Case) -> Said:
    """systemd, launchd or supervisord above us: they signal what they think is theirs."""
    if case.cause != "killed":
        return
    started = max((n for n, x in enumerate(case.daemon) if x.get("event") == "daemon.started"), default=None)
    if started is None:
        return
    above = [x for x in case.daemon[started:] if x.get("event") == "outer.detected"]
    if above:
        yield False, f"{above[-1].get('manager')}, which runs midwatch and may signal its services"
    else:
        yield True, "not another manager that midwatch knows of: nothing ran midwatch when it started"


def _person(case: Case) -> Said:
    """Somebody's kill, where a counter or our own intent says who it was."""
    if case.cause == "oom" and case.facts.get("oom_kills"):
        yield True, "not somebody's kill: the kernel counted this one as its own, for lack of memory"
    if case.cause in ("memory-guard", "fd-guard") and case.had("guard.tripped"):
        yield True, "not somebody else's kill: what midwatch was going to do was written down before it did it"


def _memory(case: Case) -> Said:
    """Too much memory, where it was measured and there was a line."""
    samples = case.samples or {}
    peak, line = samples.get("peak_bytes"), samples.get("line_bytes")
    if case.cause in ("memory-guard", "oom") or peak is None or line is None or peak >= line:
        return
    if case.had("guard.tripped"):
        return  # a soft line below this one has asked it to leave
    yield True, f"not its memory line: the most that was measured is {size(peak)}, the line is {size(line)}"


def _descriptors(case: Case) -> Said:
    """Out of descriptors, where they were counted."""
    samples = case.samples or {}
    used, limit = samples.get("fds"), samples.get("fd_limit")
    if case.cause in ("fd-guard", "requested") or used is None or not limit:
        return
    if used < limit * 0.7:
        yield True, f"not its descriptors: {used} of {limit} were open at the last look"
    else:
        yield False, f"its descriptors: {used} of {limit} were open at the last look"


def _disk(case: Case) -> Said:
    """A full disk, when the journal has one."""
    states = [x.get("event") for x in case.daemon if x.get("event") in ("disk.low", "disk.ok")]
    if case.cause in ("crash", "abort", "unhealthy") and states and states[-1] == "disk.low":
        yield False, "the disk: it was nearly full at that time"


def _itself(case: Case) -> Said:
    """A kill or a crash, where its own exit code or our own stop excludes it."""
    code, stops = case.end.get("code"), case.had("stop.begin")
    if case.cause in OWN_WAY and code is not None and code < 128:
        yield True, f"not a kill: exit code {code} is one that it gave itself"
    elif case.cause in OURS and case.cause != "requested":
        yield True, "not a crash: it lived until midwatch stopped it"
    elif case.cause == "requested" and stops:
        lived = "; it left within its grace" if case.end.get("signal") != "SIGKILL" else ""
        yield True, f"not a crash and not a kill from outside: the stop was written down before it ended{lived}"
    elif case.cause == "spawn-failed":
        phase = case.end.get("phase")
        yield True, "not a crash: the program never ran" + (f" (it failed at: {phase})" if phase else "")


def _sleep(case: Case) -> Said:
    """A sleep of the machine just before."""
    gaps = [x for x in case.daemon[-20:] if x.get("event") == "clock.gap"]
    if gaps and case.cause in UNASKED | {"unhealthy"}:
        slept = ((gaps[-1].get("slept_ms") or 0) + (gaps[-1].get("paused_ms") or 0)) / 1000
        yield False, f"a sleep of the machine ({duration(slept)}) during this run"


CHECKS: tuple[Callable[[Case], Said], ...] = (
    _oom_killer, _oomd, _ourselves, _managers, _person, _itself, _memory, _descriptors, _disk, _sleep,
)  # fmt: skip
