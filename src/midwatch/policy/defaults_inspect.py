"""Every threshold of what looks at strangers (look, sweep, doctor, recover): value, unit, reason, pinning test.

The same form as defaults.py, in a table of its own: no decision about a service reads these. Must not decide
anything. The cited tests are below tests/inspect. Tests: tests/inspect/test_figures.py.
"""

from __future__ import annotations

from midwatch.policy.figure import Figures

FIGURES = Figures()
_figure = FIGURES.add

# -- doctor: how it runs
DOCTOR_CAP = _figure("DOCTOR_CAP", 8, "checks at once", "GEN-3: most of them wait for a program or a disk", "doctor/test_core.py::test_no_more_than_eight_run_at_once")
DOCTOR_EACH = _figure("DOCTOR_EACH", 10.0, "s a check", "GEN-3: a program that hangs is left behind", "doctor/test_core.py::test_a_hanging_check_is_a_skip_and_the_end_comes_in_time")
DOCTOR_TOTAL = _figure("DOCTOR_TOTAL", 30.0, "s in all", "GEN-3: the longest a person waits for an answer", "doctor/test_core.py::test_a_hanging_check_is_a_skip_and_the_end_comes_in_time")

# -- doctor: memory
_P = "doctor/test_pressure.py::"
PSI_SOME = _figure("PSI_SOME", (10.0, 40.0), "% of 10 s: warn, fail", "DOC-1: somebody waits for memory; 40 is a machine that a person calls frozen", _P + "test_pressure_files_give_the_status_of_the_scenario")
PSI_FULL = _figure("PSI_FULL", 10.0, "% of 10 s", "DOC-1: nobody does any work", _P + "test_pressure_files_give_the_status_of_the_scenario")
MEMORY_LEFT = _figure("MEMORY_LEFT", (0.10, 0.05), "share available: warn, fail", "DOC-1", _P + "test_what_is_left_is_judged_by_the_tightest_limit")
SWAP_USED = _figure("SWAP_USED", 0.5, "share of swap", "DOC-1: what was pushed out comes back slowly", _P + "test_swap_over_half_warns")
TREE_SHARE = _figure("TREE_SHARE", 0.5, "share of memory", "one tree alone: worth a name, seldom an error", "doctor/test_users.py::test_a_tree_with_half_of_the_memory_warns")

# -- doctor: disks
_D = "doctor/test_disk.py::"
DISK_SHARE = _figure("DISK_SHARE", (0.10, 0.05), "share free: warn, fail", "DOC-17; inodes likewise", _D + "test_lines_of_large_and_small_disks")
DISK_LEFT = _figure("DISK_LEFT", (10 << 30, 2 << 30), "bytes free: warn, fail", "DOC-17: one image build, one night of logs", _D + "test_lines_of_large_and_small_disks")
GROWER = _figure("GROWER", 1 << 30, "bytes of one file", "smaller ones are not why a disk is full", _D + "test_a_full_disk_names_what_grows")
GROWER_ENTRIES = _figure("GROWER_ENTRIES", 1000, "entries of a cache", "an uv cache of that size is gigabytes", _D + "test_a_full_disk_names_what_grows")

# -- doctor: locks and limits
_K, _L = "doctor/test_locks.py::", "doctor/test_limits.py::"
LOCK_OLD = _figure("LOCK_OLD", 600.0, "s held", "DOC-11: no installer needs ten minutes for what it locks", _K + "test_a_lock_held_for_long_warns_and_names_its_holder")
LOCK_FRESH = _figure("LOCK_FRESH", 60.0, "s", "an index.lock of a git that has just ended is not left over", _K + "test_gits_index_lock_without_a_git_blocks")
PID_SLACK = _figure("PID_SLACK", 2.0, "s", "a pid file may be written just before its process is listed", _K + "test_pid_files_of_ended_and_recycled_processes")
LOCK_FILES = _figure("LOCK_FILES", 300, "files", "bounds of one look", _K + "test_a_look_for_locks_is_bounded")
LOCK_FOLDERS = _figure("LOCK_FOLDERS", 200, "folders", "bounds of one look", _K + "test_a_look_for_locks_is_bounded")
LOCK_NAMES = _figure("LOCK_NAMES", 2000, "names of a folder", "bounds of one look", _K + "test_a_look_for_locks_is_bounded")
SCAN_SECONDS = _figure("SCAN_SECONDS", 4.0, "s", "600 processes with 20,000 descriptors take 0.2 s", _K + "test_a_look_for_locks_is_bounded")
SCAN_DESCRIPTORS = _figure("SCAN_DESCRIPTORS", 10_000, "descriptors of a process", "a leak of more is known as one anyway", _K + "test_a_look_for_locks_is_bounded")
FILES_SOFT = _figure("FILES_SOFT", 1024, "open files", "DOC-19: less is no system's default but launchd's", _L + "test_few_open_files_warn_and_a_server_with_256_fails")
FILES_SERVER = _figure("FILES_SERVER", 256, "open files of a server", "DOC-19, FDW-12: launchd's default", _L + "test_few_open_files_warn_and_a_server_with_256_fails")
LIMIT_SHARE = _figure("LIMIT_SHARE", (0.8, 0.95), "share of a limit: warn, fail", "DOC-14, DOC-19", _L + "test_room_of_processes_and_tasks")

# -- sweep: what is never touched, and how an end is made sure
SWEEP_YOUNG = _figure("SWEEP_YOUNG", 60.0, "s of life", "REC-4: whoever has just begun may not have met its owner yet", "test_protect.py::test_the_young_are_protected")
SWEEP_GRACE = _figure("SWEEP_GRACE", 5.0, "s between TERM and KILL", "REC-2: servers flush and close within one", "test_sweep.py::test_term_first_then_kill")
SWEEP_VERIFY = _figure("SWEEP_VERIFY", 5.0, "s after KILL", "giving back gigabytes takes the kernel about a second", "test_sweep.py::test_who_does_not_die_is_named")
SWEEP_MOST = _figure("SWEEP_MOST", 500, "processes a sweep", "the largest pile seen had 402; a mistake stays finite", "test_sweep.py::test_a_sweep_is_bounded")
SWEEP_PILE = _figure("SWEEP_PILE", 8, "copies of one server below one parent", "4-5 sessions are usual (1.11), each with one; twice that is no plan", "test_leftovers_piles.py::test_few_copies_are_no_pile")
SWEEP_BATCH = _figure("SWEEP_BATCH", 3.0, "s between starts", "a session starts its servers side by side", "test_leftovers_piles.py::test_copies_are_told_by_sub_agent")
SWEEP_UNDO = _figure("SWEEP_UNDO", 20, "undo lists", "one a sweep; older ones are removed", "test_sweep_undo.py::test_old_lists_are_removed")
SWEEP_UNDO_BYTES = _figure("SWEEP_UNDO_BYTES", 1 << 20, "bytes of one undo list", "500 processes with 2 KiB each", "test_sweep_undo.py::test_a_list_is_bounded")

# -- doctor: processes and watchers
_T, _W = "doctor/test_processes.py::", "doctor/test_watchers.py::"
TASK_AGE = _figure("TASK_AGE", (420.0, 3600.0), "s old: warn, fail", "DOC-12: a leaked test run was found after seven minutes", "doctor/test_tasks.py::" + "test_leftover_tasks_by_age_and_memory")
TASK_BYTES = _figure("TASK_BYTES", 1 << 30, "bytes in all", "DOC-12", "doctor/test_tasks.py::" + "test_leftover_tasks_by_age_and_memory")
COPIES = _figure("COPIES", (500 * 10**6, 2 * 10**9), "bytes of all copies: warn, fail", "DOC-13: four servers of 220 MB are a warning", _T + "test_four_copies_of_a_server_warn")
STORM_EVENTS = _figure("STORM_EVENTS", 20.0, "changed files a second", "DOC-14: 200 in 10 s", _W + "test_a_flood_of_changes_is_a_storm")
STORM_REBUILDS = _figure("STORM_REBUILDS", 5.0, "rebuilds a minute", "DOC-14: no person saves the same file so often for minutes", _W + "test_a_generator_that_writes_what_it_watches_is_a_storm")
STORM_AGAIN = _figure("STORM_AGAIN", 3, "times the same file", "a person who saves twice is no storm", _W + "test_a_person_who_saves_twice_is_no_storm")
STORM_FILES = _figure("STORM_FILES", 3000, "files of a tree", "bounds of one look: 30 ms", _W + "test_a_large_tree_is_looked_at_in_part_and_says_so")
STORM_LOOK = _figure("STORM_LOOK", 0.5, "s between two looks", "two rebuilds a second are told apart from one", _W + "test_a_generator_that_writes_what_it_watches_is_a_storm")

# -- containers
_C = "doctor/containers/"
CONTAINERS_SECONDS = _figure("CONTAINERS_SECONDS", 5.0, "s", "one look at all engines; docker takes a second a container to measure it", "containers/test_client.py::test_a_socket_that_never_answers_costs_its_deadline")
CONTAINERS_FIRST = _figure("CONTAINERS_FIRST", 2.0, "s", "an engine that lives says who it is in milliseconds", "containers/test_client.py::test_a_socket_that_never_answers_costs_its_deadline")
CONTAINERS_QUICK = _figure("CONTAINERS_QUICK", 0.7, "s", "what the first screen can wait for", "containers/test_client.py::test_the_first_screen_waits_no_longer_than_its_share")
CONTAINERS_MOST = _figure("CONTAINERS_MOST", 300, "containers", "more are counted and not inspected", "containers/test_client.py::test_more_containers_than_are_looked_at_are_counted")
UNLIMITED_SHARE = _figure("UNLIMITED_SHARE", 0.25, "share of the machine", "DOC-3: without a limit and large already", _C + "test_limits.py::test_s47_one_without_a_limit_that_uses_a_third_fails")
NEAR_LIMIT = _figure("NEAR_LIMIT", (0.80, 0.95), "share of the limit: warn, fail", "DOC-4", _C + "test_ceiling.py::test_s47_near_its_limit_fails")
DEATH_AGE = _figure("DEATH_AGE", 7 * 86400.0, "s", "DOC-4: an older end is no present trouble", _C + "test_ceiling.py::test_an_old_end_is_history")
OVERCOMMIT = _figure("OVERCOMMIT", (0.80, 0.95), "share of the machine: warn, fail", "DOC-5: 3+4+8 of 15.6 GiB froze a machine", _C + "test_overcommit.py::test_s49_the_figures_of_the_source")
VM_ADVISED = _figure("VM_ADVISED", 8 << 30, "bytes", "DOC-6: 6 to 8 GB hold a database and a service; 16 are a default", _C + "test_vm.py::test_doc6_caps")
VM_SHARE = _figure("VM_SHARE", 0.5, "share of the host", "DOC-6", _C + "test_vm.py::test_doc6_caps")
VM_HOST = _figure("VM_HOST", 30 << 30, "bytes of the host", "DOC-6 speaks of hosts with 32 GB and more; below it the half decides", _C + "test_vm.py::test_doc6_caps")
VM_EXCESS = _figure("VM_EXCESS", 4 * 10**9, "bytes", "DOC-7: a VM's own kernel and caches stay below", _C + "test_vm.py::test_s50_a_vm_that_keeps_memory")
VM_HIGH = _figure("VM_HIGH", 20 * 10**9, "bytes", "DOC-7: seen on the machine that froze", _C + "test_vm.py::test_s50_a_vm_that_keeps_memory")
VOLUMES_HELD = _figure("VOLUMES_HELD", 5 << 30, "bytes", "DOC-8: below it nobody misses the room", _C + "test_stacks.py::test_volumes_that_nobody_uses")
STACK_IDLE_CPU = _figure("STACK_IDLE_CPU", 0.01, "cores", "health checks and timers of an idle stack use a few thousandths", "containers/test_stop.py::test_a_stack_is_idle_when_none_of_it_works")
STACK_IDLE_AGE = _figure("STACK_IDLE_AGE", 3600.0, "s", "somebody who started it within the hour is likely to need it", "containers/test_stop.py::test_a_stack_is_idle_when_none_of_it_works")

# -- look: sessions, what runs out, what is told
_LK, _FC, _SE, _DE = (f"test_{name}.py::" for name in ("looks", "forecast", "sessions", "deaths"))
SESSION_IDLE = _figure("SESSION_IDLE", 3600.0, "s without a word on its terminal", "a person who reads or eats comes back within an hour", _SE + "test_idle_by_terminal_and_processor")
SESSION_BUSY = _figure("SESSION_BUSY", 0.02, "cores", "an idle terminal program blinks below one per cent", _SE + "test_idle_by_terminal_and_processor")
LOOK_SHARE = _figure("LOOK_SHARE", (0.70, 0.90), "share of a limit: warn, danger", "FDW-5's warning; above nine tenths one burst is enough", _FC + "test_a_level_by_share_and_by_time")
LOOK_TTL = _figure("LOOK_TTL", (86400.0, 7200.0), "s to the limit: warn, danger", "today, and before anybody looks again", _FC + "test_a_level_by_share_and_by_time")
LOOK_TOLD = _figure("LOOK_TOLD", 7 * 86400.0, "s to the limit", "what is full after more than a week is not told", _FC + "test_a_level_by_share_and_by_time")
LOOK_SPAN = _figure("LOOK_SPAN", 600.0, "s between looks", "a start, a build, an import are over by then", _FC + "test_a_start_is_no_trend")
LOOK_SPAN_SHARE = _figure("LOOK_SPAN_SHARE", 0.8, "share of the limit", "so near to it a minute of growth is worth a word", _FC + "test_a_start_is_no_trend")
LOOK_RISE = _figure("LOOK_RISE", (4.0, 0.005), "units and share of the limit", "less between two looks is how a healthy program breathes", _LK + "test_a_rise_has_to_be_worth_the_name")
LOOKS_KEPT = _figure("LOOKS_KEPT", 24, "looks", "one an hour for a day", _LK + "test_looks_are_thinned_and_bounded")
LOOKS_AGE = _figure("LOOKS_AGE", 86400.0, "s", "an older rate tells of another day's work", _LK + "test_looks_are_thinned_and_bounded")
LOOKS_APART = _figure("LOOKS_APART", 30.0, "s", "two looks closer than that tell noise", _LK + "test_looks_are_thinned_and_bounded")
LOOKS_BYTES = _figure("LOOKS_BYTES", 1 << 18, "bytes of the file", "24 looks with 200 numbers", _LK + "test_looks_are_thinned_and_bounded")
LOOKS_NUMBERS = _figure("LOOKS_NUMBERS", 200, "numbers a look", "the nearest to their limits are kept", _LK + "test_looks_are_thinned_and_bounded")
LOOK_LINKS = _figure("LOOK_LINKS", 40_000, "descriptors looked at", "4 us each: 0.2 s", _FC + "test_a_look_at_descriptors_is_bounded")
LOOK_OF_ONE = _figure("LOOK_OF_ONE", 4096, "descriptors of one process", "beyond it what they are is known", _FC + "test_a_look_at_descriptors_is_bounded")
LOOK_WATCHES = _figure("LOOK_WATCHES", 1 << 20, "bytes of one list of watches", "10,000 watches; more are at least so many", _FC + "test_a_look_at_descriptors_is_bounded")
LOOK_PART = _figure("LOOK_PART", 1.0, "s for all parts", "with the first answers before and the printing after it less than two", "test_look.py::test_whatever_hangs_the_screen_comes")
LOOK_FIRST = _figure("LOOK_FIRST", 0.6, "s", "the table of 600 processes takes 0.1 and a daemon that lives answers in milliseconds", "test_look.py::test_whatever_hangs_the_screen_comes")
LOOK_SAVE = _figure("LOOK_SAVE", 0.2, "s", "one small file; a disk that hangs must not hold the screen", "test_look.py::test_whatever_hangs_the_screen_comes")
TABLE_STALL = _figure("TABLE_STALL", 0.5, "s without a new process", "a process in a dead file system can hold up whoever reads its arguments", "test_live.py::test_a_process_that_holds_us_up_costs_only_what_follows")
LOOK_FOLDERS = _figure("LOOK_FOLDERS", 20_000, "files", "sizes of state folders: 0.4 s; beyond it at least so much", "test_statesize.py::test_a_large_folder_is_at_least_so_large")
STATE_LARGE = _figure("STATE_LARGE", (20 << 30, 100 << 30), "bytes of one agent's folder: warn, danger", "nobody means to keep so much; one task's output grew to 1.4 TB", "test_statesize.py::test_a_folder_that_is_too_large_is_told")
STATE_RISE = _figure("STATE_RISE", float(256 << 20), "bytes", "less between two looks is an ordinary session", "test_statesize.py::test_a_folder_that_is_too_large_is_told")
DEATH_TOLD = _figure("DEATH_TOLD", 86400.0, "s", "what died longer ago is history: 'midwatch why' has it", _DE + "test_only_the_last_day_is_told")
DEATHS_MOST = _figure("DEATHS_MOST", 50, "deaths", "the newest; a crash loop is told as a loop", _DE + "test_only_the_last_day_is_told")
LOOP_RUNS = _figure("LOOP_RUNS", 10, "runs of a job", "DOC-18: a job that was started so often since boot does not stay up", "test_loops.py::test_a_job_that_runs_too_often")
LOOP_FRESH = _figure("LOOP_FRESH", 600.0, "s of life", "a job that has run so long since its last start stays up for now", "test_loops.py::test_a_job_that_runs_too_often")
LOOP_RATE = _figure("LOOP_RATE", 3.0, "starts an hour", "between two looks", "test_loops.py::test_a_job_that_runs_too_often")
TASK_NAMED = _figure("TASK_NAMED", 50, "processes named", "402 helpers are one pile, not 402 lines", "doctor/test_tasks.py::test_leftover_tasks_by_age_and_memory")
IDLE_SESSIONS = _figure("IDLE_SESSIONS", 5, "quiet sessions", "the sizing example has 4-5 at work (1.11); as many asleep are forgotten ones", "doctor/test_tasks.py::test_idle_sessions_under_a_living_parent_are_found")

# -- doctor: crashes
_F, _C = "doctor/test_freeze.py::", "doctor/test_crashes.py::"
FREEZE_NEAR = _figure("FREEZE_NEAR", 1800.0, "s around a reset", "a machine that runs out of memory may swap for half an hour before it stands still", _F + "test_a_jetsam_event_before_a_reset_is_memory")
FREEZE_WINDOW = _figure("FREEZE_WINDOW", (7 * 86_400.0, 30 * 86_400.0), "s ago: fail, warn", "DOC-9: what is older is history", _F + "test_old_freezes_are_history")
CRASH_DAYS = _figure("CRASH_DAYS", 7.0, "days", "DOC-10", _C + "test_counts_of_the_scenario")
CRASH_COUNT = _figure("CRASH_COUNT", (3, 7), "crashes of one kind: warn, fail", "DOC-10: two a week are tolerable", _C + "test_counts_of_the_scenario")
CRASH_RUNNING = _figure("CRASH_RUNNING", 3, "days running", "DOC-10: daily is a pattern", _C + "test_counts_of_the_scenario")
REPORTS = _figure("REPORTS", 400, "files", "a Mac keeps years of them; the newest by name", _C + "test_many_reports_are_bounded")

# -- doctor: services
_U, _S = "doctor/test_units.py::", "doctor/test_services.py::"
UNIT_FILES = _figure("UNIT_FILES", 100, "files of a folder", "nobody writes so many units by hand", _U + "test_a_folder_of_units_is_bounded")
MANAGER_SECONDS = _figure("MANAGER_SECONDS", 6.0, "s for launchctl", "one question a job, 10-50 ms each", _U + "test_a_slow_launchctl_is_said")
LOOP_STARTS = _figure("LOOP_STARTS", 5, "starts", "fewer may be a deployment", _U + "test_a_few_starts_are_no_loop")
RESTARTS_HOUR = _figure("RESTARTS_HOUR", (5.0, 20.0), "restarts an hour: warn, fail", "DOC-18", _S + "test_rates_since_the_boot")
MOUNTS = _figure("MOUNTS", 5000, "lines of /proc/mounts", "a machine with many containers has thousands", "doctor/test_wal.py::test_a_network_disk_is_no_place_for_a_wal")
SERVICE_MEMORY = _figure("SERVICE_MEMORY", 0.8, "share of the hard line", "where the guard itself begins to speak", "doctor/test_ours.py::test_memory_near_its_line_and_without_one")

# -- recover
RECOVER_MAC_FREE = _figure("RECOVER_MAC_FREE", 0.2, "share free by the system's count", "macOS calls its pressure normal well above it", "test_recover.py::test_what_a_mac_needs")
RECOVER_WAL = _figure("RECOVER_WAL", 16 << 20, "bytes of a write-ahead log", "four times SQLite's own checkpoint: below it nothing is won", "test_recover.py::test_logs_of_stopped_services_only")
RECOVER_CACHE = _figure("RECOVER_CACHE", 1, "entries of a cache folder", "an empty folder is no cache", "test_recover.py::test_caches_are_suggestions")
RECOVER_RECORDS = _figure("RECOVER_RECORDS", 20, "records", "one a recovery; older ones are removed", "test_recover_apply.py::test_the_record_is_bounded_and_private")
WATCH_MOST = _figure("WATCH_MOST", 300.0, "s", "scenario 57 needs 130; a person waits no longer", "doctor/test_core.py::test_a_longer_look_may_be_asked_for")
WATCH_USUAL = _figure("WATCH_USUAL", 6.0, "s", "long enough for three rebuilds of a storm, short enough for every look", "doctor/test_core.py::test_a_longer_look_may_be_asked_for")
