"""Why the machine froze: one verdict out of what several checks found, which nobody sees in any of them alone.

Reads results, not files: the reset and its reports (DOC-9), native crashes (DOC-10), containers without a limit, near
it or all at once (DOC-3 to 5), the VM that keeps memory (DOC-7), pressure now (DOC-1). No record of a freeze, no
verdict. A crash of a process is never the cause: it ends the process. Must not read the system, except through `judge`.
Tests: tests/inspect/test_freeze.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from midwatch.inspect.sources import Sources
from midwatch.model.look import Checked

READS = ("DOC-1", "DOC-3", "DOC-4", "DOC-5", "DOC-7", "DOC-9", "DOC-10")
_BAD = ("warn", "fail")
# What each sign adds to "memory ran out", on top of a hang without any record of why.
_ALONE, _JETSAM, _MOST = 0.3, 0.3, 0.95
_WEIGHT = {"DOC-3": 0.15, "DOC-7": 0.15, "DOC-5": 0.05, "DOC-4": 0.05, "DOC-1": 0.1}
_LIKELY = 0.5
_PANICS = {
    "driver": ("a driver failed", 0.85),
    "guest": ("the virtual machine's hypervisor failed", 0.7),
    "watchdog": ("the machine stood still until its watchdog ended it", 0.6),
    "userspace watchdog": ("a part of the system stood still until its watchdog ended the machine", 0.6),
    "memory": ("memory ran out", 0.85),
}


class Freeze(msgspec.Struct, frozen=True):
    """The verdict, in the words of `why`. `at`: when it froze, by the record."""

    cause: str
    confidence: float
    because: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    do: tuple[str, ...] = ()
    at: float | None = None


def judge(sources: Sources) -> Freeze | None:
    """Run the checks that are read, and fuse them."""
    from midwatch.inspect.doctor import registry, run
    from midwatch.inspect.doctor.check import Context

    wanted = [check for check in registry.checks() if check.id in READS]
    return verdict(run.run(Context(sources), wanted))


def verdict(results: Iterable[Checked]) -> Freeze | None:
    """Of what doctor found; None when no freeze is on record."""
    by: dict[str, list[Checked]] = {}
    for one in results:
        by.setdefault(one.id, []).append(one)
    record = next(
        (one for one in by.get("DOC-9", []) if one.status in _BAD and "class" in one.evidence), None
    )
    if record is None:
        return None
    signs = _signs(by)
    kind = str(record.evidence["class"])
    found = _hang(record, signs) if kind == "hang" else _panic(record, kind, signs)
    at = record.evidence.get("at")
    when = float(at) if isinstance(at, int | float) else None
    do = tuple(dict.fromkeys([*(one.hint for one in found[3] if one.hint), *_do(by)]))
    return Freeze(found[0], round(min(_MOST, found[1]), 2), found[2], (*found[4], *_apart(by)), do, when)


def _signs(by: dict[str, list[Checked]]) -> list[Checked]:
    """What says that memory is short in general, the strongest first."""
    found = [one for name in _WEIGHT for one in by.get(name, []) if one.status in _BAD]
    return sorted(found, key=lambda one: (-_WEIGHT[one.id], one.status != "fail"))


Found = tuple[str, float, tuple[str, ...], list[Checked], tuple[str, ...]]


def _hang(record: Checked, signs: list[Checked]) -> Found:
    """No panic: a jetsam event right before says memory; without one, what is wrong now may say it."""
    jetsam = "before_s" in record.evidence
    sure = _ALONE + (_JETSAM if jetsam else 0.0) + sum(_once(signs).values())
    because = (record.message, *(one.message for one in signs))
    if jetsam or sure > _LIKELY:
        against = () if jetsam else ("no jetsam event is on record near the reset",)
        cause = "memory ran out and the machine stood still"
        culprit = next(
            (one for one in signs if one.id in ("DOC-3", "DOC-7", "DOC-4") and one.status == "fail"), None
        )
        if culprit is not None and culprit.offenders:
            cause += f": {culprit.offenders[0].name} is the likeliest to have taken it"
        return cause, sure, because, [*signs, record], against
    return (
        "a hang or a loss of power, cause not known",
        _ALONE,
        because,
        [record],
        ("nothing says that memory was short",),
    )


def _panic(record: Checked, kind: str, signs: list[Checked]) -> Found:
    """A panic names its class. Watchdogs fire for memory too; a driver's panic has nothing to do with it."""
    cause, sure = _PANICS.get(kind, ("the kernel failed", 0.4))
    if kind in ("watchdog", "userspace watchdog") and (signs or "memory pressure" in record.message):
        because = (record.message, *(one.message for one in signs))
        total = sure + sum(_once(signs).values())
        return "memory ran out until the watchdog ended the machine", total, because, [*signs, record], ()
    if kind == "memory":
        return cause, sure, (record.message, *(one.message for one in signs)), [*signs, record], ()
    against = tuple(f"true, but no reason for this panic: {one.message}" for one in signs)
    return cause, sure, (record.message,), [record], against


def _once(signs: list[Checked]) -> dict[str, float]:
    """Each kind of sign counts once; a warning counts half."""
    weight: dict[str, float] = {}
    for one in signs:
        worth = _WEIGHT[one.id] * (1.0 if one.status == "fail" else 0.5)
        weight[one.id] = max(weight.get(one.id, 0.0), worth)
    return weight


def _apart(by: dict[str, list[Checked]]) -> list[str]:
    """Native crashes of the same days: told, and told that they are another matter. And what could not be read."""
    found = [f"{one.message}: a trouble of its own, for it ends that process and never the machine"
             for one in by.get("DOC-10", []) if one.status in _BAD]  # fmt: skip
    found += [
        f"not known: {one.message}" for name in READS for one in by.get(name, []) if one.status == "skip"
    ]
    return found


def _do(by: dict[str, list[Checked]]) -> list[str]:
    return [one.hint for one in by.get("DOC-10", []) if one.status in _BAD and one.hint]


def lines(found: Freeze) -> list[str]:
    """For a person, a line each; the front end wraps them."""
    told: list[str] = [f"VERDICT  {found.cause}  (confidence {found.confidence:.2f})"]
    heads: tuple[tuple[str, Any], ...] = (
        ("because", found.because),
        ("against", found.against),
        ("do", found.do),
    )
    return told + [f"{head}: {words}" for head, rows in heads for words in rows]
