"""With which code `midwatch run` ends, so that an outer manager does the right thing (H17).

0: stopped as asked, or ended cleanly. 3: gave up or held. 78: its port is somebody else's (ORP-6). 1: anything else.
Must not exit itself. Tests: tests/policy/test_exitcode.py.
"""

from __future__ import annotations

from midwatch.model.state import ServiceState

OK, FAILED, GAVE_UP, CONFLICT = 0, 1, 3, 78


def run_exit_code(state: ServiceState) -> int:
    """The code of `run` when its service stands in `state`."""
    if state.phase in ("gave_up", "held"):
        return GAVE_UP
    if state.phase == "waiting":
        return CONFLICT
    return OK if state.want == "down" or state.phase == "done" else FAILED
