"""What a service may use: its memory lines, how it drains, its descriptors; and what contradicts itself in them.

Must not know the machine: shares of its memory are settled where services of all files are known.
"""

from __future__ import annotations

import signal

from midwatch.config.problems import Report
from midwatch.config.tables import Values
from midwatch.model.service import DrainRules, FdRules, MemoryLines
from midwatch.model.units import format_bytes


def make_memory(report: Report, values: Values) -> MemoryLines | None:
    """None: no line of its own."""
    soft, hard = values["memory.soft"], values["memory.hard"]
    if soft is not None and isinstance(hard, int) and soft >= hard:
        words = f"the soft line ({format_bytes(soft)}) is not below the hard one ({format_bytes(hard)})"
        report.error(values.path("memory.soft"), words, "it would be ended before it could drain")
    return None if soft is None and hard is None else MemoryLines(soft, hard)


def make_drain(report: Report, values: Values) -> DrainRules | None:
    """None: nobody asks it; it may still drain on its own account, with its drain code."""
    number, command, code = values["drain.signal"], values["drain.command"], values["drain.code"]
    if not values.has("drain"):
        return None
    if number is not None and command is not None:
        report.error(values.path("drain.command"), "a second way beside drain.signal", "it is asked in exactly one way")
    other = values["restart.drain_code"]
    if code is not None and other is not None and code != other:
        report.error(values.path("drain.code"), f"{code}, but restart.drain_code is {other}", "remove one of the two")
    if number in (signal.SIGKILL, signal.SIGABRT):
        report.error(values.path("drain.signal"), "would end it, not ask it", 'for example "USR1" or "TERM"')
    alone = number is None and command is None
    if alone and not {"drain", "drain.signal", "drain.command", "drain.code"} & values.failed and code is None:
        report.error(values.path("drain"), "does not say how it is asked", "give drain.signal or drain.command")
    elif alone and "drain.within" in values.given:
        report.error(values.path("drain.within"), "nobody asks it", "give drain.signal or drain.command")
    if not alone and values["memory.soft"] is None:
        hint = 'give memory.soft, for example memory.soft = "1.5G"'
        report.warn(values.path("drain"), "no line at which it would be asked", hint)
    return None if alone else DrainRules(number, command, values["drain.within"])


def make_fds(report: Report, values: Values) -> FdRules | None:
    """None: only what holds for everybody."""
    warn, act = values["fds.warn"], values["fds.act"]
    if warn > act:
        written = "fds.warn" if "fds.warn" in values.given else "fds.act"
        report.error(values.path(written), f"warned at {warn:.0%}, but urgent at {act:.0%}", "the warning comes first")
    each = values["fds.per_unit"]
    if each is not None and values["health.json_active"] is None and values["deep.json_active"] is None:
        report.error(values.path("fds.per_unit"), "nobody counts the units", "give health.http and health.json_active")
    found = FdRules(warn, act, values["fds.pools"] or {}, values["fds.action"], each)
    return None if found == FdRules() else found
