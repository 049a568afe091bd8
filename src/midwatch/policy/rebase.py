"""Taking a saved state into the present: another engine, or another boot.

Within one boot the awake clock goes on, so nothing changes. Across boots every time is moved by its age by the wall
clock (never negative: a wall clock that went back makes things young, not future), and everything about the old
run is forgotten: no process outlives a boot. Budgets stay. Tests: tests/policy/test_rebase.py.
"""

from __future__ import annotations

from msgspec.structs import replace

from midwatch.model.identity import Now
from midwatch.model.state import ServiceState

OF_A_RUN = ("unhealthy", "leftovers", "backlog", "port")


def rebase(state: ServiceState, saved: Now, now: Now) -> ServiceState:
    """`state`, whose times were true at `saved`, as it stands at `now`."""
    if saved.boot == now.boot:
        return state
    shift = now.awake - saved.awake - max(0.0, now.wall - saved.wall)
    windows = {name: tuple(min(t + shift, now.awake) for t in times) for name, times in state.windows.items()}
    fresh = ServiceState(state.id, state.rules, state.phase, state.want, since=now.awake, run=state.run)
    if state.phase not in ("stopped", "scheduled", "held", "gave_up", "done"):
        up = state.want == "up"
        words = "the machine was restarted; " + ("starts again" if up else "stays stopped")
        fresh = replace(fresh, phase="pending" if up else "stopped", decision=words)
    return replace(
        fresh, wake_at=now.awake if state.phase == "held" else None, run_no=state.run_no, windows=windows,
        crash_count=state.crash_count, restarts=state.restarts, last_cause=state.last_cause,
        episodes={k: v for k, v in state.episodes.items() if k not in OF_A_RUN and k[:6] != "guard."},
        fingerprint=state.fingerprint, slot=state.slot, decision=fresh.decision or state.decision,
    )  # fmt: skip
