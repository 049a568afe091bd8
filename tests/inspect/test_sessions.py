"""Sessions of agents: helpers counted once, idle or not."""

from __future__ import annotations

import pytest
from tests.inspect.doctor.machines import NOW, Machine, proc

from midwatch.inspect import agents
from midwatch.inspect.look import sessions, trees
from midwatch.inspect.ours import Ours
from midwatch.model.look import Proc

PACKS = agents.load()


def found(machine: Machine, share: dict[tuple[int, int], float] | None = None) -> list[sessions.Session]:
    forest = trees.grow(machine.table(), PACKS, Ours())
    return sessions.sessions(machine, forest, share or {})


def helper(pid: int, ppid: int, argv: str) -> Proc:
    return proc(pid, argv, ppid=ppid, start=pid, held=50 << 20, quality="exact")


def test_a_helper_is_counted_once_whatever_wraps_it() -> None:
    """npm exec, sh and node are one server; two copies are two; language servers and browsers are told apart."""
    machine = Machine()
    machine.add(
        proc(20, "claude", start=20, held=300 << 20, quality="exact"),
        helper(21, 20, "npm exec chrome-devtools-mcp@latest"), helper(22, 21, "sh -c chrome-devtools-mcp"),
        helper(23, 22, "node /x/node_modules/.bin/chrome-devtools-mcp"),
        helper(24, 20, "npm exec chrome-devtools-mcp@latest"),
        helper(25, 20, "gopls -mode=stdio"),
        helper(26, 23, "/x/ms-playwright/chromium-1/chrome --headless"),
        helper(27, 20, "/bin/bash -c make"),
    )  # fmt: skip
    (session,) = found(machine)
    assert [(h.role, h.name, len(h.tops), h.processes, h.held >> 20) for h in session.helpers] == [
        ("mcp", "chrome-devtools-mcp", 2, 5, 250), ("language-server", "gopls", 1, 1, 50),
    ]  # fmt: skip
    assert session.count("mcp") == 2
    assert session.tree.held >> 20 == 650


@pytest.mark.parametrize(
    ("quiet", "share", "activity"),
    [
        (10.0, None, "active"), (3599.0, None, "active"), (3601.0, None, "idle"), (90000.0, 0.01, "idle"),
        (90000.0, 0.03, "active"), (None, None, "unknown"), (None, 0.001, "idle"), (None, 0.5, "active"),
    ],
)  # fmt: skip
def test_idle_by_terminal_and_processor(quiet: float | None, share: float | None, activity: str) -> None:
    """SESSION_IDLE, SESSION_BUSY: a terminal silent for an hour; work without words still counts; else unknown."""
    machine = Machine()
    machine.add(proc(20, "claude", start=20, tty="pts/3" if quiet is not None else ""))
    if quiet is not None:
        machine.put("/dev/pts/3", b"", NOW - quiet)
    (session,) = found(machine, {} if share is None else {(20, 20): share})
    assert session.activity == activity
    if activity == "idle" and quiet is not None:
        assert session.idle_s == quiet


def test_a_terminal_that_is_gone_is_unknown() -> None:
    """Trap 13: its device cannot be asked any more."""
    machine = Machine()
    machine.add(proc(20, "claude", tty="pts/9"))
    (session,) = found(machine)
    assert (session.activity, session.idle_s) == ("unknown", None)
