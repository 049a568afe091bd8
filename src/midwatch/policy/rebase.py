"""Taking a saved state into the present: another engine, or another boot.

Within one boot the awake clock goes on, so nothing changes. Across boots every time is moved by the age it has by the wall
clock (never negative: a wall clock that went back makes things young, not future), and everything about the old
run is forgotten: no process outlives a boot. Budgets stay. Tests: tests/policy/test_rebase.py.
"""

from __future__ import annotations

from msgspec.structs import replace

from midwatch.model.identity import Now
from midwatch.model.state import ServiceState

_WANTED_ANEW = frozenset({"pending", "starting", "up", "stopping", "killing", "backoff", "degraded"})


def rebase(state: ServiceState, saved: Now, now: Now) -> ServiceState:
    """`state`, whose times were true at `saved`, as it stands at `now`."""
    if saved.boot == now.boot:
        return state
    shift = now.awake - saved.awake - max(0.0, now.wall - saved.wall)
    windows = {name: tuple(min(t + shift, now.awake) for t in times) for name, times in state.windows.items()}
    phase, decision = state.phase, state.decision
    if phase in _WANTED_ANEW:
        phase = "pending" if state.want == "up" else "stopped"
        decision = "the machine was restarted; " + ("starts again" if state.want == "up" else "stays stopped")
    episodes = {name: over for name, over in state.episodes.items() if name not in ("unhealthy", "leftovers")}
    return replace(
        state, phase=phase, since=now.awake, wake_at=now.awake if phase == "held" else None, pid=None,
        spawned_at=None, ready=False, health="unknown", probe_failures=0, probe_detail="", why_stopping=None,
        respawn=False, plan=None, hurry=False, gone=None, stopping_since=None, asked_by="", job=None, windows=windows,
        episodes=episodes, decision=decision,
    )  # fmt: skip
