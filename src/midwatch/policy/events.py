"""The closed set of journal events: every name, its fields and its meaning in one line.

docs/reference is generated from this table and a test holds every `Note` of the policy against it. A reader must ignore
fields it does not know. An event about a run carries `run_id`. Must not emit. Tests: tests/policy/test_events.py.
"""

from __future__ import annotations

import msgspec


class EventKind(msgspec.Struct, frozen=True):
    name: str
    source: str  # "policy" or "engine"
    fields: tuple[str, ...]
    meaning: str


_EXIT = ("run_id pid code signal status cause confidence because against do duration_ms crash_count reported_signal "
         "max_rss_bytes cpu_seconds decision")  # fmt: skip

_GUARD = ("run_id guard level held_bytes line_bytes open limit quality action within_ms evidence decision")

_POLICY = (
    ("service.asked", "verb by job now", "somebody asked for something; the newest intent wins"),
    ("service.rules", "respawn job", "reload: other rules are in force"),
    ("service.resumed", "phase alive run_id", "a new engine took the service over as it was"),
    ("service.held", "reason recheck_ms decision", "trying again cannot help until something changes"),
    ("service.recheck", "changed problem decision", "the precondition of a held service looks different now"),
    ("service.done", "cause decision", "it ended as it was meant to and is not started again"),
    ("run.spawning", "run_id", "the intent to start a run, written before anything exists"),
    ("run.spawned", "run_id pid", "the run exists"),
    ("run.ready", "run_id ready_ms detail", "the ready probe was answered by the run itself"),
    ("run.exited", _EXIT, "the main process is gone; why, how sure, and what is done next"),
    ("run.spawn_failed", "run_id errno phase error lasting cause crash_count decision", "the run never started"),
    ("run.leftovers", "run_id count left ended verified_by", "processes of the tree outlived the main process"),
    ("run.tree_gone", "run_id verified_by ended", "nothing of the run's tree is left"),
    ("run.daemonised", "run_id pid launcher_pid port action decision", "a launcher left, its child serves"),
    ("port.conflict", "run_id port owner class pid do decision", "somebody else holds the port; once for each holder"),
    ("port.free", "run_id", "a run has its port again: the conflict is over"),
    ("backoff", "ms reason crash_count decision", "the next try comes after this delay (0: at once)"),
    ("probe.failed", "run_id kind count of detail", "one probe failed, not yet often enough to act"),
    ("probe.ok", "run_id kind", "the probe is answered again after failures that led to nothing"),
    ("health.warn", "run_id reason budget count window_ms decision", "overspent, or not working well; once an episode"),
    ("health.failed", "run_id reason count detail decision", "so many probes in a row failed, or not ready in time"),
    ("health.recovered", "run_id budget", "the episode is over: healthy again, or a run lived long enough"),
    ("budget.exhausted", "budget count limit decision", "a budget is spent; once an episode"),
    ("supervision.gave_up", "crash_count limit cause decision", "the ceiling was reached; only a person restarts it"),
    ("guard.tripped", _GUARD, "a line was crossed; what is done (warn, drain, stop) is written before it is done"),
    ("guard.eased", "run_id guard", "well below that line again: the episode is over"),
    ("guard.drain", "run_id outcome waited_ms decision", "it was asked to drain and did not leave in time"),
    ("host.pressure", "level available_bytes reserve_bytes some full swap_free_bytes", "memory runs short"),
    ("host.ok", "level available_bytes reserve_bytes some full swap_free_bytes", "that is over, for a minute now"),
    ("host.nobody", "level available_bytes reserve_bytes held_bytes decision", "nothing of ours is worth ending"),
    ("budget.over", "held_bytes budget_bytes over", "all services hold more than they may; `over` ends the episode"),
    ("schedule.armed", "cron zone", "waits for its next time"),
    ("schedule.begin", "slot", "its times count from here on: it has just got this schedule"),
    ("schedule.due", "slot missed decision", "its time has come; `missed` earlier ones had nobody to run them"),
    ("schedule.skipped", "slot missed reason run_id", "not run at this time, because one still runs or it is too late"),
    ("watch.changed", "run_id paths count", "watched files changed: restarted, or tried again at once"),
    ("watch.loop", "run_id paths count window_ms decision", "it changes what it watches: not restarted for that"),
    ("service.forgiven", "gap_ms", "everything stood still: counts begin afresh, the time does not count"),
    ("stop.begin", "run_id reason by signal grace_ms", "a stop has begun"),
    ("stop.signal", "run_id signal", "the stop signal goes to the whole group"),
    ("stop.kill", "run_id reason", "the rest of the tree is killed"),
    ("stop.done", "run_id verified_by ended duration_ms reason", "nothing is left, and how that was proven"),
)  # fmt: skip

_FDS = ("run_id pid start uptime_s total soft expected ratio floor10 peak10 by_kind top wal_conns close_wait "
        "deleted_bytes threads held_bytes restarts units requests")  # fmt: skip

_WAL = "run_id path wal_bytes db_bytes free_bytes level handles holders words do"

_ENGINE = (
    ("daemon.started", "pid version services", "the daemon took its lock and its socket; `pid` is the keeper's"),
    ("daemon.stopped", "code", "the daemon ends; every service was stopped or left as asked"),
    ("engine.restarted", "pid version services", "the engine died and was started again; no service noticed"),
    ("outer.detected", "manager confidence reasons", "who runs midwatch, as far as this could be told at its start"),
    ("cgroup.settled", "message", "our cgroup was delegated to us: we moved into a leaf of it, services get siblings"),
    ("daemon.upgrading", "version to by", "keeper and engine replace themselves; `engine.restarted` follows"),
    ("service.removed", "", "the service is gone from the configuration and stopped"),
    ("run.orphaned", "run_id pid ended left verified_by", "what an earlier daemon had left running was ended"),
    ("run.tail", "run_id text", "the last lines of a run's output, redacted"),
    ("output.dropped", "run_id stream bytes since reason over", "output was thrown away; `over` ends the episode"),
    ("disk.low", "path free_bytes reserve_bytes", "too little space: output is thrown away until there is more"),
    ("disk.ok", "path free_bytes reserve_bytes", "space is back: output is kept again"),
    ("schedule.next", "at cron zone", "when a scheduled service comes next, as wall time"),
    ("schedule.clock", "last now back_s", "the clock was set back by hours: times are counted from now on"),
    ("filewatch.started", "pid services folders polling", "the helper that follows files watches so many folders"),
    ("filewatch.lost", "reason retry_ms", "that helper died: what changed meanwhile may go unseen"),
    ("filewatch.warning", "message", "files are followed worse than they should be, and why"),
    ("listen.open", "addresses", "the keeper holds these sockets for the service"),
    ("listen.failed", "address errno error", "a socket could not be opened; said once for each reason"),
    ("listen.lost", "addresses", "the sockets went with the last keeper: the next restart opens them anew"),
    ("listen.closed", "addresses", "nobody wants these sockets any more"),
    ("journal.opened", "version snapshot", "first line of each journal file: every service as it stood"),
    ("journal.gap", "lines kept", "so many journal lines could not be written"),
    ("config.applied", "project source added removed restarted changed", "a config file is in force"),
    ("config.refused", "project source reason", "a config file has errors; nothing was changed"),
    ("job.done", "job verb failed", "a command that somebody gave is finished"),
    ("control.refused", "reason", "a control client was turned away"),
    ("limit.warning", "message", "a limit that was asked for could not be set as it was"),
    ("state.damaged", "path problem", "a file of ours was torn or unreadable; what was done instead"),
    ("run.adopted", "run_id pid", "a new engine has taken over a run that lived on without one"),
    ("clock.gap", "slept_ms paused_ms", "the machine slept, or we were stopped with it: nobody is blamed"),
    ("job.resumed", "job verb open", "a new engine goes on with a command that the last one had begun"),
    ("evidence.captured", "run_id path reason bytes state", "what a run looked like is in this folder, or part of it"),
    ("guard.confirmed", "run_id held_bytes pss_bytes members ms", "a walk through its pages counts shared ones once"),
    ("guard.growing", "run_id stage detail", "it grows so fast that evidence is taken; nothing is stopped for that"),
    ("leak.found", "run_id kind level words rate low high ttl_s reasons", "it grows and gives nothing back"),
    ("leak.over", "run_id kind words", "that growth is over, or no longer to be told from noise"),
    ("fds.sign", "run_id rule level subject words", "its open descriptors show a fault (S1 to S7), once each"),
    ("wal.warn", _WAL, "a write-ahead log is too large or on a network; who has it open, what helps"),
    ("wal.ok", _WAL, "that is over"),
    ("wal.probe", "run_id path busy log_frames done_frames words", "what SQLite says of a log, when that changes"),
    ("fds.record", _FDS, "what it had open when that was seen (FDW-9)"),
    ("engine.fault", "run_id part error where decision over", "a bug of midwatch: this part only watches until `over`"),
    ("clock.stepped", "by_ms", "the wall clock jumped; durations and windows are not touched"),
)  # fmt: skip

EVENTS: dict[str, EventKind] = {
    **{name: EventKind(name, "policy", tuple(fields.split()), meaning) for name, fields, meaning in _POLICY},
    **{name: EventKind(name, "engine", tuple(fields.split()), meaning) for name, fields, meaning in _ENGINE},
}


def reference() -> str:
    """The table of all events as Markdown, for docs/reference."""
    rows = (f"| `{e.name}` | {' '.join(f'`{f}`' for f in e.fields)} | {e.meaning} |\n" for e in EVENTS.values())
    return "| event | fields | meaning |\n|---|---|---|\n" + "".join(rows)
