"""From what a run has left (tapes, counts, status) to its `Result`: previews, notice, one text within the cap.

If not everything can be shown the spool is made here at the latest, from what was kept early: nothing disappears. Must
not read pipes nor signal anybody. Tests: tests/system/test_bounded_exec.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from midwatch.bounded import notice, preview
from midwatch.bounded.drain import Drain
from midwatch.bounded.limits import Limits
from midwatch.bounded.preview import Kept, Shown
from midwatch.bounded.result import Quality, Result, State, Stream
from midwatch.bounded.sink import Sink
from midwatch.bounded.tape import Tape
from midwatch.policy import defaults_bounded as d

_SEPARATOR = "--- stderr ---\n"
_FIXED = 64  # bytes that the separator and joining newlines may take


class Facts(NamedTuple):
    """What was asked for, and what is known beside the output."""

    command: tuple[str, ...]
    cwd: str
    limits: Limits
    timeout: float
    idle: float | None
    memory: int | None
    duration: float
    own_peak: int  # our own largest resident size when it was started: see `_rss`
    earlier: str | None
    warnings: tuple[str, ...]
    spooling: bool


def finish(facts: Facts, drain: Drain, tapes: Sequence[Tape], sink: Sink) -> Result:
    """The result of a run that is over."""
    state, code, number = _ending(drain)
    message = _message(state, facts)
    lines = [sink.lines] if len(tapes) == 1 else [tape.lines for tape in tapes]
    ends = [_kept(tape, count, facts.limits) for tape, count in zip(tapes, lines, strict=True)]
    how = notice.ended(state, code, number, message)
    more = _more(facts, drain)
    clean = state == "exited" and code == 0 and not more
    plain = "" if clean else notice.write(how, (), sink.total, sink.lines, notice.Kept(None, True), more)
    shown = _show(ends, facts.limits, len(plain.encode()) + 1)
    line = plain
    if not all(one.whole for one in shown):
        sink.keep()
        more = _more(facts, drain)
        room = _draft(how, ends, sink, facts, more)
        shown = _show(ends, facts.limits, room, cut=True)
        line = notice.write(how, shown, sink.total, sink.lines, _where(sink, facts), more)
    return _result(facts, drain, sink, shown, ends, line, state, message)


def _where(sink: Sink, facts: Facts) -> notice.Kept:
    if not facts.spooling:
        return notice.Kept(None, False, "no spool was wanted")
    half = f"the first {facts.limits.spool_head:,} bytes and the last {facts.limits.spool_tail:,} are kept"
    return notice.Kept(sink.ref, sink.complete, sink.why or ("" if sink.complete else half))


def _draft(how: str, ends: Sequence[Kept], sink: Sink, facts: Facts, more: Sequence[str]) -> int:
    """How long the notice may become: with the largest numbers there can be."""
    widest = [
        Shown("", "", one.total, one.total, False, cut=one.total, cut_at=one.total)
        for one in ends
    ]
    line = notice.write(how, widest, sink.total, sink.lines, _where(sink, facts), more)
    return len(line.encode()) + 64  # "omitted: bytes A to B (C)" instead of one number


def _kept(tape: Tape, lines: int, limits: Limits) -> Kept:
    return Kept(bytes(tape.start), tape.newest(limits.tail * d.TAIL_RAW), tape.total, lines)


def _show(ends: Sequence[Kept], limits: Limits, notice_bytes: int, *, cut: bool = False) -> list[Shown]:
    if cut:
        head, tail = preview.rooms(limits, notice_bytes + (_FIXED if len(ends) > 1 else 0))
    else:
        head, tail = limits.inline_cap - notice_bytes - (_FIXED if len(ends) > 1 else 0), 0
    if len(ends) == 1:
        return [preview.show(ends[0], limits, head, tail)]
    out, err = ends
    heads = preview.shares(head, out.total, err.total)
    tails = preview.shares(tail, max(0, out.total - heads[0]), max(0, err.total - heads[1]))
    return [preview.show(end, limits, *room) for end, room in zip(ends, zip(heads, tails, strict=True), strict=True)]


def _more(facts: Facts, drain: Drain) -> list[str]:
    words = []
    if drain.holders:
        left = not any(holder.ended for holder in drain.holders)
        words.append(notice.holders([(holder.pid, holder.command) for holder in drain.holders], left))
    if drain.left:
        words.append(f"processes that could not be ended: {', '.join(map(str, drain.left[:8]))}")
    if facts.earlier:
        words.append(f"the same command ran minutes ago, its output is spool {facts.earlier}")
    return words


def _ending(drain: Drain) -> tuple[State, int | None, int | None]:
    status = drain.gone.status if drain.gone else None
    number = (status & 0x7F) or None if status is not None else None
    code = status >> 8 & 0xFF if status is not None and not number else None
    if drain.state:
        state: State = drain.state  # type: ignore[assignment]
        return state, code, number
    return ("signaled" if number else "exited"), code, number


def _message(state: State, facts: Facts) -> str:
    limits = facts.limits
    return {
        "timeout": f"ended after its time limit of {facts.timeout:g} s",
        "idle_timeout": f"ended because it printed nothing for {facts.idle or 0:g} s",
        "output_limit": f"ended because it printed more than {limits.output_kill:,} bytes",
        "memory_limit": f"ended because it used more than {facts.memory or 0:,} bytes of memory",
        "cancelled": "ended because it was cancelled",
    }.get(state, "")


def _rss(drain: Drain, facts: Facts) -> tuple[int | None, Quality]:
    """The kernel hands a child's peak down from who started it (the address space at its exec): below our own size it
    says nothing but a bound."""
    peak = drain.gone.max_rss if drain.gone else 0
    if not peak:
        return None, "absent"
    return peak, "exact" if peak > facts.own_peak else "upper-bound"


def _result(
    facts: Facts, drain: Drain, sink: Sink, shown: Sequence[Shown], ends: Sequence[Kept], line: str, state: State,
    message: str,
) -> Result:  # fmt: skip
    _, code, number = _ending(drain)
    whole = all(one.whole for one in shown)
    reason = drain.state
    info = sink.close({"state": state, "exit_code": code, "signal": number, "reason": reason})
    where = notice.Kept(info.ref, info.complete, info.why) if info and info.ref else _where(sink, facts)
    body = _join([one.text() for one in shown])
    text = body if not line else (body if not body or body.endswith("\n") else body + "\n") + line + "\n"
    rss, quality = _rss(drain, facts)
    both = [
        Stream(head=one.head, tail=one.tail, bytes_total=end.total, lines_total=end.lines)
        for one, end in zip(shown, ends, strict=True)
    ]
    return Result(
        state=state, exit_code=code, signal=number, reason=reason, message=message, bytes_total=sink.total,
        lines_total=sink.lines, bytes_omitted=sum(one.omitted for one in shown), head=_join([s.head for s in shown]),
        tail=_join([s.tail for s in shown]), text=text, notice=line, binary=any(one.binary for one in shown),
        spool=where.ref if not whole else None, spool_complete=whole or where.complete,
        spool_why="" if whole else where.why, duration_ms=round(facts.duration * 1000), max_rss_bytes=rss,
        max_rss_quality=quality, holders=tuple(drain.holders[: d.HOLDERS_MOST]), left=tuple(drain.left),
        earlier=facts.earlier, stdout=both[0] if len(both) > 1 else None, stderr=both[1] if len(both) > 1 else None,
        warnings=facts.warnings, command=facts.command, cwd=facts.cwd,
    )  # fmt: skip


def _join(parts: Sequence[str]) -> str:
    if len(parts) == 1 or not parts[1]:
        return parts[0]
    front = parts[0] if not parts[0] or parts[0].endswith("\n") else parts[0] + "\n"
    return front + _SEPARATOR + parts[1]
