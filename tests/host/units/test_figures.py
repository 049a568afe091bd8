"""The numbers in generated files are pinned, so that a change is seen, and fit together."""

from __future__ import annotations

from midwatch.host.units import figures
from midwatch.keeper.engine import HANG
from midwatch.policy import defaults


def test_the_figures() -> None:
    """UNI-1, UNI-3, UNI-4, UNI-5, FDW-5, FDW-10: what the files promise."""
    values = {name: value for name, value in vars(figures).items() if name.isupper()}
    assert values == {
        "RESTART_PAUSE": 5, "BURST": 5, "SHORT_LIFE": 15, "WATCHDOG": 60, "STOP_SPARE": 5, "ENGINE_HANG": 30,
        "START_SPARE": 30,
        "DAEMON_START": 60, "LONGEST_BACKOFF": 60, "TASKS": 4096, "TASKS_EACH": 1024, "FILES_SOFT": 10240,
        "FILES_HARD": 524288, "FD_STORE": 64, "OWN_MEMORY": 64 << 20, "LAUNCHD_PAUSE": 15, "LAUNCHD_PAUSE_RUN": 60,
        "SUPERVISORD_START": 10, "SUPERVISORD_TRIES": 5, "CRON_MINUTES": 5, "CRON_PAUSE": 900, "CRON_SHARE": 85,
        "CRON_PROBE": 10, "LAUNCHD_FILES": 10240,
    }  # fmt: skip


def test_they_fit_ours() -> None:
    """The outer watchdog waits longer than the keeper, which replaces a hung engine itself."""
    assert figures.ENGINE_HANG == HANG
    assert figures.WATCHDOG > figures.ENGINE_HANG
    assert figures.LONGEST_BACKOFF == defaults.BACKOFF_MOST
    assert figures.SHORT_LIFE > figures.RESTART_PAUSE
