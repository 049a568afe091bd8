"""With which code `midwatch run` ends, so that an outer manager does the right thing (H17).

0: stopped as asked, or ended cleanly. 3: gave up or held. Else the command's own code, 128+N for a signal. Must not
exit itself. Tests: tests/policy/test_exitcode.py.
"""

from __future__ import annotations

from midwatch.model.exit import ExitFacts
from midwatch.model.state import ServiceState

OK, FAILED, USAGE, GAVE_UP, RUNNING, PLANNED, CONFIG = 0, 1, 2, 3, 4, 75, 78

# One line each, for docs/reference and the help of the verbs.
MEANINGS: dict[int, str] = {
    OK: "done, or calm",
    FAILED: "findings, or a failure",
    USAGE: "usage: the command line is wrong",
    GAVE_UP: "gave up, or held: starting again would not help",
    RUNNING: "already running: another instance holds the lock",
    PLANNED: "a planned restart, or the lock was lost",
    CONFIG: "configuration, conflict or an unwritable state folder: do not retry",
}


def run_exit_code(state: ServiceState, last: ExitFacts | None) -> int:
    """The code of `run` when its service stands in `state` and its last run ended with `last`."""
    if state.phase in ("gave_up", "held"):
        return GAVE_UP
    if state.want == "down" or state.phase == "done":
        return OK
    if last is None:
        return FAILED
    if last.signal is not None:
        return 128 + last.signal
    return FAILED if last.code is None else last.code
