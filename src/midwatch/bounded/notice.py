"""The last line of a result: how it ended, what is shown of it, where the rest is, and the exact command to read on.

Written for a language model: a cut is said to be none of the command's errors, and what to do next is a command that
works as it stands. One line, counted in the cap. Must not decide what is shown. Tests: tests/bounded/test_notice.py.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import NamedTuple

from midwatch.bounded.preview import Shown

_WORDS = 200  # bytes of a reason that came from elsewhere
_NAMED = 4
_COUNT = 200  # lines of a page that is offered
_LENGTH = 16384  # or bytes, where there are no lines


class Kept(NamedTuple):
    """Where the whole output is. `ref` None: nowhere, `why` says why; with a ref: why something of it is missing."""

    ref: str | None
    complete: bool
    why: str = ""


def ended(state: str, code: int | None, number: int | None, message: str) -> str:
    """How it ended, in words."""
    if state == "exited":
        return f"finished, exit {code}" if code is not None else "finished, exit code unknown"
    if state == "signaled":
        return f"ended by {signal_name(number or 0)}, which midwatch did not send"
    if state == "failed":
        return f"not started: {message}"
    return message


def signal_name(number: int) -> str:
    """SIGKILL for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def write(how: str, shown: Sequence[Shown], total: int, lines: int, spool: Kept, more: Sequence[str]) -> str:
    """The whole line. `shown`: of the one stream, or of stdout and stderr. `more`: other facts, each in a few words."""
    parts = [how]
    cut = not all(one.whole for one in shown)
    if cut:
        parts[0] += "; the output is long, that is not an error" if not any(s.binary for s in shown) else ""
        parts.append(f"{total:,} bytes, {lines:,} lines in all")
        parts += _ranges(shown)
        parts += _where(shown, spool)
    parts += [_short(words) for words in more]
    return _line("[midwatch: " + "; ".join(parts) + "]")


def _ranges(shown: Sequence[Shown]) -> list[str]:
    if len(shown) > 1:
        return [f"shown: parts of stdout and of stderr, {sum(one.omitted for one in shown):,} bytes omitted"]
    one = shown[0]
    if one.binary:
        return ["binary"]
    gone = one.tail_begin - one.head_end
    where = f"omitted: bytes {one.head_end:,} to {one.tail_begin - 1:,} ({gone:,})" if gone else "shown from end to end"
    return [where + (f" and {one.cut:,} bytes inside long lines" if one.cut else "")]


def _where(shown: Sequence[Shown], spool: Kept) -> list[str]:
    if spool.ref is None:
        return [f"the rest is not kept ({_short(spool.why)})"]
    parts = [f"read on with: midwatch spool read {spool.ref} {_range(shown)}"]
    if not spool.complete:
        parts.insert(0, f"the spool is not complete ({_short(spool.why)})")
    return parts


def _range(shown: Sequence[Shown]) -> str:
    one = shown[0]
    if len(shown) > 1:
        return f"--line 1 --count {_COUNT}"
    if one.binary:
        return f"--offset 0 --length {_LENGTH} --raw"
    if one.head_end == one.tail_begin:  # nothing is missing but inside of long lines
        return f"--offset {one.cut_at} --length {_LENGTH}"
    if one.lines_left == 0:
        return f"--offset {one.head_end} --length {_LENGTH}"
    return f"--line {one.next_line} --count {_COUNT}"


def holders(names: Sequence[tuple[int, str]], left: bool) -> str:
    """Who still held the pipe."""
    told = ", ".join(f"{pid} ({command[:40]})" for pid, command in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    fate = "were left running" if left else "were ended"
    return f"processes that still held its output {fate}: {told}{more}"


def _short(words: str) -> str:
    data = words.encode("utf-8", "replace")
    return words if len(data) <= _WORDS else data[: _WORDS - 3].decode("utf-8", "ignore") + "..."


def _line(words: str) -> str:
    return "".join(c if c.isprintable() else " " for c in words)
