"""Every number of bounded execution, spool and session store: value, unit, reason, and the test that pins it.

The same form as `defaults`. Most can be set for one call through `bounded.Limits`; none can be switched off. Must not
decide anything. Tests: tests/bounded/test_figures.py.
"""

from __future__ import annotations

from typing import TypeVar

from midwatch.policy.defaults import GIB, MIB, Figure

T = TypeVar("T")
KIB = 1 << 10

FIGURES: dict[str, Figure] = {}


def _figure(name: str, value: T, unit: str, why: str, test: str) -> T:
    assert name not in FIGURES, f"{name} is defined twice"
    FIGURES[name] = Figure(name, value, unit, why, test)
    return value


_TEXT, _LIMITS, _EXEC = (f"test_{name}.py::" for name in ("text", "limits", "exec"))
_PIN = "test_figures.py::test_figures_that_no_decision_depends_on"

# -- what of a result goes inline
INLINE_CAP = _figure("INLINE_CAP", 40 * KIB, "bytes of UTF-8, notice included", "the field converged on 30-50 kB a result", _LIMITS + "test_the_defaults_are_those_of_the_specification")
INLINE_LEAST = _figure("INLINE_LEAST", 2 * KIB, "bytes", "a notice takes up to 700 bytes; below this nothing of the output would be left", _LIMITS + "test_a_cap_that_holds_no_preview_is_refused")
HEAD_SHARE = _figure("HEAD_SHARE", 0.3, "of the inline cap", "12,288 B: the start says what it is", _LIMITS + "test_the_defaults_are_those_of_the_specification")
TAIL_SHARE = _figure("TAIL_SHARE", 0.5, "of the inline cap", "20,480 B: the end has the error (peers that cut the tail get complaints)", _LIMITS + "test_the_defaults_are_those_of_the_specification")
TAIL_RAW = _figure("TAIL_RAW", 4, "x the tail", "kept raw, so that removing colours and carriage returns still leaves a full tail", _EXEC + "test_a_coloured_tail_is_still_full")
STDERR_SHARE = _figure("STDERR_SHARE", 0.25, "of head and of tail", "a chatty stdout must not push out the error text", _EXEC + "test_s9_stderr_is_seen_beside_a_flood")
LINE_CAP = _figure("LINE_CAP", 2 * KIB, "bytes a shown line", "one line of a minified file must not be the whole preview", _TEXT + "test_a_long_line_is_shown_by_both_ends")
LINE_HEAD = _figure("LINE_HEAD", 0.75, "of the line cap", "1,536 B", _TEXT + "test_a_long_line_is_shown_by_both_ends")
LINE_TAIL = _figure("LINE_TAIL", 0.125, "of the line cap", "256 B", _TEXT + "test_a_long_line_is_shown_by_both_ends")
LINES_CAP = _figure("LINES_CAP", 2000, "shown lines", "40 kB of newlines are no text", _TEXT + "test_lines_are_capped_too")
BINARY_LOOK = _figure("BINARY_LOOK", 8 * KIB, "bytes", "git looks at as many", _TEXT + "test_nul_and_many_invalid_bytes_are_binary")
BINARY_SHARE = _figure("BINARY_SHARE", 0.1, "invalid bytes", "Latin-1 prose has fewer, anything compressed has half", _TEXT + "test_nul_and_many_invalid_bytes_are_binary")
BINARY_HEX = _figure("BINARY_HEX", 256, "bytes", "enough to know a format by", _TEXT + "test_binary_is_shown_as_hex")
STRING_MOST = _figure("STRING_MOST", 4 * KIB, "bytes", "an OSC or DCS that is not terminated by then is text", _TEXT + "test_an_unterminated_string_is_given_up")

# -- spool
SPOOL_CAP = _figure("SPOOL_CAP", 64 * MIB, "bytes a result", "kept on disk; beyond it the middle is counted and dropped", _LIMITS + "test_the_defaults_are_those_of_the_specification")
SPOOL_HEAD = _figure("SPOOL_HEAD", 0.75, "of the spool", "48 MiB from the start, the ring at the end has 16 MiB", _LIMITS + "test_the_defaults_are_those_of_the_specification")
OUTPUT_KILL = _figure("OUTPUT_KILL", GIB, "bytes", "who prints more is not printing for anybody: its group is killed", _EXEC + "test_s1_a_flood_is_killed_at_a_gibibyte")
SPOOL_QUOTA = _figure("SPOOL_QUOTA", 2 * GIB, "bytes, all spools", "a peer's leftover files reached 268 GB", _LIMITS + "test_the_defaults_are_those_of_the_specification")
SPOOL_SHARE = _figure("SPOOL_SHARE", 0.1, "of free disk, if that is less", "a small disk has a small spool", _PIN)
SPOOL_FREE = _figure("SPOOL_FREE", GIB, "bytes that stay free", "the disk belongs to others, too", _LIMITS + "test_the_defaults_are_those_of_the_specification")
SPOOL_AGE = _figure("SPOOL_AGE", 7 * 86_400.0, "s", "a peer's store prunes at 7 days, too", _LIMITS + "test_the_defaults_are_those_of_the_specification")

# -- time
TIMEOUT = _figure("TIMEOUT", 120.0, "s", "a tool call that takes longer is a job", _LIMITS + "test_the_defaults_are_those_of_the_specification")
TIMEOUT_MOST = _figure("TIMEOUT_MOST", 3600.0, "s", "nothing waits for ever", _LIMITS + "test_a_timeout_has_an_end")
GRACE = _figure("GRACE", 2.0, "s", "between TERM and KILL", _EXEC + "test_s5_a_timeout_ends_who_ignores_term")
DRAIN = _figure("DRAIN", 1.0, "s", "after its leader has ended, somebody else may hold the pipe for ever", _EXEC + "test_s6_a_holder_of_the_pipe_is_listed_and_ended")
VERIFY = _figure("VERIFY", 1.0, "s", "to see that nobody is left; what of GRACE was not needed comes on top of it", _PIN)
REPEAT_WITHIN = _figure("REPEAT_WITHIN", 600.0, "s", "the same command again: the notice names the earlier spool", _EXEC + "test_a_repeated_command_is_told_of_its_earlier_spool")
MEMORY_EVERY = _figure("MEMORY_EVERY", 0.1, "s", "between two looks at a tree whose limit no cgroup holds", _PIN)
HOLDERS_MOST = _figure("HOLDERS_MOST", 16, "processes", "named in a result; the others are counted", _PIN)

# -- reading
READ_BUFFER = _figure("READ_BUFFER", 256 * KIB, "bytes", "one, reused; larger reads are not faster [M]", _PIN)
PIPE_BYTES = _figure("PIPE_BYTES", MIB, "bytes", "fewer wake-ups of both sides; what the system's user may have", _PIN)
REPEATS_KEPT = _figure("REPEATS_KEPT", 64, "commands", "remembered for the repeat hint", _PIN)

# -- session store
ITEM_INLINE = _figure("ITEM_INLINE", 8 * KIB, "bytes in the row", "scanning rows with large bodies in them costs 25 ms instead of 0.13 [M]", _LIMITS + "test_the_defaults_are_those_of_the_specification")
PAYLOAD_CHUNK = _figure("PAYLOAD_CHUNK", 256 * KIB, "bytes", "one 100 MiB blob: WAL 101 MiB; in such rows: 4 MiB [M]", _LIMITS + "test_the_defaults_are_those_of_the_specification")
CTX_BYTES = _figure("CTX_BYTES", 1_572_864, "bytes", "the whole request body", _LIMITS + "test_the_defaults_are_those_of_the_specification")
CTX_ITEMS = _figure("CTX_ITEMS", 400, "items", "a peer's default is unlimited: 163 messages went out whole", _LIMITS + "test_the_defaults_are_those_of_the_specification")
