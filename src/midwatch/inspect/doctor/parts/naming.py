"""How a check names who is meant: short, without secrets, with the identity that a later step can check (GEN-2).

Must not read anything. Tests: tests/inspect/doctor/test_hostile.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from midwatch.model.look import Offender, Proc
from midwatch.model.units import format_bytes, format_seconds

_WIDE = 60


def short(proc: Proc, room: int = _WIDE) -> str:
    """Its command line on one line, redacted; programs by their last name."""
    from midwatch.record.redact import redact

    words = list(proc.argv[:12])
    if words and words[0].startswith("/"):
        words[0] = words[0].rpartition("/")[2] or words[0]
    text = redact(" ".join(words)) if words else f"[{proc.name}]"
    clean = "".join(char if char.isprintable() else " " for char in text)
    return clean if len(clean) <= room else clean[: room - 1] + "…"


def offender(proc: Proc, now: float, detail: str = "") -> Offender:
    """A process with its age and what it holds."""
    facts = [f"{format_seconds(max(0.0, now - proc.started))} old"] if proc.started else []
    if (held := memory(proc)) is not None:
        facts.append(format_bytes(held))
    words = ", ".join([*facts, *([detail] if detail else [])])
    return Offender("process", short(proc), proc.pid, proc.start, words)


def memory(proc: Proc) -> int | None:
    """What it holds, else what is resident of it; None: cannot be told."""
    return proc.held if proc.held is not None else proc.rss


def total(procs: Iterable[Proc]) -> int:
    """Of all whose memory can be told."""
    return sum(memory(proc) or 0 for proc in procs)


def some(names: Iterable[str], most: int = 3) -> str:
    """The first few, and how many more."""
    known = list(names)
    more = len(known) - most
    return ", ".join(known[:most]) + (f" and {more} more" if more > 0 else "")


def count(number: int, noun: str) -> str:
    """ "1 lock", "2 locks"."""
    return f"{number} {noun}" + (
        "" if number == 1 else "es" if noun.endswith(("ss", "sh", "ch", "x")) else "s"
    )
