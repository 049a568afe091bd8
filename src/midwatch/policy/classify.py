"""What an exit is called: exit facts and their context -> a `Verdict` with its reasons in plain words.

A table of rules, first match wins; each rule is a test and a sentence-maker. What an exit *costs* is another
table (budget.py): the two are never mixed. Must not count, delay or change a state; the raw status stays as it is.
Tests: tests/policy/test_classify.py.
"""

from __future__ import annotations

from collections.abc import Callable
from signal import Signals
from typing import Literal, NamedTuple, cast

from midwatch.model.exit import Cause, ExitFacts, Verdict
from midwatch.model.service import Rules
from midwatch.model.units import format_bytes, format_seconds

Why = Literal["requested", "unhealthy"] | None


class Context(NamedTuple):
    """What the classifier needs to know beside the facts."""

    facts: ExitFacts
    rules: Rules
    why: Why
    by: str
    detail: str


def signal_name(number: int) -> str:
    """SIGTERM for 15; "signal 42" for one without a name."""
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


def reported_signal(code: int | None) -> int | None:
    """The N of a code 128+N: a shell, npx or uv reports so that its child died of signal N."""
    return code - 128 if code is not None and 128 < code <= 192 else None


def how(facts: ExitFacts) -> str:
    """The raw end in words: "exit code 3", "SIGKILL"."""
    if facts.signal is not None:
        return signal_name(facts.signal)
    return "unknown status" if facts.code is None else f"exit code {facts.code}"


_FROM_OUTSIDE = frozenset({"SIGTERM", "SIGKILL", "SIGINT", "SIGHUP", "SIGQUIT"})
_FAULTS = frozenset({"SIGSEGV", "SIGBUS"})


def _signalled(c: Context, names: frozenset[str]) -> bool:
    return c.facts.signal is not None and signal_name(c.facts.signal) in names


def _oom(c: Context) -> bool:
    killed = c.facts.code == 137 or _signalled(c, frozenset({"SIGKILL"}))
    return killed and (c.facts.oom_kills > 0 or c.facts.kernel_oom is not None)


def _say_stop(c: Context) -> Verdict:
    who = f"asked to stop by {c.by}" if c.by else "asked to stop"
    because = (who, f"it ended with {how(c.facts)} after the stop signal")
    if _signalled(c, frozenset({"SIGKILL"})):
        because = (who, f"it did not leave within {format_seconds(c.rules.stop.grace)} and was killed")
    return Verdict("requested", 1.0, because)


def _say_unhealthy(c: Context) -> Verdict:
    because = ("we stopped it: it was not ready in time or failed its health probe",)
    return Verdict("unhealthy", 1.0, because + ((c.detail,) if c.detail else ()))


def _say_lost(c: Context) -> Verdict:
    return Verdict(
        "lost", 0.5, ("it ended while nobody could read its status",),
        ("the exit code is unknown, so a crash cannot be excluded",),
    )  # fmt: skip


def _say_drain(c: Context) -> Verdict:
    return Verdict("drain", 1.0, (f"it left by itself with its declared drain code {c.rules.drain_code}",))


def _say_permanent(c: Context) -> Verdict:
    meaning = " (configuration error)" if c.facts.code == 78 else ""
    return Verdict(
        "permanent", 1.0, (f"exit code {c.facts.code}{meaning} says that a new try cannot help",), (),
        ("read the last lines of its output and correct the configuration; it is looked at again by itself",),
    )  # fmt: skip


def _say_clean(c: Context) -> Verdict:
    return Verdict("clean", 1.0, (f"exit code 0 after {format_seconds(c.facts.duration)}",))


def _say_oom(c: Context) -> Verdict:
    because, sure = [], 0.95
    if c.facts.oom_kills > 0:
        because.append(f"the run's own memory group counted {c.facts.oom_kills} out-of-memory kill(s)")
        sure = 0.99
    if c.facts.kernel_oom is not None:
        because.append(f"the kernel log says: {c.facts.kernel_oom}")
    if c.facts.max_rss_bytes is not None:
        because.append(f"its largest resident size was {format_bytes(c.facts.max_rss_bytes)}")
    against: tuple[str, ...] = ()
    if c.facts.signal is None:
        against, sure = ("code 137 was reported by a wrapper, not received by us",), sure - 0.05
    return Verdict(
        "oom", sure, tuple(because), against,
        ("raise its memory line, or find what grows: the kernel killed it, not its own fault handling",),
        reported_signal(c.facts.code),
    )  # fmt: skip


def _say_fault(c: Context) -> Verdict:
    return Verdict(
        "segfault", 1.0, (f"{how(c.facts)}: it touched memory it does not own",), (),
        ("look for a native extension or library that was updated last",),
    )  # fmt: skip


def _say_abort(c: Context) -> Verdict:
    return Verdict(
        "abort", 1.0, ("SIGABRT: it ended itself, as a failed assertion or abort() does",), (),
        ("the reason is usually in the last lines of its output",),
    )  # fmt: skip


def _say_killed(c: Context) -> Verdict:
    against = ["who sent it is not known"]
    if _signalled(c, frozenset({"SIGKILL"})):
        against.append("no out-of-memory kill was counted or logged that would explain it")
    return Verdict("killed", 0.9, (f"{how(c.facts)} arrived from outside; we did not send it",), tuple(against))


_CODES = {
    126: "126 from a shell usually means: found, but not executable",
    127: "127 from a shell usually means: command not found",
}


def _say_crash(c: Context) -> Verdict:
    because = [f"{how(c.facts)} after {format_seconds(c.facts.duration)}"]
    reported = reported_signal(c.facts.code)
    against: tuple[str, ...] = ()
    if reported is not None:
        because.append(f"a code 128+{reported} is how a wrapper reports {signal_name(reported)} of its child")
        against = (f"{signal_name(reported)} was reported, not received: the program may have chosen that code",)
    if c.facts.code in _CODES:
        because.append(_CODES[c.facts.code])
    if c.facts.oom_kills > 0:
        because.append(f"{c.facts.oom_kills} process(es) of the run were killed for lack of memory while it ran")
    return Verdict("crash", 0.8 if reported else 1.0, tuple(because), against, (), reported)


Rule = tuple[str, Callable[[Context], bool], Callable[[Context], Verdict]]

# Order matters: our own intent first, then what the program declared, then evidence, then signals, then the rest.
RULES: tuple[Rule, ...] = (
    ("our stop", lambda c: c.why == "requested", _say_stop),
    ("our restart of an unhealthy run", lambda c: c.why == "unhealthy", _say_unhealthy),
    ("no status", lambda c: c.facts.status is None, _say_lost),
    ("drain code", lambda c: c.facts.code is not None and c.facts.code == c.rules.drain_code, _say_drain),
    ("permanent code", lambda c: c.facts.code in c.rules.permanent_codes, _say_permanent),
    ("code 0", lambda c: c.facts.code == 0, _say_clean),
    ("out of memory, with evidence", _oom, _say_oom),
    ("memory fault", lambda c: _signalled(c, _FAULTS), _say_fault),
    ("abort", lambda c: _signalled(c, frozenset({"SIGABRT"})), _say_abort),
    ("signal from outside", lambda c: _signalled(c, _FROM_OUTSIDE), _say_killed),
    ("everything else", lambda c: True, _say_crash),
)


def classify(facts: ExitFacts, rules: Rules, why: Why = None, by: str = "", detail: str = "") -> Verdict:
    """The verdict on one exit. `why`, `by`: our own running stop; `detail`: what the failed probe said."""
    context = Context(facts, rules, why, by, detail)
    return next(say(context) for _, holds, say in RULES if holds(context))


# What a cause costs: the budget it spends. One table for the policy and for every reader of logs (summary.py).
COSTS: dict[Cause, str | None] = {
    "requested": None,
    "drain": "drain",
    "clean": "clean",
    "port-conflict": "crash",
    "permanent": None,
    "oom": "memory",
    "memory-guard": "memory",
    "fd-guard": "memory",
    "unhealthy": "unhealthy",
    "segfault": "crash",
    "abort": "crash",
    "killed": "killed",
    "crash": "crash",
    "spawn-failed": "crash",
    "lost": "killed",
}


def cost(cause: str | None, code: int | None = None) -> str | None:
    """The budget a recorded exit spent. A cause nobody knows, or none with a code other than 0, is a crash."""
    if cause is None:
        return "clean" if code == 0 else "crash"
    return COSTS[cast(Cause, cause)] if cause in COSTS else "crash"
