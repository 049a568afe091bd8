"""Every number of bounded execution, spool and session store: value, unit, reason, and the test that pins it.

The same form as `defaults`. Most can be set for one call through `bounded.Limits`; none can be switched off. Must not
decide anything. Tests: tests/bounded/test_figures.py.
"""

from __future__ import annotations

from midwatch.policy.defaults import GIB, MIB
from midwatch.policy.figure import Figures

KIB = 1 << 10

FIGURES = Figures()
_figure = FIGURES.add

_TEXT, _LIMITS, _EXEC = (f"test_{name}.py::" for name in ("text", "limits", "bounded_exec"))
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

# -- reading and searching what is kept
_SPOOL, _SEARCH = (f"test_{name}.py::" for name in ("spool_writer", "search"))
SPOOL_BLOCK = _figure("SPOOL_BLOCK", 64 * KIB, "bytes an index entry", "finding a line scans one block (30 us); the index of a full spool has 8 kB whatever is printed", "test_spool_shape.py::test_the_index_does_not_grow_with_the_lines")
SPOOL_STEP = _figure("SPOOL_STEP", 8 * MIB, "bytes", "reserved at once: looking at the quota costs up to 2 ms", _PIN)
SPOOL_LOCK = _figure("SPOOL_LOCK", 5.0, "s", "the folder's lock is held for milliseconds; longer means a stopped process", _PIN)
SPOOL_ADOPT = _figure("SPOOL_ADOPT", 30.0, "s", "64 callers may adopt at once, each reads 64 MiB for its sum", _PIN)
SPOOL_TRIES = _figure("SPOOL_TRIES", 5, "tries", "to read a ring that turns meanwhile; a page takes a millisecond, a turn of 16 MiB eight", _PIN)
SPOOL_COUNT = _figure("SPOOL_COUNT", 1000, "spools", "beyond it the oldest go: looking at all of them stays under 50 ms", "test_spool_retention.py::test_more_than_the_most_spools_are_not_kept")
SPOOL_GONE = _figure("SPOOL_GONE", 100, "spools", "of whose data only a line about them is left (A18)", "test_spool_retention.py::test_of_spools_that_are_gone_a_hundred_are_remembered")
SPOOL_YOUNG = _figure("SPOOL_YOUNG", 600.0, "s", "a result that was just given is not taken away for the next one's room", "test_spool_quota.py::test_the_young_are_not_evicted")
SPOOL_SWEEP = _figure("SPOOL_SWEEP", 60.0, "s", "age is looked at once a minute, when a spool is begun", _PIN)
SPOOL_TAIL_LINES = _figure("SPOOL_TAIL_LINES", 100, "lines", "of `tail` unless more are wanted", _PIN)
PAGE_NOTICE = _figure("PAGE_NOTICE", 512, "bytes", "of a page: what it is, what is missing, how to read on; counted in its cap", "test_spool_pages.py::test_a_page_and_its_notice_fit_the_cap")
PAGE_ESCAPE = _figure("PAGE_ESCAPE", 64, "bytes", "an escape sequence that a page's end would cut is left for the next page; longer ones are titles", "test_spool_pages.py::test_an_escape_sequence_is_not_split_by_a_page")
LINE_WINDOW = _figure("LINE_WINDOW", 64 * KIB, "bytes", "what of a line is looked at in one go: no line is held whole", _SEARCH + "test_a_line_longer_than_the_window_is_searched_in_windows")
LINE_OVERLAP = _figure("LINE_OVERLAP", KIB, "bytes", "windows share it: what is shorter is found across their border", _SEARCH + "test_a_line_longer_than_the_window_is_searched_in_windows")
MATCHES = _figure("MATCHES", 200, "matches", "shown; of a search in files the others go to a spool", _SEARCH + "test_two_hundred_matches_are_shown_and_the_rest_goes_to_a_spool")
MATCHES_MOST = _figure("MATCHES_MOST", 1_000_000, "matches", "written to that spool; then the search has found enough", _PIN)
EXCERPT = _figure("EXCERPT", 200, "bytes", "around the start of a match, however long the match is", _SEARCH + "test_an_excerpt_is_short_however_long_the_match")
SEARCH_CPU = _figure("SEARCH_CPU", 2.0, "s of CPU", "a spool has 64 MiB: an honest pattern needs 0.3 s", "test_search_worker.py::test_s15_a_regex_that_explodes_is_stopped")
SEARCH_WALL = _figure("SEARCH_WALL", 60.0, "s", "a search through files; what was found by then is the answer", _SEARCH + "test_a_search_ends_at_its_time")
SEARCH_FILES = _figure("SEARCH_FILES", 200_000, "files", "more is a search through a machine, not through a project", _SEARCH + "test_a_search_ends_at_its_number_of_files")
SEARCH_BIG = _figure("SEARCH_BIG", 10 * MIB, "bytes", "larger files are skipped unless asked for", _SEARCH + "test_large_files_are_skipped_unless_asked_for")
SEARCH_NOTICE = _figure("SEARCH_NOTICE", 1536, "bytes", "the last line of a search: what was found and left out; counted in its cap", _SEARCH + "test_the_text_fits_its_cap")
SEARCH_MEMORY = _figure("SEARCH_MEMORY", 256 * MIB, "bytes of address space", "of the worker: no pattern can make it grow further", _PIN)
FILE_SCAN = _figure("FILE_SCAN", 5.0, "s", "counting to a line of a file without an index: 10 GB; then it has to be read by offset", "test_spool_file.py::test_counting_ends_at_its_time")
FILE_NEAR = _figure("FILE_NEAR", MIB, "bytes", "a page by offset knows its line numbers if counting to it costs no more than reading this", _PIN)
IMAGE_BYTES = _figure("IMAGE_BYTES", 5 * MIB, "bytes", "what providers accept for one image", "test_image.py::test_an_image_is_judged_by_its_header")
IMAGE_PIXELS = _figure("IMAGE_PIXELS", 40_000_000, "pixels", "160 MB once decoded; a bomb of 200 kB can have a thousand times as many", "test_image.py::test_an_image_is_judged_by_its_header")

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

# -- session store
ITEM_INLINE = _figure("ITEM_INLINE", 8 * KIB, "bytes in the row", "scanning rows with large bodies in them costs 25 ms instead of 0.13 [M]", _LIMITS + "test_the_defaults_are_those_of_the_specification")
PAYLOAD_CHUNK = _figure("PAYLOAD_CHUNK", 256 * KIB, "bytes", "one 100 MiB blob: WAL 101 MiB; in such rows: 4 MiB [M]", _LIMITS + "test_the_defaults_are_those_of_the_specification")
CTX_BYTES = _figure("CTX_BYTES", 1_572_864, "bytes", "the whole request body", _LIMITS + "test_the_defaults_are_those_of_the_specification")
CTX_ITEMS = _figure("CTX_ITEMS", 400, "items", "a peer's default is unlimited: 163 messages went out whole", _LIMITS + "test_the_defaults_are_those_of_the_specification")
