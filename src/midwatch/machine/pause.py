"""Stand still for a moment: a tree that is paused to be looked at, and let go again.

By its cgroup where it has one, else by a STOP to each member, twice, because the first round may miss a child. Who was
stopped already, by a debugger or a person, stays so: `stopped` says who that is before, and is handed to `thaw`. Must
not decide how long. Tests: tests/machine/test_pause.py.
"""

from __future__ import annotations

import signal
import time

from midwatch.machine.ports import Tree
from midwatch.machine.procs import Hand
from midwatch.machine.tree import Scanner
from midwatch.model.identity import ProcId

_SETTLE = 0.2  # seconds that the kernel may take to bring a whole group to a halt
_ROUNDS = 3


def stopped(scanner: Scanner, tree: Tree) -> tuple[ProcId, ...]:
    """Members that stand still already."""
    found = scanner.find(tree)
    procs = found.snapshot.procs
    return tuple(proc for proc in scanner.identities(found) if procs[proc.pid].state in "Tt")


def freeze(scanner: Scanner, hand: Hand, tree: Tree) -> str:
    """Stop everybody; "cgroup", "stop", or "" when there is nobody (who may be stopped)."""
    group = tree.containment.kill
    if group and hand.freeze_group(group, True):
        until = time.monotonic() + _SETTLE
        while not hand.group_frozen(group) and time.monotonic() < until:
            time.sleep(0.002)
        return "cgroup"
    told: set[ProcId] = set()
    for _ in range(_ROUNDS):
        fresh = [proc for proc in scanner.identities(scanner.find(tree)) if proc not in told]
        if not fresh:
            break
        told.update(proc for proc in fresh if _send(hand, proc, signal.SIGSTOP))
    return "stop" if told else ""


def thaw(scanner: Scanner, hand: Hand, tree: Tree, spare: tuple[ProcId, ...] = ()) -> None:
    """Let everybody go on but those in `spare`."""
    if tree.containment.kill:
        hand.freeze_group(tree.containment.kill, False)
    for proc in stopped(scanner, tree):
        if proc not in spare:
            _send(hand, proc, signal.SIGCONT)


def _send(hand: Hand, proc: ProcId, signum: int) -> bool:
    try:
        return hand.send(proc, signum)
    except PermissionError:
        return False
