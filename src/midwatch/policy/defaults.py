"""Every threshold of Midwatch: its value, unit, reason or measurement, and the test that pins it.

The module constant is the value, `FIGURES` the table that docs/reference prints. Must not decide anything: the policy
reads these through model values (`Rules`), others take them as parameters. Tests: tests/policy/test_defaults.py.
"""

from __future__ import annotations

from midwatch.model.finding import Tier
from midwatch.model.service import Backoff, Budgets, Stop, Window
from midwatch.policy.figure import Figures

MIB = 1 << 20
GIB = 1 << 30
DAY = 86_400.0


FIGURES = Figures()
_figure = FIGURES.add

_BUDGET, _BACKOFF = "test_budgets.py::", "test_backoff.py::"
_PACE, _LINES, _MEMORY, _HOST = (f"test_guard_{name}.py::" for name in ("pace", "lines", "memory", "host"))
_PIN = "test_defaults.py::test_figures_used_outside_the_policy"

# -- budgets: what an exit may cost before something changes
CRASH = _figure("CRASH", 10, "consecutive crashes", "a start that dies at once is tried for about four minutes (63 s + 3 x 60 s) before it counts as degraded", _BUDGET + "test_the_default_crash_budget_is_ten")
STABLE_AFTER = _figure("STABLE_AFTER", 300.0, "s of life", "longer than any start-up seen; strictly more resets the crash count (A4)", _BUDGET + "test_a_run_longer_than_stable_after_counts_afresh")
CRASH_SLOW = _figure("CRASH_SLOW", Window(20, DAY), "crashes", "a crash every 301 s is 'stable' each time and never spends the fast budget (A15)", _BUDGET + "test_crashes_after_stable_runs_raise_flapping")
CLEAN = _figure("CLEAN", Window(10, 60.0), "exits with 0", "a worker that ends after each job is normal, one that does it eleven times a minute spins (C1)", _BUDGET + "test_the_eleventh_clean_exit_is_over_budget")
DRAIN = _figure("DRAIN", Window(3, 1800.0), "drains", "longer than (3 + 1) x 246 s, the cadence of the incident that a 10-minute window missed (A9)", _BUDGET + "test_four_drains_raise_one_drain_loop")
DRAIN_SLOW = _figure("DRAIN_SLOW", Window(5, DAY), "drains", "five planned drains a day mean that the line is wrong, not the code (A9)", _BUDGET + "test_drains_at_the_incidents_cadence_raise_the_slow_alert")
UNHEALTHY = _figure("UNHEALTHY", Window(3, 1800.0), "restarts", "a restart that did not help three times in half an hour will not help a fourth time (G6)", "test_health.py::test_the_default_unhealthy_budget_is_three_in_thirty_minutes")
MEMORY = _figure("MEMORY", Window(5, 3600.0), "out-of-memory ends", "a leak that fills its line every ten minutes is not cured by one more restart", _BUDGET + "test_oom_over_budget_waits_sixty_seconds_and_more")
KILLED = _figure("KILLED", Window(10, 600.0), "signals from outside", "a person's kill restarts at once; eleven in ten minutes is a fight between two managers (A10)", _BUDGET + "test_killed_from_outside_restarts_at_once_inside_its_window")
UNHEALTHY_SLOW = _figure("UNHEALTHY_SLOW", Window(10, DAY), "restarts", "one every two hours stays under the fast budget for ever", "test_health.py::test_slow_unhealthy_restarts_raise_flapping")
MEMORY_SLOW = _figure("MEMORY_SLOW", Window(10, DAY), "out-of-memory ends", "one every two hours stays under the fast budget for ever", _BUDGET + "test_every_slow_window_alerts_once")
KILLED_SLOW = _figure("KILLED_SLOW", Window(50, DAY), "signals from outside", "something kills it every half hour: worth one line a day, never a delay", _BUDGET + "test_every_slow_window_alerts_once")
RUN_CRASH_HARD = _figure("RUN_CRASH_HARD", 10, "consecutive crashes", "`run` has an outer manager or a person in front of it: it ends with 3 instead of trying for ever", "test_defaults.py::test_run_gives_up_and_up_does_not")

# -- delays
BACKOFF_FIRST = _figure("BACKOFF_FIRST", 1.0, "s", "doubles: 1 2 4 8 16 32 60 (B1)", _BACKOFF + "test_crash_delays_double_up_to_a_minute")
BACKOFF_MOST = _figure("BACKOFF_MOST", 60.0, "s", "a minute is the longest wait inside the budget (B2)", _BACKOFF + "test_crash_delays_double_up_to_a_minute")
JITTER = _figure("JITTER", 0.1, "share, upward only", "services that fell together do not rise together (B3)", _BACKOFF + "test_jitter_spreads_and_stays_under_ten_percent")
DRAIN_DELAY = _figure("DRAIN_DELAY", 30.0, "s", "a planned drain frees memory; the kernel gets time to take it back (A7)", _BUDGET + "test_drains_always_wait_thirty_seconds")
OVER_FIRST = _figure("OVER_FIRST", 1.0, "s", "first delay over a window; doubles, so ten minutes of spinning are ~15 lines (C4)", _BUDGET + "test_a_clean_spinner_is_slowed_and_warned_once")
DEGRADED_FIRST = _figure("DEGRADED_FIRST", 60.0, "s", "crash budget spent: an outage is retried once a minute", _BACKOFF + "test_degraded_delays_grow_to_five_minutes")
DEGRADED_MOST = _figure("DEGRADED_MOST", 300.0, "s", "an outage that ends is noticed within five minutes", _BACKOFF + "test_degraded_delays_grow_to_five_minutes")
RECHECK = _figure("RECHECK", 60.0, "s", "a lstat and a hash a minute cost nothing; a fixed config is found by itself", "test_held.py::test_a_held_service_rechecks_every_minute")
PORT_FIRST = _figure("PORT_FIRST", 5.0, "s", "who holds the port may be leaving: a first look soon (ORP-6)", "test_port.py::test_a_conflict_waits_longer_and_longer_and_costs_nothing")
PORT_MOST = _figure("PORT_MOST", 60.0, "s", "a port that is free again is noticed within a minute", "test_port.py::test_a_conflict_waits_longer_and_longer_and_costs_nothing")
PORT_EARLY = _figure("PORT_EARLY", 10.0, "s after the start", "a program binds while it starts; a run that lived longer had its port", "test_port.py::test_an_early_end_beside_another_holder_is_a_conflict")
PLANNED_CODE = _figure("PLANNED_CODE", 75, "exit code", "SVC-4: started again at once, inside the window of clean exits", "test_budgets.py::test_code_75_is_a_planned_restart")
SCHEDULE_LATE = _figure("SCHEDULE_LATE", 60.0, "s", "cron's own resolution: later than this it was missed", "test_schedule.py::test_without_catch_up_a_late_time_is_skipped")
WATCH_LOOP = _figure("WATCH_LOOP", Window(5, 60.0), "restarts by watched files", "a person saves and looks; six in a minute are a program", "test_watch.py::test_six_restarts_in_a_minute_are_a_loop")
WATCH_EARLY = _figure("WATCH_EARLY", 2.0, "s after the start", "what changes so soon was most likely changed by the start itself", "test_watch.py::test_a_service_that_touches_what_it_watches_is_a_loop")
WATCH_EARLY_LOOP = _figure("WATCH_EARLY_LOOP", Window(3, 60.0), "early changes", "once is chance, three times is a loop", "test_watch.py::test_a_service_that_touches_what_it_watches_is_a_loop")

# -- guards on memory: pace, lines, host
PACE_LEAST = _figure("PACE_LEAST", 0.1, "s", "a pass over 50 processes takes 0.6 ms: at most 0.6 % of a core", _PACE + "test_the_pause_is_clamped")
PACE_MOST = _figure("PACE_MOST", 2.0, "s", "everything is read at least so often; there is no reason for the peers' 30 s", _PACE + "test_the_pause_is_clamped")
PACE_HOST = _figure("PACE_HOST", 6.0 * GIB, "bytes/s", "earlyoom's and nohang's fill rate of a machine", _PACE + "test_the_host_cannot_cross_its_reserve_unseen")
PACE_TREE = _figure("PACE_TREE", 64.0 * MIB, "bytes/s", "a calm tree is assumed to grow so fast", _PACE + "test_a_calm_tree_is_looked_at_every_two_seconds")
PACE_TIMES = _figure("PACE_TIMES", 4.0, "x the fastest of ten minutes", "the next burst may be worse than the last", _PACE + "test_what_was_fast_once_is_watched_for_ten_minutes")
PACE_MINUTES = _figure("PACE_MINUTES", 10, "min", "how long a burst is remembered, and what calm means", _PACE + "test_what_was_fast_once_is_watched_for_ten_minutes")
PACE_JUMP = _figure("PACE_JUMP", 64 * MIB, "bytes between two looks", "the first odd sample makes the next ones fast", _PACE + "test_a_jump_or_a_doubling_is_watched_closely")
PACE_BOOST = _figure("PACE_BOOST", 1.0 * GIB, "bytes/s", "the incident grew by 0.8 GB/s", _PACE + "test_a_jump_or_a_doubling_is_watched_closely")
PACE_BURST = _figure("PACE_BURST", 2.0 * GIB, "bytes/s", "out of the calm, where only looking holds a line: one core fills 1.3 to 2 GiB a second", _PACE + "test_polled_lines_are_watched_closely_while_that_is_cheap")
PACE_YOUNG = _figure("PACE_YOUNG", 3, "minutes begun", "of a run that has just started nobody knows how calm it is", _PACE + "test_a_young_run_is_watched_closely")
PACE_COST = _figure("PACE_COST", 0.0004, "share of a core", "what a closer watch on polled hard lines may cost: 0.024 s a minute", _PACE + "test_polled_lines_are_watched_closely_while_that_is_cheap")
BUDGET_SHARE = _figure("BUDGET_SHARE", 0.8, "share of the machine or its cgroup", "the rest is for the system and the page cache", _LINES + "test_default_shares_fit_into_the_budget")
SHARE_MOST = _figure("SHARE_MOST", 0.5, "share of the machine", "F13: one service alone is told at half the machine", _LINES + "test_one_service_has_half_the_machine")
SHARE_BYTES = _figure("SHARE_BYTES", 16 * GIB, "bytes", "F12: beyond it one service is remarkable on any machine", _LINES + "test_one_service_has_half_the_machine")
SHARE_LEAST = _figure("SHARE_LEAST", 256 * MIB, "bytes", "with a hundred services a share is smaller than an ordinary server: not worth a word", _LINES + "test_a_small_share_warns_nobody")
WARN_SHARE = _figure("WARN_SHARE", 0.8, "share of the line", "said before anything is done (F15)", _LINES + "test_it_is_said_at_four_fifths_of_the_first_line")
LINE_AHEAD = _figure("LINE_AHEAD", 0.15, "share of the hard line", "a prediction lowers the line by no more: a burst to 60 % is never touched", _LINES + "test_speed_lowers_the_line_by_at_most_fifteen_per_cent")
LINE_LATENCY = _figure("LINE_LATENCY", 0.2, "s", "from the decision to the kernel taking memory back", _LINES + "test_speed_lowers_the_line_by_at_most_fifteen_per_cent")
LINE_OVER = _figure("LINE_OVER", 1.02, "x the hard line", "what grows past it while it was asked to leave is killed", _MEMORY + "test_one_that_grows_on_while_it_should_leave_is_hurried")
ARM_SAMPLES = _figure("ARM_SAMPLES", 3, "samples", "with ARM_SECONDS, whichever is later", _MEMORY + "test_a_line_arms_after_three_samples_and_two_seconds")
ARM_SECONDS = _figure("ARM_SECONDS", 2.0, "s", "a peak between two collections of garbage is no level", _MEMORY + "test_a_line_arms_after_three_samples_and_two_seconds")
DISARM = _figure("DISARM", 0.9, "share of the line", "below it for a minute the episode is over", _MEMORY + "test_an_episode_ends_after_a_minute_below_ninety_per_cent")
RATIO_MOVES = _figure("RATIO_MOVES", 0.2, "share", "a page walk is believed until the sum has moved so far", _MEMORY + "test_a_forked_tree_is_walked_once_and_left_alone")
WALK_EVERY = _figure("WALK_EVERY", 0.8, "s a GiB", "a walk takes 8 ms a GiB: 1 % of the time", _MEMORY + "test_walks_are_rare_when_members_come_and_go")
ROUGH = _figure("ROUGH", 0.05, "share", "how wrong a sum is of which a part could not be read", _MEMORY + "test_a_rough_number_is_confirmed_before_anything_is_done")
GROWS_WITHIN = _figure("GROWS_WITHIN", 60.0, "s", "to the limit, or to twice as much: evidence is captured", _MEMORY + "test_the_incident_is_captured_early_and_ended_at_the_line")
GROWS_LAST = _figure("GROWS_LAST", 10.0, "s", "to the limit: the second stage of evidence", _MEMORY + "test_a_runaway_is_captured_twice")
GROWS_BYTES = _figure("GROWS_BYTES", 128 * MIB, "bytes above calm", "less is an ordinary request; twice that for the second stage", _MEMORY + "test_flat_and_step_series_raise_no_alarm")
SLOPE_SAID = _figure("SLOPE_SAID", MIB, "bytes/s", "slower than this no speed is named", _MEMORY + "test_words_name_the_number_the_line_and_the_speed")
POLITE = _figure("POLITE", 10.0, "s", "between stop signal and kill while the host is fine; 2 in danger, 0 in critical", _HOST + "test_politeness_shrinks_with_the_host")
POLITE_LEAST = _figure("POLITE_LEAST", 0.5, "s", "who would be 2 % over its line sooner gets no time to leave", _MEMORY + "test_a_slow_grower_has_time_to_leave")
FREEZE_BELOW = _figure("FREEZE_BELOW", 2.0, "s to leave", "one that has less grows too fast to be read while it runs", "test_guard.py::test_no_politeness_no_grace")
RESERVE_BYTES = _figure("RESERVE_BYTES", 512 * MIB, "bytes available", "with RESERVE_SHARE, the larger", _LINES + "test_the_reserve_grows_with_the_machine_and_never_eats_a_small_one")
RESERVE_SHARE = _figure("RESERVE_SHARE", 0.04, "share of the machine", "guards: what has to stay available", _LINES + "test_the_reserve_grows_with_the_machine_and_never_eats_a_small_one")
RESERVE_MOST = _figure("RESERVE_MOST", 0.1, "share of the machine", "512 MiB of a 1 GiB container would be an alarm for ever", _LINES + "test_the_reserve_grows_with_the_machine_and_never_eats_a_small_one")
PSI_LOOK = _figure("PSI_LOOK", 10.0, "% of 10 s", "some: 200 ms of 2 s stalled; full: danger, if memory is low as well", _HOST + "test_pressure_alone_kills_nobody")
SWAP_LOW = _figure("SWAP_LOW", 0.1, "share of swap", "less of it free is as good as none", _HOST + "test_danger_needs_low_memory_and_a_second_sign")
VICTIM_SHARE = _figure("VICTIM_SHARE", 0.05, "share of RAM", "a grower smaller than this is not what fills the machine", _HOST + "test_the_order_of_victims")
VICTIM_LEAST = _figure("VICTIM_LEAST", 0.01, "share of RAM", "ending less would free nothing", _HOST + "test_nobody_worth_ending_is_said_once")
VICTIM_GROWTH = _figure("VICTIM_GROWTH", 64 * MIB, "bytes in a minute", "slower growth is no reason to pick one", _HOST + "test_the_order_of_victims")
HOST_PAUSE = _figure("HOST_PAUSE", 15.0, "s", "systemd-oomd's: averages lag, so a second kill comes too early", _HOST + "test_one_victim_at_a_time_with_a_pause")
HOST_AGAIN = _figure("HOST_AGAIN", 2.0, "s", "critical for so long after memory was freed: the pause is cut short", _HOST + "test_critical_that_lasts_cuts_the_pause_short")
HOST_STUCK = _figure("HOST_STUCK", 30.0, "s", "a victim that cannot be ended must not protect the others for ever", _HOST + "test_a_victim_that_does_not_go_is_not_waited_for_for_ever")
FDS = _figure("FDS", Window(1, 900.0), "restarts", "a restart for descriptors that did not help a quarter of an hour ago will not help now", "test_guard.py::test_descriptors_restart_only_when_asked_to_and_rarely")
FDS_SLOW = _figure("FDS_SLOW", Window(4, DAY), "restarts", "more a day is the program's to cure", "test_guard.py::test_descriptors_restart_only_when_asked_to_and_rarely")
DRAIN_WITHIN = _figure("DRAIN_WITHIN", 30.0, "s", "1.14: jobs in flight get so long", "test_guard.py::test_a_drain_that_is_late_is_ended")

# -- stop ladder
STOP_SIGNAL = _figure("STOP_SIGNAL", 15, "signal number", "SIGTERM is what every runtime handles", "test_stop.py::test_the_ladder_is_term_grace_kill")
STOP_GRACE = _figure("STOP_GRACE", 10.0, "s", "Docker's figure; most servers drain within it", "test_stop.py::test_the_ladder_is_term_grace_kill")
STOP_VERIFY = _figure("STOP_VERIFY", 5.0, "s", "a killed process with gigabytes needs up to seconds to be torn down", "test_stop.py::test_the_ladder_is_term_grace_kill")
STOP_MARGIN = _figure("STOP_MARGIN", 2.0, "s", "grace + verify + this has to end before the outer manager loses patience", "test_ladder.py::test_the_outer_managers_patience_must_exceed_the_ladder")

# -- probes
READY_WITHIN = _figure("READY_WITHIN", 25.0, "s", "HLT-1: slow Java and Python start-ups end well before", "test_health.py::test_not_ready_in_time_is_unhealthy")
READY_EVERY = _figure("READY_EVERY", 0.4, "s", "HLT-1: a start is noticed within half a second", _PIN)
READY_TIMEOUT = _figure("READY_TIMEOUT", 2.0, "s", "HLT-1: one request", _PIN)
HEALTH_EVERY = _figure("HEALTH_EVERY", 30.0, "s", "HLT-4: a deep probe at most every 30 s", _PIN)
HEALTH_TIMEOUT = _figure("HEALTH_TIMEOUT", 10.0, "s", "HLT-4: a loaded server may take long, a wedged one never answers", _PIN)
HEALTH_FAILURES = _figure("HEALTH_FAILURES", 3, "consecutive failures", "HLT-4, G1: two are a hiccup", "test_health.py::test_three_failures_in_a_row_restart_and_two_do_not")
DEEP_EVERY = _figure("DEEP_EVERY", 30.0, "s", "HLT-4: a deep probe costs the service something", _PIN)
DEEP_TIMEOUT = _figure("DEEP_TIMEOUT", 10.0, "s", "HLT-4: lock, store and database are asked one after the other", _PIN)
DEEP_FAILURES = _figure("DEEP_FAILURES", 3, "consecutive failures", "HLT-4: three in a row", _PIN)
WATCHDOG_LATE = _figure("WATCHDOG_LATE", 1.0, "s", "a loop that is later than this stood still itself, often with the whole container", _PIN)
BACKLOG_EVERY = _figure("BACKLOG_EVERY", 5.0, "s", "HLT-6: between two looks at the accept queues", _PIN)
BACKLOG_SAMPLES = _figure("BACKLOG_SAMPLES", 3, "looks in a row", "HLT-6: a queue that is empty now and then is served", _PIN)

# -- ports and launchers
PORT_ANSWER = _figure("PORT_ANSWER", 2.0, "s", "ORP-2: who accepts and says nothing for so long is wedged", _PIN)
PORT_HOLDERS = _figure("PORT_HOLDERS", 16, "processes", "a pre-forking server has its socket in every worker", _PIN)
HEIR_WAIT = _figure("HEIR_WAIT", 1.0, "s", "a launcher leaves before its child listens; design: within a second", _PIN)
HEIR_START = _figure("HEIR_START", 10.0, "s", "a Python server imports for seconds before it listens; only after an early exit", _PIN)
HEIR_POLL = _figure("HEIR_POLL", 0.05, "s", "twenty looks at one process table", _PIN)

# -- evidence
CAPTURE_WAIT = _figure("CAPTURE_WAIT", 3.0, "s", "a stop waits so long for its evidence, whatever happens", _PIN)
CAPTURE_DUMP = _figure("CAPTURE_DUMP", 0.5, "s", "a dump of 200 threads is printed well within", _PIN)
INSPECT_MOST = _figure("INSPECT_MOST", 2.0, "s", "a look at a tree; without trouble 0.25", _PIN)
PAUSE_MOST = _figure("PAUSE_MOST", 2.0, "s", "how long a run stands still to be looked at; probes allow as much", _PIN)
STACKS_MOST = _figure("STACKS_MOST", 2.0, "s", "py-spy takes 0.03 to 0.3", _PIN)
REHEARSE_AFTER = _figure("REHEARSE_AFTER", 2.0, "s", "services are started first", _PIN)
EVIDENCE_TAIL = _figure("EVIDENCE_TAIL", 65536, "bytes of output", "a traceback of every thread of a big server", _PIN)
EVIDENCE_COUNT = _figure("EVIDENCE_COUNT", 100, "bundles", "a wedge an hour for four days", _PIN)
EVIDENCE_BYTES = _figure("EVIDENCE_BYTES", 32 * MIB, "bytes in all", "bundles are some 100 KiB at most; half the journal", _PIN)
PERMANENT_CODES = _figure("PERMANENT_CODES", (78,), "exit codes", "sysexits EX_CONFIG: retrying cannot help", "test_held.py::test_code_78_holds_the_service")

# -- schedules and watched files
SCHEDULE_CHECK = _figure("SCHEDULE_CHECK", 60.0, "s", "timers stand still during a suspend and know no clock step: looked at again at least this often", _PIN)
SCHEDULE_BACK = _figure("SCHEDULE_BACK", 10800.0, "s", "Debian's cron: a clock set back by less repeats nothing, by more it was a correction", _PIN)
SCHEDULE_MISSED = _figure("SCHEDULE_MISSED", 1000, "times", "counting on would hold up the loop: 1000 take 15 ms", _PIN)
WATCH_DEBOUNCE = _figure("WATCH_DEBOUNCE", 0.5, "s", "an editor's save is over in 50 ms, a checkout or a formatter's pauses are shorter", _PIN)
WATCH_MOST = _figure("WATCH_MOST", 10.0, "s", "changes that never pause are told all the same", _PIN)
WATCH_ROOTS = _figure("WATCH_ROOTS", 2.0, "s", "a stat a path: folders that appear, go or are replaced where no event tells", _PIN)
WATCH_POLL = _figure("WATCH_POLL", 1.0, "s", "without inotify every file is looked at: a tree of 10,000 takes 0.1 s", _PIN)
WATCH_NAMED = _figure("WATCH_NAMED", 10, "paths", "one line of the journal; the rest is counted", _PIN)
WATCH_NICE = _figure("WATCH_NICE", 10, "nice", "a build that writes thousands of files goes first", _PIN)
WATCH_RETRY = _figure("WATCH_RETRY", 1.0, "s", "the watching helper died: first pause, doubles", _PIN)
WATCH_RETRY_MOST = _figure("WATCH_RETRY_MOST", 60.0, "s", "one that always dies costs a start a minute", _PIN)
WATCH_LINE_BYTES = _figure("WATCH_LINE_BYTES", 65536, "bytes a line", "ten paths of 4 KiB fit", _PIN)

# -- leaks: slow growth, judged on floors (docs/leaks-detector.md; the tables are made by `make detector-table`)
_LEAK = "test_detector.py::test_the_figures_of_the_detector"
LEAK_SLOW = _figure("LEAK_SLOW", Tier("slow", 1200.0, 24, 16 * MIB, 0.05, 8 * MIB, DAY), "floors", "8 h of 20-minute floors: nobody is told of what cannot matter before tomorrow", _LEAK)
LEAK_FAST = _figure("LEAK_FAST", Tier("fast", 180.0, 20, 16 * MIB, 0.05, 8 * MIB, 7200.0, notes=False), "floors", "1 h of 3-minute floors: 300 MiB/h is found after 66 minutes; sessions look the same, so only near the limit", _LEAK)
LEAK_FILES = _figure("LEAK_FILES", Tier("files", 600.0, 24, 4.0, 0.0, 2.0, DAY, unit="descriptors"), "floors", "one an hour is found within 5 h, no false alarm in 90 simulated days", _LEAK)
LEAK_SOCKETS = _figure("LEAK_SOCKETS", Tier("sockets", 600.0, 24, 8.0, 0.0, 4.0, DAY, unit="descriptors"), "floors", "a pool moves by more than files do", _LEAK)
LEAK_Z = _figure("LEAK_Z", 3.0, "standard deviations", "Mann-Kendall; floors are nearly independent, raw minutes are not", _LEAK)
LEAK_HALF = _figure("LEAK_HALF", 0.5, "share of the whole slope", "a warm-up's second half is flatter than that", _LEAK)
LEAK_STEP = _figure("LEAK_STEP", 0.4, "share of the rise", "what comes at once was loaded, not leaked", _LEAK)
LEAK_LOAD_Z = _figure("LEAK_LOAD_Z", 2.0, "standard deviations", "more work needs more memory: the gate errs on silence", _LEAK)
LEAK_WINDOWS = _figure("LEAK_WINDOWS", 3, "windows in a row", "one window in a row of noise passes now and then", _LEAK)
LEAK_NOISE = _figure("LEAK_NOISE", 3.0, "standard deviations", "what is slower than this over a window cannot be told from noise", _LEAK)
LEAK_ACT = _figure("LEAK_ACT", 7200.0, "s to the limit", "nearer than the fast tier's gate it is urgent", _LEAK)

_SIGN = "test_signs.py::test_the_figures_of_the_signs"
FD_SAME = _figure("FD_SAME", (8, 16), "times the same file: note, warn", "S1: one handle a connection; a pool of that size is declared", _SIGN)
FD_HALF_AGE = _figure("FD_HALF_AGE", 600.0, "s in CLOSE_WAIT", "S2: the peer left, only we can close; a slow answer takes minutes at most", _SIGN)
FD_HALF = _figure("FD_HALF", 10, "such sockets", "S2: one or two are an accident", _SIGN)
FD_HALF_OWN = _figure("FD_HALF_OWN", 20, "clients of its own port in CLOSE_WAIT", "FDW-8: more than that at once, of any age", _SIGN)
FD_HALF_KEPT = _figure("FD_HALF_KEPT", 1024, "sockets whose age is known", "the oldest; 1024 are far above any line", _SIGN)
FD_DELETED = _figure("FD_DELETED", 100 * MIB, "bytes", "S3: a rotated log that is still open fills the disk unseen", _SIGN)
FD_NULL = _figure("FD_NULL", 16, "times /dev/null or /dev/urandom", "S4: three are usual", _SIGN)
FD_MANY = _figure("FD_MANY", 16, "pipes without an other end, or eventpolls, inotifys, eventfds, pidfds", "S5: an event loop has one of each; threads with loops of their own some", _SIGN)
FD_ROOM = _figure("FD_ROOM", (0.70, 0.85), "share of the soft limit: warn, act", "S6, FDW-5", _SIGN)
FD_LEFT = _figure("FD_LEFT", 64, "descriptors left", "S6: less than one burst of connections; counts above the warning share only", _SIGN)
FD_ROOM_LOOKS = _figure("FD_ROOM_LOOKS", 3, "samples in a row", "FDW-5: a burst is no state", _SIGN)
FD_LOW = _figure("FD_LOW", 256, "descriptors", "FDW-12: launchd's soft limit; EMFILE then looks like an outage of somebody else", _SIGN)
FD_RATIO = _figure("FD_RATIO", 2.0, "times the expected", "FDW-5: strictly more", _SIGN)
FD_BASE = _figure("FD_BASE", (60.0, 300.0), "s after ready", "FDW-4: imports and pools are there, sessions mostly not; median", _SIGN)
FD_SHAPE = _figure("FD_SHAPE", (10.0, 0.1), "descriptors and share", "FDW-6: what counts as a move in ten minutes; describes, never alarms", "test_shape.py::test_a_move_is_more_than_ten_and_a_tenth")

# -- bounds of what is kept
LOG_FILE_BYTES = _figure("LOG_FILE_BYTES", 10 * MIB, "bytes a file", "ten seconds of `grep`, five files are an afternoon of a talker", _PIN)
LOG_FILES = _figure("LOG_FILES", 5, "full-size files", "50 MiB a service before compression", _PIN)
LOG_TOTAL = _figure("LOG_TOTAL", 2 << 30, "bytes of output of all services", "40 noisy services at their own caps", _PIN)
LOG_COMPRESS = _figure("LOG_COMPRESS", True, "yes or no", "text shrinks to a tenth", _PIN)
LOG_MAX_FILES = _figure("LOG_MAX_FILES", 200, "files a service", "the most that output.files may ask for: a crash loop makes one small file a run", _PIN)
JOURNAL_WEEKS = _figure("JOURNAL_WEEKS", 8, "ISO weeks", "two months answer 'since when?'", _PIN)
JOURNAL_BYTES = _figure("JOURNAL_BYTES", 64 * MIB, "bytes in all", "about 250,000 lines", _PIN)
JOURNAL_FILE_BYTES = _figure("JOURNAL_FILE_BYTES", 8 * MIB, "bytes a file", "each opens with a snapshot, so a reader needs one file", _PIN)
SNAPSHOT_EVERY = _figure("SNAPSHOT_EVERY", 2000, "inputs", "a restarted engine replays 2000 steps in under 0.1 s", _PIN)
LOW_DISK_SHARE = _figure("LOW_DISK_SHARE", 0.05, "share of the file system", "what the file system itself keeps for root; the smaller of both reserves holds", _PIN)
LOW_DISK_BYTES = _figure("LOW_DISK_BYTES", 512 * MIB, "bytes free", "the host's own logs, and a person with an editor, still fit", _PIN)
CONTROL_LINE_BYTES = _figure("CONTROL_LINE_BYTES", 8 * MIB, "bytes a line", "`apply` of 500 services with their environments is 1-2 MB", _PIN)
CONTROL_CLIENTS = _figure("CONTROL_CLIENTS", 64, "connections", "a `watch ps` in every terminal of a person, with room", _PIN)
JOB_HISTORY = _figure("JOB_HISTORY", 256, "finished jobs", "a client that asks late still gets its answer", _PIN)
WARM_GATES = _figure("WARM_GATES", 64, "waiting gates", "0.3 MB each; with more services the move is paid at the restart", _PIN)

# -- under another manager
SERVICE_FILES = _figure("SERVICE_FILES", 4096, "open files", "256 (macOS) and 1024 are too few for a server; the soft limit is raised to it as far as the hard one allows (SVC-12)", _PIN)
PASSED_SOCKETS = _figure("PASSED_SOCKETS", 1024, "descriptors", "more than that in LISTEN_FDS is nonsense", _PIN)
LOCK_MISSES = _figure("LOCK_MISSES", 3, "looks in a row", "two that fail and one that works are no trouble (E12)", _PIN)

# -- guards at work (engine/guard)
SAMPLE_IN_LOOP = _figure("SAMPLE_IN_LOOP", 0.002, "s", "a pass that takes longer is read in a thread: nothing waits for it", _PIN)
SAMPLE_LEAST = _figure("SAMPLE_LEAST", 0.02, "s", "who will cross his hard line before the next look is looked at when he does", _PIN)
SAMPLE_DETAIL = _figure("SAMPLE_DETAIL", 5.0, "s", "descriptors that come near their limit; floors, and calm ones, a third as often", _PIN)
SENTINEL_DROP = _figure("SENTINEL_DROP", 48 * MIB, "bytes", "the machine's available memory fell so much between two looks: everything is read at once", _PIN)
JUDGE_STEP = _figure("JUDGE_STEP", 4 * MIB, "bytes", "far from its lines a change is judged from this size on", _PIN)
JUDGE_EVERY = _figure("JUDGE_EVERY", 55.0, "s", "and otherwise so often: once in each minute of the pace", _PIN)
KEEP_EVERY = _figure("KEEP_EVERY", 55.0, "s", "a number that stands still is written so often: a row holds until the next", _PIN)
WALK_MOST = _figure("WALK_MOST", 1.0, "s", "a walk through the pages of 100 GiB; the rest is counted whole", _PIN)
WALK_SHARE = _figure("WALK_SHARE", 0.01, "share of the time", "walks hold the process's own memory lock", _PIN)
BASIS_EVERY = _figure("BASIS_EVERY", 30.0, "s", "a container's limit can be changed while it runs", _PIN)
PRESSURE_SLOW = _figure("PRESSURE_SLOW", 10.0, "s", "starts are spread out so long after the last sign of pressure", _PIN)
GUARD_SAVE = _figure("GUARD_SAVE", 60.0, "s", "what guards remember goes to disk so often for a successor", _PIN)
GUARD_SAVE_SOON = _figure("GUARD_SAVE_SOON", 1.0, "s", "and so soon when one has said something", _PIN)
FAULT_OVER = _figure("FAULT_OVER", 60.0, "s", "a fault of our own that has not come again for so long is over: one line an episode", _PIN)
FLOORS_SAVE = _figure("FLOORS_SAVE", 300.0, "s", "a megabyte with 500 services; a hole of five minutes does no harm", _PIN)
WAL_EVERY = _figure("WAL_EVERY", 60.0, "s", "WAL-1: growth a minute; two stats each", _PIN)
WAL_WARN = _figure("WAL_WARN", 64 * MIB, "bytes", "WAL-2: sixteen times what SQLite folds in by itself", _PIN)
WAL_MOST = _figure("WAL_MOST", GIB, "bytes", "WAL-2: whatever the database's size", _PIN)
WAL_SHARES = _figure("WAL_SHARES", (0.25, 0.5), "share of the database: warn, act", "WAL-2", _PIN)
WAL_LEAST = _figure("WAL_LEAST", (16 * MIB, 256 * MIB), "bytes", "WAL-2: shares of small databases mean nothing", _PIN)
WAL_DISK = _figure("WAL_DISK", 0.1, "share of the free disk", "WAL-2: it fills the disk before anybody looks", _PIN)
WAL_LOOKS = _figure("WAL_LOOKS", 10, "looks in a row", "WAL-3: growing all the while: checkpoints are starved", _PIN)
WAL_PROBE_EVERY = _figure("WAL_PROBE_EVERY", 300.0, "s", "WAL-4: a passive checkpoint of a database whose owner asked for it", _PIN)
WAL_PROBE_WITHIN = _figure("WAL_PROBE_WITHIN", 30.0, "s", "WAL-4: folding in a gigabyte takes seconds; ending it then does no harm", _PIN)
WAL_HOLDERS = _figure("WAL_HOLDERS", 10, "processes", "WAL-3: the oldest readers of a log; more say nothing more", _PIN)
FD_LOOK_EVERY = _figure("FD_LOOK_EVERY", 300.0, "s", "classifying 1,000 descriptors takes 4 ms", _PIN)
FD_LOOK_TRUE = _figure("FD_LOOK_TRUE", 1800.0, "s", "with the same number open the last look is believed so long", _PIN)
FD_LOOK_PAUSE = _figure("FD_LOOK_PAUSE", 0.05, "s", "between two services: 500 are looked through within half a minute", _PIN)
FD_COUNT = _figure("FD_COUNT", (0.1, 1.0), "s", "between two counts of those who want to be restarted: least, most; one takes 15 us", "test_guard_fds.py::test_the_pause_is_clamped")
FD_COUNTS = _figure("FD_COUNTS", 6, "counts", "their slope is taken over these", "test_guard_fds.py::test_the_slope_is_that_of_the_last_counts")
FD_HASTE = _figure("FD_HASTE", 8.0, "counts until the end", "at their present slope: three of them lie above the line", "test_guard_fds.py::test_twenty_a_second_are_told_long_before_the_end")
FD_URGENT = _figure("FD_URGENT", 15.0, "s to the limit", "three regular counts would come too late", "test_guard_fds.py::test_a_slow_one_is_left_to_the_regular_counts")
FD_AGAIN = _figure("FD_AGAIN", 60.0, "s", "one that stays close to its limit is told again: its budget may have room by then", _PIN)
FD_LOOK_LEAST = _figure("FD_LOOK_LEAST", 30.0, "s", "a new record is looked at, a burst not at every step", _PIN)

# -- the engine
WARM_AFTER = _figure("WARM_AFTER", 0.5, "s", "after a start the next gate is prepared; not in the start's own burst", _PIN)
COMPRESS_AFTER = _figure("COMPRESS_AFTER", 5.0, "s", "a storm prunes its files sooner than gzip could read them", _PIN)
COMPRESS_QUEUE = _figure("COMPRESS_QUEUE", 256, "files", "beyond it the oldest stay uncompressed", _PIN)
COMPRESS_TIMEOUT = _figure("COMPRESS_TIMEOUT", 120.0, "s", "10 MiB take 0.5 s here; a dying disk must not hold the queue", _PIN)
DISK_CHECK_EVERY = _figure("DISK_CHECK_EVERY", 10.0, "s", "one statvfs; 600 MB/s fill 6 GB meanwhile, ENOSPC is handled too", _PIN)
TAIL_BYTES = _figure("TAIL_BYTES", 4096, "bytes", "the last words of a run: a Python traceback and the lines before it", _PIN)
TAIL_AFTER = _figure("TAIL_AFTER", 0.25, "s", "the pump drains a 64 KiB pipe in 1 ms; a loaded machine gets time", _PIN)
PROBE_BODY_BYTES = _figure("PROBE_BODY_BYTES", 65536, "bytes", "ORP-3: enough for any status page", _PIN)
SAY_AGAIN = _figure("SAY_AGAIN", 60.0, "s", "an episode ends after a minute of silence", _PIN)
LONG_POLL = _figure("LONG_POLL", 60.0, "s", "longest time one answer is held back", _PIN)
GOODBYE = _figure("GOODBYE", 0.03, "s", "the client that waits for the last job reads its answer", _PIN)
LEAVE_TRIES = _figure("LEAVE_TRIES", 100, "tries", "3 s for warm gates to leave; then the keeper goes anyway", _PIN)
DRAIN_WAIT = _figure("DRAIN_WAIT", 0.3, "s", "for the last bytes when somebody outside the tree keeps the FIFO open", _PIN)
DRAIN_PATIENCE = _figure("DRAIN_PATIENCE", 10.0, "s", "a terminal stopped with Ctrl-S must not hold the exit for ever", _PIN)
CLOCK_STEP = _figure("CLOCK_STEP", 2.0, "s", "ntpd slews what is smaller; suspend shows here too, as awake time stops", _PIN)
FSYNC_AFTER = _figure("FSYNC_AFTER", 0.005, "s", "a start's own milliseconds come first; only a power cut sees the gap", _PIN)
PULSE = _figure("PULSE", 5.0, "s", "the engine's heartbeat: 12 wake-ups a minute; the keeper replaces one that is silent for 30 s", _PIN)
GAP = _figure("GAP", 10.0, "s", "a machine that swaps delays a timer by seconds; what is longer was a sleep or a pause", _PIN)
STAGGER_FOR = _figure("STAGGER_FOR", 30.0, "s", "after a gap broken connections end services within seconds; they rise one after another", _PIN)
STAGGER = _figure("STAGGER", 0.25, "s", "between two starts after a gap: 100 services are back within half a minute", _PIN)
STATUS_EVERY = _figure("STATUS_EVERY", 1.0, "s", "the outer manager's status line follows a storm at most once a second", _PIN)
GATE_LEAVES = _figure("GATE_LEAVES", 100, "tries", "3 s for a gate whose keeper died to read end of file and leave", _PIN)
UPGRADE_CHECK = _figure("UPGRADE_CHECK", 20.0, "s", "two interpreters start and import; a broken installation must not cost the daemon", _PIN)
EVENT_QUEUE = _figure("EVENT_QUEUE", 1000, "events", "a host's callback that is this far behind does not read them; the rest is counted", _PIN)
EVENT_PATIENCE = _figure("EVENT_PATIENCE", 2.0, "s", "for a host's callbacks at the end; one that hangs is left behind", _PIN)
KEEPER_START = _figure("KEEPER_START", 20.0, "s", "an embedded keeper needs 0.05 on an idle machine", _PIN)
KEEPER_GOODBYE = _figure("KEEPER_GOODBYE", 15.0, "s", "longer than its own ladder of TERM, 5 s, KILL, and the last second of output", _PIN)
TAKE_OVER = _figure("TAKE_OVER", 20.0, "s", "a new host waits so long for the keeper of a dead one to end what that had left", _PIN)
CONTROL_FIRST_REQUEST = _figure("CONTROL_FIRST_REQUEST", 10.0, "s", "a half-open client gives its place back", _PIN)
CONTROL_IDLE = _figure("CONTROL_IDLE", 600.0, "s", "a forgotten connection too", _PIN)


def default_budgets() -> Budgets:
    """The budgets a service has when its table says nothing."""
    slow = (CRASH_SLOW, None, DRAIN_SLOW, UNHEALTHY_SLOW, MEMORY_SLOW, KILLED_SLOW)
    return Budgets(CRASH, STABLE_AFTER, CLEAN, DRAIN, UNHEALTHY, MEMORY, KILLED, *slow, fds=FDS, fds_slow=FDS_SLOW)


def default_backoff() -> Backoff:
    """The delays a service has when its table says nothing."""
    growing = {"degraded_first": DEGRADED_FIRST, "degraded_most": DEGRADED_MOST, "recheck": RECHECK, "port": PORT_FIRST, "port_most": PORT_MOST}
    return Backoff(first=BACKOFF_FIRST, most=BACKOFF_MOST, jitter=JITTER, drain=DRAIN_DELAY, over=OVER_FIRST, **growing)


def default_stop() -> Stop:
    """TERM, 10 s, KILL, verified for 5 s."""
    return Stop(signal=STOP_SIGNAL, grace=STOP_GRACE, verify=STOP_VERIFY)


def low_disk_reserve(total_bytes: int) -> int:
    """Bytes that have to stay free on a file system of this size before output is thrown away."""
    return min(int(total_bytes * LOW_DISK_SHARE), LOW_DISK_BYTES)
