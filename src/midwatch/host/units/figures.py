"""The numbers in generated files, each with its reason. Tests: tests/host/units/test_figures.py pins them.

They are promises of other programs' files, not thresholds of ours (those are in policy/defaults.py). Must
not compute anything from a service.
"""

from __future__ import annotations

RESTART_PAUSE = 5  # s between two starts (UNI-3): long enough for a port to be free, short for a person
BURST = 5  # starts within the interval after which systemd gives the unit up
SHORT_LIFE = 15  # s that a start which fails at once may still live; with the two above: 120 s (UNI-3)
WATCHDOG = 60  # s; the keeper replaces a hung engine after 30, so this is for a hung keeper
ENGINE_HANG = 30  # s after which the keeper replaces a hung engine: a stop may have to wait for that
STOP_SPARE = 5  # s that the outer manager waits longer than our own stop ladder may take (D11)
START_SPARE = 30  # s on top of what a start may honestly take
DAEMON_START = 60  # s until the daemon has to be ready: 500 services are adopted in one
LONGEST_BACKOFF = 60  # s between two tries of `run`, at most
TASKS = 4096  # processes and threads of one service: a fork bomb ends here and not at the machine's limit
TASKS_EACH = 1024  # and what each further service of the daemon adds
FILES_SOFT = 10240  # open files (UNI-1): a leak of one descriptor a minute lasts a week
FILES_HARD = 524288  # what systemd gives today: the hard limit is not lowered
FD_STORE = 64  # descriptors that systemd keeps for the daemon: its listening sockets
OWN_MEMORY = 64 << 20  # bytes for keeper and engine beside the service's own hard line (they hold 17 MB)
LAUNCHD_PAUSE = 15  # s; launchd has no start limit and never waits less than 10
LAUNCHD_PAUSE_RUN = 60  # s for `run`: launchd knows no exit code that says "trying cannot help", so one try a minute
SUPERVISORD_START = 10  # s that a process has to live to count as started, without a ready probe
SUPERVISORD_TRIES = 5
CRON_MINUTES = 5  # between two looks
CRON_PAUSE = 900  # s between two restarts by the watchdog (FDW-10)
CRON_SHARE = 85  # percent of the limit of open files at which it acts (FDW-5)
CRON_PROBE = 10  # s for one answer of the HTTP variant
LAUNCHD_FILES = FILES_SOFT
