"""The hands of a recovery on this machine: sweep, stop a container, restart a virtual machine, truncate a log.

What concerns our own services goes through their daemon and is given in by the caller. Each hand checks its targets
again and says what it refused. Must not choose. Tests: tests/inspect/test_recover_apply.py, tests/system.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from midwatch.inspect.containers import stop
from midwatch.inspect.recover.apply import FOLDER, Done, State, tidy
from midwatch.inspect.recover.order import Facts
from midwatch.inspect.recover.plan import Aim, Step
from midwatch.inspect.sources import Sources, Table
from midwatch.inspect.sweep.ending import Hands as Signals
from midwatch.inspect.sweep.ending import Sweep
from midwatch.inspect.sweep.undo import entries, write
from midwatch.model.look import Leftover
from midwatch.policy.defaults_inspect import SWEEP_GRACE
from midwatch.record.files import make_folder, write_fresh
from midwatch.record.redact import redact_value

SNAPSHOT = 10.0  # seconds for the doctor
SNAPSHOT_BYTES = 4 << 20
VM_GONE = 60.0  # REC-2: seconds for an app to quit
_TRUNCATE = (
    "import sqlite3, sys\n"
    "db = sqlite3.connect('file:' + sys.argv[1] + '?mode=rw', uri=True, timeout=1)\n"
    "busy, log, done = db.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchone()\n"
    "db.close()\n"
    "sys.exit(3 if busy else 0)\n"
)


class Live:
    """Hands for one plan. `look` proves leftovers anew; `halt` stops services of ours and says what came of each."""

    def __init__(
        self,
        facts: Facts,
        home: Path,
        look: Callable[[], tuple[list[Leftover], Table]],
        signals: Signals,
        halt: Callable[[list[str]], list[tuple[str, str]]],
        *,
        grace: float = SWEEP_GRACE,
    ) -> None:
        """Nothing is touched before `do`."""
        self._facts = facts
        self._home = home
        self._look = look
        self._signals = signals
        self._halt = halt
        self._grace = grace

    def do(self, step: Step) -> Done:
        """See recover/apply.py: Hands."""
        ways: dict[str, Callable[[Step], Done]] = {
            "snapshot": self._snapshot, "services": self._services, "leftovers": self._end, "copies": self._end,
            "stacks": self._stacks, "vm": self._restart, "wal": self._truncate,
        }  # fmt: skip
        try:
            return ways[step.id](step)
        except Exception as error:  # noqa: BLE001 - one step that breaks must not hide what the others did
            return Done(step.id, "failed", (f"{type(error).__name__}: {error}",))

    def _snapshot(self, step: Step) -> Done:
        """The doctor's word on everything, before anything is touched."""
        from midwatch.inspect.doctor.check import Context
        from midwatch.inspect.doctor.registry import checks, chosen
        from midwatch.inspect.doctor.run import run

        sources = self._facts.sources
        told = run(Context(sources, ours=self._facts.ours), chosen(checks()), each=SNAPSHOT, total=SNAPSHOT)
        folder = self._home / FOLDER
        make_folder(folder)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(sources.now()))
        path = folder / f"before-{stamp}.checks"
        rows = redact_value(msgspec.to_builtins({"schema_version": 1, "checks": told}))
        write_fresh(path, json.dumps(rows, indent=1).encode()[:SNAPSHOT_BYTES])
        tidy(folder, ".checks")
        return Done(step.id, "done", (f"{len(told)} results of the doctor are in {path}",))

    def _services(self, step: Step) -> Done:
        told = self._halt([aim.name for aim in step.aims])
        bad = tuple(f"{name}: {words}" for name, words in told if words)
        stopped = [name for name, words in told if not words]
        undo = (f"midwatch start {' '.join(stopped)}",) if stopped else ()
        freed = sum(aim.held or 0 for aim in step.aims if aim.name in stopped)
        return Done(
            step.id, "failed" if bad else "done", bad or (f"stopped {', '.join(stopped)}",), undo, freed
        )

    def _end(self, step: Step) -> Done:
        aimed = {(aim.pid, aim.mark) for aim in step.aims}
        wanted = [one for one in self._facts.leftovers or [] if (one.proc.pid, str(one.proc.start)) in aimed]
        lists: list[str] = []

        def note(targets: list[Leftover]) -> None:
            rows = entries(self._facts.sources, targets)
            lists.append(str(write(self._home, "recover", rows, self._facts.sources.now())))

        done = Sweep(self._look, self._signals, grace=self._grace).run(wanted, note)
        kept = tuple(
            f"pid {one.left.proc.pid}: {one.words}" for one in done if one.action in ("kept", "left")
        )
        ended = sum(one.action in ("ended", "killed") for one in done)
        state: State = "done" if not kept else "refused" if not ended else "failed"
        undo = tuple(f"the commands are in {path}" for path in lists)
        return Done(step.id, state, (f"{ended} processes ended", *kept), undo, sum(one.freed for one in done))

    def _stacks(self, step: Step) -> Done:
        bad, undo, freed = [], [], 0
        for stack in self._facts.stacks or []:
            words = [f"{target.name}: {said}" for target in stack.targets if (said := stop(target))]
            bad += words
            if not words:
                undo.append(f"docker compose -p {shlex.quote(stack.project)} start")
                freed += stack.held
        return Done(step.id, "failed" if bad else "done", tuple(bad), tuple(undo), freed)

    def _restart(self, step: Step) -> Done:
        aim = step.aims[0]
        now = self._look()[1].procs.get(aim.pid or 0)
        if now is None or str(now.start) != aim.mark:
            return Done(step.id, "refused", (f"the process of {aim.name} is not the one that was planned",))
        command = shlex.split(step.command)
        if command[:1] == ["quit"]:
            command = ["osascript", "-e", f'quit app "{aim.name}"']
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=2 * VM_GONE)
        if done.returncode:
            return Done(
                step.id, "failed", (f"{command[0]} ended with {done.returncode}: {done.stderr[:200]}",)
            )
        if command[0] == "osascript":
            if not self._gone(aim):
                return Done(step.id, "failed", (f"{aim.name} had not quit after {VM_GONE:.0f} s",))
            subprocess.run(["open", "-a", aim.name], check=False, timeout=VM_GONE)
        return Done(step.id, "done", (f"{aim.name} was restarted",), (), step.gain or 0)

    def _gone(self, aim: Aim) -> bool:
        until = time.monotonic() + VM_GONE
        while time.monotonic() < until:
            now = self._look()[1].procs.get(aim.pid or 0)
            if now is None or str(now.start) != aim.mark:
                return True
            time.sleep(1.0)
        return False

    def _truncate(self, step: Step) -> Done:
        said, good = [], True
        for aim in step.aims:
            words = truncate(self._facts.sources, aim)
            good = good and not words
            said.append(f"{aim.name}: {words or 'truncated'}")
        return Done(step.id, "done" if good else "refused", tuple(said))


def truncate(sources: Sources, aim: Aim) -> str:
    """One log, in a process of its own: we never open a database ourselves. "" done, else why not."""
    try:
        size = sources.size(f"{aim.name}-wal")[0]
    except OSError as error:
        return f"its log cannot be read: {error.strerror}"
    if str(size) != aim.mark:
        return "its log changed since the plan: somebody writes it"
    done = subprocess.run(
        [sys.executable, "-I", "-c", _TRUNCATE, aim.name],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode == 3:
        return "somebody has it open: not touched"
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["failed"])[-1][:200]
