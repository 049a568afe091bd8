"""Every number of the session store beyond `defaults_bounded`: value, unit, reason, and the test that pins it.

The same form as `defaults`. Must not decide anything. Tests: tests/bounded/sessions/test_figures.py.
"""

from __future__ import annotations

from midwatch.policy.defaults import DAY, GIB, MIB
from midwatch.policy.figure import Figures

KIB = 1 << 10

FIGURES = Figures()
_figure = FIGURES.add

_CHOICE, _STORE, _UPKEEP, _PAYLOAD, _LIVE = (f"test_{name}.py::" for name in ("choose", "store", "upkeep", "payload", "live"))
_PIN = "test_figures.py::test_figures_that_no_decision_depends_on"

# -- writing
BATCH_BYTES = _figure("BATCH_BYTES", 4 * MIB, "bytes a transaction", "the WAL of a 60 MiB payload stays under 8 MiB", _PAYLOAD + "test_s23_a_large_payload_keeps_the_wal_small")
STREAM_BYTES = _figure("STREAM_BYTES", MIB, "bytes read ahead of a stream", "nobody holds the write lock while a slow pipe is read", _PIN)
PAYLOAD_MOST = _figure("PAYLOAD_MOST", GIB, "bytes", "a stream that does not end must not fill the disk; what is larger is a file of its own", _PAYLOAD + "test_a_stream_that_does_not_end_is_refused")
ROOM_LEFT = _figure("ROOM_LEFT", 4 * MIB, "bytes free on the disk", "a payload stops before; deleting sessions on a full disk needs room in the log, too", _PAYLOAD + "test_a_payload_leaves_room_for_deleting")
BUSY_S = _figure("BUSY_S", 5.0, "s", "a write waits so long for another process, then Busy; the item is still the caller's", _STORE + "test_busy_is_typed")
DRAFT_BYTES = _figure("DRAFT_BYTES", 4 * KIB, "bytes", "streamed deltas are written together", _STORE + "test_s18_streamed_deltas_cost_their_own_bytes")
DRAFT_S = _figure("DRAFT_S", 0.5, "s", "what a crash may cost of a streamed answer", _STORE + "test_s18_streamed_deltas_cost_their_own_bytes")
DRAFT_LOOK = _figure("DRAFT_LOOK", 0.1, "s", "how often an open draft is looked after, when no delta does it", _UPKEEP + "test_a_late_delta_is_written_by_the_thread")
TOUCH_S = _figure("TOUCH_S", 1.0, "s", "the order of the list is this coarse: an append then leaves the index alone", _PIN)
BATCH_ROWS = _figure("BATCH_ROWS", 200, "rows a transaction or page", "10 ms of writing; nobody else waits longer", _STORE + "test_pages_are_bounded")
FIELD_BYTES = _figure("FIELD_BYTES", 512, "bytes", "titles, names, roles, call ids: what is longer is no name", _STORE + "test_long_names_are_refused")
MORE_BYTES = _figure("MORE_BYTES", 4 * KIB, "bytes of JSON", "a caller's own fields of an item, read with every page", _STORE + "test_long_names_are_refused")
DEPTH = _figure("DEPTH", 64, "branches of branches", "each adds a range to every read", _STORE + "test_branches_of_branches_end")
CALLS = _figure("CALLS", 64, "tool calls in one item", "more in one answer is no plan", _STORE + "test_long_names_are_refused")

# -- memory and the log
WRITER_CACHE = _figure("WRITER_CACHE", 4 * MIB, "bytes of pages", "with two readers 8 MiB in all", _PIN)
READER_CACHE = _figure("READER_CACHE", 2 * MIB, "bytes of pages", "assembling a context stays under 4 MiB", _PIN)
READERS = _figure("READERS", 2, "connections", "each holds two descriptors and its cache", _STORE + "test_handles_are_flat")
READER_WAIT = _figure("READER_WAIT", 5.0, "s", "for one of the readers", _PIN)
WAL_LIMIT = _figure("WAL_LIMIT", 16 * MIB, "bytes", "journal_size_limit: the file shrinks to this after a reset", _PIN)
WAL_PAGES = _figure("WAL_PAGES", 1000, "pages", "wal_autocheckpoint: 4 MiB", _PIN)
WAL_PASSIVE = _figure("WAL_PASSIVE", 8 * MIB, "bytes", "a checkpoint that waits for nobody", _UPKEEP + "test_a_large_log_is_checkpointed_and_said")
WAL_WARN = _figure("WAL_WARN", 64 * MIB, "bytes", "a reader that does not let go; a peer's log reached 15 GB", _UPKEEP + "test_a_large_log_is_checkpointed_and_said")
WAL_BEFORE_PAYLOAD = _figure("WAL_BEFORE_PAYLOAD", 2 * MIB, "bytes", "checkpointed before a payload, so that both stay under 8 MiB", _PIN)
IDLE_S = _figure("IDLE_S", 1.0, "s without a write", "then free pages are given back, a step at a time", _UPKEEP + "test_s28_deleted_sessions_give_their_pages_back")
TRUNCATE_S = _figure("TRUNCATE_S", 30.0, "s without a write", "the log is emptied", _UPKEEP + "test_an_idle_log_is_truncated")
VACUUM_S = _figure("VACUUM_S", 0.03, "s a step", "steps are halved beyond it: with 100,000 free pages 500 take 0.4 s [M], and a writer would wait", _UPKEEP + "test_a_vacuum_that_takes_long_takes_less")
VACUUM_LEAST = _figure("VACUUM_LEAST", 16, "pages a step", "where it begins, and what it never goes below", _UPKEEP + "test_a_vacuum_that_takes_long_takes_less")
VACUUM_PAGES = _figure("VACUUM_PAGES", 500, "pages a step", "at most: 5-10 ms when few pages are free [M]", _UPKEEP + "test_s28_deleted_sessions_give_their_pages_back")
CLEAN_S = _figure("CLEAN_S", 0.2, "s", "of such steps, then a pause; who writes meanwhile waits for one of them", _UPKEEP + "test_s28_deleted_sessions_give_their_pages_back")
CLEAN_EVERY = _figure("CLEAN_EVERY", 0.1, "s of pause", "after 900 of 1,168 sessions went there are 110,000 pages to give back, once", _UPKEEP + "test_s28_deleted_sessions_give_their_pages_back")
ORPHAN_S = _figure("ORPHAN_S", 3600.0, "s", "where a writer's process cannot be told to be gone, its half payload waits this long", _PIN)
SWEEP_CHUNKS = _figure("SWEEP_CHUNKS", 16, "chunk rows a transaction", "4 MiB: 4 ms", _PIN)

# -- choosing and showing
SYSTEM_BYTES = _figure("SYSTEM_BYTES", 256 * KIB, "bytes", "system prompts have a budget of their own", _CHOICE + "test_the_system_prompt_is_always_there")
USER_SHARE = _figure("USER_SHARE", 256 * KIB, "bytes", "the request itself is kept whole up to this", _CHOICE + "test_s22_the_request_survives_400_rounds")
LEVELS = _figure("LEVELS", (40 * KIB, 20 * KIB, 10 * KIB, 4 * KIB, 2 * KIB, KIB), "bytes an item is shown with", "steps, so that a provider's cache of the earlier part stays good", _CHOICE + "test_shares_shrink_before_items_go")
NEWEST_LEAST = _figure("NEWEST_LEAST", 4 * KIB, "bytes", "the newest result is never a placeholder: the model would ask again", _CHOICE + "test_s21_the_newest_result_is_shown")
IMAGE_TURNS = _figure("IMAGE_TURNS", 3, "turns", "a peer sent 5 MB of old pictures with every request", _CHOICE + "test_b8_old_pictures_become_references")
IMAGE_SHARE = _figure("IMAGE_SHARE", 0.5, "of ctx_bytes", "one picture must leave room for the talk about it", _CHOICE + "test_b8_old_pictures_become_references")
IMAGE_AREA = _figure("IMAGE_AREA", 750, "pixels a token", "a provider's published rule; another can be given", _CHOICE + "test_b8_old_pictures_become_references")
NOTICE_BYTES = _figure("NOTICE_BYTES", 256, "bytes", "the sentence that says what is not shown and how to read it; ids are short", _CHOICE + "test_the_notice_is_counted")
PIECE = _figure("PIECE", 64 * KIB, "bytes", "one step of reading, escaping, sending", _PIN)

# -- live view
RING = _figure("RING", 50, "items", "what a screen shows", _LIVE + "test_the_ring_is_bounded")
EVENT_BYTES = _figure("EVENT_BYTES", 64 * KIB, "bytes an event", "previews and references, never bodies", _LIVE + "test_b14_a_slow_consumer_is_told_of_a_gap")
QUEUE_EVENTS = _figure("QUEUE_EVENTS", 128, "events", "a consumer that is behind this far is told that it missed some", _LIVE + "test_b14_a_slow_consumer_is_told_of_a_gap")
QUEUE_BYTES = _figure("QUEUE_BYTES", 4 * MIB, "bytes", "the same in bytes", _LIVE + "test_b14_a_slow_consumer_is_told_of_a_gap")

# -- opening, migrating, keeping
BACKUP_PAGES = _figure("BACKUP_PAGES", 256, "pages a step", "1 MiB: others may write between two", _PIN)
MIGRATE_ROOM = _figure("MIGRATE_ROOM", 2.2, "x the store's size", "its backup, and its rows twice until the old ones are dropped", "test_migrate.py::test_a_full_disk_stops_before_anything_is_done")
KEEP_AGE = _figure("KEEP_AGE", 90 * DAY, "s", "what `prune` proposes when nothing is said", _PIN)
FOREIGN_WINDOW = _figure("FOREIGN_WINDOW", MIB, "bytes", "read at once by who reads on: 30 passes through a long value's chain instead of 460", _PIN)
FOREIGN_ROW = _figure("FOREIGN_ROW", 256 * KIB, "bytes", "rows up to this are parsed, longer ones shown by both their ends", "test_foreign.py::test_s55_rows_of_30_megabytes")
