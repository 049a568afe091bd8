"""What an exit is called: exit facts and their context -> a `Verdict` with its reasons in plain words.

A table of rules, first match wins. What an exit *costs* is another table, `COSTS`: the two are never mixed. Must not
count, delay or change a state; the raw status stays as it is. Tests: tests/policy/test_classify.py.
"""

from __future__ import annotations

from collections.abc import Callable
from signal import Signals
from typing import Literal, NamedTuple

from midwatch.model.exit import Cause, ExitFacts, Verdict
from midwatch.model.service import Rules
from midwatch.model.units import format_bytes, format_seconds
from midwatch.policy.defaults import PLANNED_CODE, PORT_EARLY

Why = Literal["requested", "unhealthy", "memory-guard", "fd-guard", "drain"] | None
Words = tuple[str, ...]


class Context(NamedTuple):
    """The facts, and what we did ourselves: `why` we were stopping, asked `by` whom, the failed probe's `detail`."""

    facts: ExitFacts
    rules: Rules
    why: Why
    by: str
    detail: str

    def got(self, *names: str) -> bool:
        """Did one of these signals end it?"""
        return self.facts.signal is not None and signal_name(self.facts.signal) in names


class Rule(NamedTuple):
    """When `holds`, the cause is `cause`; the rest makes the sentences."""

    cause: Cause
    sure: float
    holds: Callable[[Context], bool]
    because: Callable[[Context], Words]
    against: Callable[[Context], Words] = lambda _: ()
    do: Words = ()


def signal_name(number: int) -> str:
    """SIGTERM for 15; "signal 42" for one without a name."""
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


def reported_signal(code: int | None) -> int | None:
    """The N of a code 128+N: a shell, npx or uv reports so that its child died of signal N."""
    return code - 128 if code is not None and 128 < code <= 192 else None


def planned(facts: ExitFacts) -> bool:
    """Did it leave to be started again (75)?"""
    return facts.code == PLANNED_CODE


def port_words(port: int | None) -> str:
    """ "port 8787", or "its port" when the number was not told."""
    return f"port {port}" if port else "its port"


def how(facts: ExitFacts) -> str:
    """The raw end in words: "exit code 3", "SIGKILL"."""
    if facts.signal is not None:
        return signal_name(facts.signal)
    return "unknown status" if facts.code is None else f"exit code {facts.code}"


def _stop_words(c: Context) -> Words:
    who = f"asked to stop by {c.by}" if c.by else "asked to stop"
    if c.got("SIGKILL"):
        return who, f"it did not leave within {format_seconds(c.rules.stop.grace)} and was killed"
    return who, f"it ended with {how(c.facts)} after the stop signal"


def _guard_words(c: Context) -> Words:
    return c.detail or "it was over a line", f"we ended it for that; it left with {how(c.facts)}"


def _drained(c: Context) -> bool:
    return c.why == "drain" and c.facts.code is not None and c.facts.code in (0, c.rules.drain_code)


def _undrained(c: Context) -> bool:
    """Asked to drain, and ended by the very signal that asked."""
    return c.why == "drain" and c.rules.drain is not None and c.facts.signal == (c.rules.drain.signal or -1)


def _oom(c: Context) -> bool:
    """Killed for lack of memory. The group's counter alone is enough, unless the kernel's log could be read and does
    not name the process that got the KILL: then it was another one of the run, and this one was killed otherwise."""
    if not c.got("SIGKILL") and c.facts.code != 137:
        return False
    if c.facts.kernel_oom is not None or c.facts.oom_by:
        return True
    return c.facts.oom_kills > 0 and not (c.got("SIGKILL") and "kernel-log" in c.facts.checked)


def _oom_words(c: Context) -> Words:
    words: Words = (f"{c.facts.oom_by} has left its mark on the run's own group",) if c.facts.oom_by else ()
    if c.facts.oom_kills > 0:
        words += (f"the run's own memory group counted {c.facts.oom_kills} out-of-memory kill(s)",)
    if c.facts.kernel_oom is not None:
        words += (f"the kernel log says: {c.facts.kernel_oom}",)
    if c.facts.max_rss_bytes is not None:
        words += (f"its largest resident size was {format_bytes(c.facts.max_rss_bytes)}",)
    return words


def _killed_doubts(c: Context) -> Words:
    no_oom = ("no out-of-memory kill was counted or logged that would explain it",)
    if c.facts.oom_kills > 0:
        no_oom = (f"the kernel killed {c.facts.oom_kills} process(es) of the run for lack of memory, not this one",)
    return ("who sent it is not known", *(no_oom if c.got("SIGKILL") else ()))


_SHELL = {126: "found, but not executable", 127: "command not found"}


def _lived(c: Context) -> Words:
    return (f"{how(c.facts)} after {format_seconds(c.facts.duration)}",)


def _clean_words(c: Context) -> Words:
    return (*_lived(c), *(("this code asks for a planned restart",) if planned(c.facts) else ()))


def _lost_words(c: Context) -> Words:
    if not c.facts.unseen:
        return ("it ended while nobody could read its status",)
    first, last = (format_seconds(max(0.0, s)) for s in (c.facts.duration - c.facts.unseen, c.facts.duration))
    return (f"it died between {first} and {last} after its start, while nobody looked",)


def _port_words(c: Context) -> Words:
    return (*_lived(c), f"at that moment {port_words(c.facts.port)} was held by {c.facts.port_owner}")


def _crash_words(c: Context) -> Words:
    words = _lived(c)
    reported = reported_signal(c.facts.code)
    if reported is not None:
        words += (f"a code 128+{reported} is how a wrapper reports {signal_name(reported)} of its child",)
    if c.facts.code in _SHELL:
        words += (f"{c.facts.code} from a shell usually means: {_SHELL[c.facts.code]}",)
    if c.facts.oom_kills > 0:
        words += (f"{c.facts.oom_kills} process(es) of the run were killed for lack of memory while it ran",)
    return words


def _wrapper_doubts(c: Context) -> Words:
    number = reported_signal(c.facts.code)
    words = f"{signal_name(number or 0)} was reported, not received: a program may choose that code"
    return () if number is None else (words,)


_OOM_DO = ("raise its memory line, or find what grows: the kernel killed it, not its own fault handling",)

# Order matters: our own intent first, then what the program declared, then evidence, then signals, then the rest.
RULES: tuple[Rule, ...] = (
    Rule("requested", 1.0, lambda c: c.why == "requested", _stop_words),
    Rule("unhealthy", 1.0, lambda c: c.why == "unhealthy",
         lambda c: ("we stopped it: it was not ready in time, failed a health check or took too long",
                    *filter(None, [c.detail]))),
    Rule("memory-guard", 1.0, lambda c: c.why == "memory-guard", _guard_words,
         do=("find what grows (its evidence was captured before), or raise the line that is named here",)),
    Rule("fd-guard", 1.0, lambda c: c.why == "fd-guard", _guard_words,
         do=("find what is opened and never closed (its evidence names the files), or raise rlimits.nofile",)),
    Rule("drain", 1.0, _drained, lambda c: (c.detail, f"it was asked to drain and left with {how(c.facts)}")),
    Rule("memory-guard", 1.0, _undrained,
         lambda c: (c.detail, f"it was asked to drain by {how(c.facts)}, which it does not handle: that ended it"),
         do=("handle that signal, or name another one in drain.signal",)),
    Rule("oom", 0.7, lambda c: c.facts.status is None and (c.facts.oom_kills > 0 or c.facts.kernel_oom is not None),
         lambda c: (*_lost_words(c), *_oom_words(c)),
         lambda _: ("its status is unknown: it may have ended because one of its children was killed",), do=_OOM_DO),
    Rule("lost", 0.5, lambda c: c.facts.status is None, _lost_words,
         lambda _: ("the exit code is unknown, so a crash cannot be excluded",)),
    Rule("drain", 1.0, lambda c: c.facts.code is not None and c.facts.code == c.rules.drain_code,
         lambda c: (f"it left by itself with its declared drain code {c.rules.drain_code}",)),
    Rule("port-conflict", 0.85, lambda c: bool(c.facts.port_owner and c.facts.code) and c.facts.duration <= PORT_EARLY,
         _port_words, lambda _: ("it may have had another reason as well: its last lines of output tell",),
         do=("stop that holder, or give this service another port; it is tried again by itself",)),
    Rule("permanent", 1.0, lambda c: c.facts.code in c.rules.permanent_codes,
         lambda c: (f"exit code {c.facts.code} says that a new try cannot help (78: configuration error)",),
         do=("read the last lines of its output and correct the configuration; it is looked at again by itself",)),
    Rule("clean", 1.0, lambda c: c.facts.code == 0 or planned(c.facts), _clean_words),
    Rule("oom", 0.95, _oom, _oom_words, _wrapper_doubts, do=_OOM_DO),
    Rule("segfault", 1.0, lambda c: c.got("SIGSEGV", "SIGBUS"),
         lambda c: (f"{how(c.facts)}: it touched memory it does not own",),
         do=("look for a native extension or library that was updated last",)),
    Rule("abort", 1.0, lambda c: c.got("SIGABRT"), lambda _: ("SIGABRT: it ended itself, as a failed assertion does",),
         do=("the reason is usually in the last lines of its output",)),
    Rule("killed", 0.9, lambda c: c.got("SIGTERM", "SIGKILL", "SIGINT", "SIGHUP", "SIGQUIT"),
         lambda c: (f"{how(c.facts)} arrived from outside; we did not send it",), _killed_doubts),
    Rule("crash", 1.0, lambda _: True, _crash_words, _wrapper_doubts),
)  # fmt: skip


def classify(facts: ExitFacts, rules: Rules, why: Why = None, by: str = "", detail: str = "") -> Verdict:
    """The verdict on one exit. `why`, `by`: our own running stop; `detail`: what the failed probe said."""
    c = Context(facts, rules, why, by, detail)
    rule = next(rule for rule in RULES if rule.holds(c))
    reported = reported_signal(facts.code) if rule.cause in ("oom", "crash") else None
    sure = rule.sure if reported is None else rule.sure - 0.15
    return Verdict(rule.cause, sure, rule.because(c), rule.against(c), rule.do, reported)


# What a cause costs: the budget it spends. One table for the policy and for every reader of logs (summary.py).
COSTS: dict[Cause, str | None] = {
    "requested": None, "permanent": None, "clean": "clean", "drain": "drain", "unhealthy": "unhealthy",
    "killed": "killed", "lost": "killed", "oom": "memory", "memory-guard": "memory", "fd-guard": "fds",
    "crash": "crash", "segfault": "crash", "abort": "crash", "port-conflict": "port", "spawn-failed": "crash",
}  # fmt: skip


def cost(cause: str | None, code: int | None = None) -> str | None:
    """The budget a recorded exit spent. A cause nobody knows, or none with a code other than 0, is a crash."""
    if cause is None:
        return "clean" if code == 0 else "crash"
    table: dict[str, str | None] = dict(COSTS.items())
    return table.get(cause, "crash")
