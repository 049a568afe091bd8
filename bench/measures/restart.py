"""Restart latency: from a child's end to the first instruction of its successor.

Two ends: exit code 0 (the child stamps just before it exits) and SIGKILL (we stamp just before we send it).
All peers are up with one service each and take turns, one end at a time, so that a noisy minute meets all
of them; slow settings take part in fewer rounds. A child lives LIFE_S before it is ended, so that throttles for
short-lived services do not count. Must not wake up during an interval: see bench/stamps.py.
"""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass

from bench import procs
from bench.context import Context
from bench.model import Failed, Result, Trigger
from bench.session import Session
from bench.stamps import Stamp

WAIT_S = {"fast": 5.0, "slow": 10.0, "rare": 20.0}
LIFE_S = 1.2  # runit, supervisor and pm2 slow down what lived less than 1 s
GAP_S = 0.06  # after each restart: what the peer does after it must not fall into the next one's interval


@dataclass
class _Entrant:
    running: Session
    result: Result


def measure(context: Context) -> list[Result]:
    """Rounds of exits, then rounds of kills."""
    results = []
    with ExitStack() as stack:
        entrants: list[_Entrant] = []
        for peer, variant in context.entrants("restart"):
            result = Result("restart", peer.name, variant.name, notes=[variant.note] if variant.note else [])
            results.append(result)
            if context.effort.restarts[variant.pace] == 0:
                result.notes.append("only in the full run")
                continue
            try:
                running = stack.enter_context(context.open(peer, variant, 1))
                entrants.append(_Entrant(running, result))
                running.wait_started(1, context.patience(1))
            except (Failed, OSError) as error:
                result.failed = str(error)
        for trigger in ("exit", "kill"):
            _rounds(context, [entrant for entrant in entrants if _takes_part(entrant, trigger)], trigger)
    return results + context.absentees("restart")


def _takes_part(entrant: _Entrant, trigger: Trigger) -> bool:
    return trigger in entrant.running.plan.variant.triggers and entrant.result.failed is None


def _rounds(context: Context, entrants: list[_Entrant], trigger: Trigger) -> None:
    wanted = context.effort.restarts
    context.say(f"restart after {trigger}: {', '.join(entrant.running.label for entrant in entrants)}")
    for number in range(max(wanted.values())):
        turn = entrants[number % len(entrants) :] + entrants[: number % len(entrants)] if entrants else []
        for entrant in turn:
            if entrant.result.failed is None and number < wanted[entrant.running.plan.variant.pace]:
                try:
                    entrant.result.add(f"{trigger}_ms", _latency(entrant.running, trigger))
                except (Failed, OSError) as error:
                    entrant.result.failed = f"{trigger} {number + 1}: {error}"
                time.sleep(GAP_S)


def _latency(running: Session, trigger: Trigger) -> float:
    """One restart, in ms, of a child that lived as long as it should: for short lives one restart before it."""
    life = running.plan.variant.life_s
    if life is not None:
        _one(running, trigger, LIFE_S)
    return _one(running, trigger, LIFE_S if life is None else life)


def _one(running: Session, trigger: Trigger, life: float) -> float:
    last = running.stamps.starts()[-1]
    time.sleep(max(0.0, life - (time.monotonic_ns() - last.ns) / 1e9))
    proc = running.newest()
    sent = time.monotonic_ns()
    if not procs.send(proc, signal.SIGKILL if trigger == "kill" else signal.SIGUSR1):
        raise Failed("the service ended by itself")

    def successor(stamp: Stamp) -> bool:
        return stamp.kind == "S" and stamp.ns > sent

    limit = WAIT_S[running.plan.variant.pace]
    found = running.stamps.wait(successor, limit)
    if not found:
        raise Failed(f"no successor within {limit:.0f} s")
    if trigger == "exit":
        ends = [stamp.ns for stamp in running.stamps.seen if stamp.kind == "E" and stamp.pid == proc.pid]
        if not ends:
            raise Failed("the service ended without saying so")
        sent = ends[0]
    return (found[0].ns - sent) / 1e6
