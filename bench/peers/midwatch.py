"""Midwatch, used as its users do: `midwatch up -d -f FILE` in an instance of its own, `midwatch down --all`.

contain=auto (the default) starts through the gate into a cgroup of the run's own; contain=none starts at
once. The budgets are raised for the restart measure only, else its 80 kills would rightly be slowed down.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from bench import procs
from bench.model import Capture, Measure, Plan, Unavailable, Variant
from bench.peers.base import Peer
from bench.shell import run

ROOT = Path(__file__).parents[2]
MANY = "10000 in 60s"
AUTO, NONE = Variant("contain=auto"), Variant("contain=none")
SOON = Variant(
    "contain=auto, lived 0.1 s", life_s=0.1, note="ends before the next gate may be waiting in its cgroup"
)


class Midwatch(Peer):
    """The checkout's own midwatch, run by the interpreter that runs the benchmark."""

    name = "midwatch"
    guards = (Variant("polling", memory=512), Variant("own cgroup", memory=512))

    def install(self) -> str:
        """The command beside this interpreter, else the package in this checkout."""
        self._pairs: dict[Path, tuple[int, int]] = {}  # by session: keeper, engine
        beside = Path(sys.executable).with_name("midwatch")
        self.command = [str(beside)] if beside.exists() else [sys.executable, "-m", "midwatch"]
        try:
            return run([*self.command, "--version"], 20.0, self._env()).strip().removeprefix("midwatch ")
        except OSError as error:
            raise Unavailable(f"does not run: {error}") from error

    def _env(self) -> dict[str, str]:
        env = dict(os.environ)
        return env if len(self.command) == 1 else {**env, "PYTHONPATH": str(ROOT / "src")}

    def variants(self, measure: Measure) -> tuple[Variant, ...]:
        if measure == "logs":
            big, stock = Capture(50 * 2**20, 10), Capture(10 * 2**20, 5, compress=True)
            return (
                Variant("50 MB x 10", capture=big),
                Variant("default: 10 MB x 5, gzip", capture=stock, note="its gzip runs beside the writer"),
            )
        if measure == "restart":
            return (AUTO, SOON, NONE)
        return (AUTO, NONE)

    def configure(self, plan: Plan) -> None:
        lines = ['[midwatch]\nproject = "bench"\n']
        for service in plan.services:
            lines.append(f"[service.{service.name}]\ncommand = {json.dumps(service.argv)}\n")
            if plan.variant.listen:
                lines.append(f"listen = {json.dumps(plan.variant.listen)}\n")
            if plan.variant.memory:
                lines.append(f'memory = {{ hard = "{plan.variant.memory}M" }}\n')
            if plan.variant == NONE or plan.variant.name == "polling":
                lines.append('contain = "none"\n')
            if len(plan.services) == 1:
                lines.append(f'restart = {{ clean = "{MANY}", killed = "{MANY}", crash = 10000 }}\n')
            if capture := plan.variant.capture:
                bounds = f"file = {capture.file_bytes}, files = {capture.files}"
                lines.append(f"output = {{ {bounds}, compress = {str(capture.compress).lower()} }}\n")
        (plan.folder / "midwatch.toml").write_text("".join(lines))

    def env(self, plan: Plan) -> dict[str, str]:
        env = {**super().env(plan), "MIDWATCH_HOME": str(plan.folder / "home")}
        return env if len(self.command) == 1 else {**env, "PYTHONPATH": str(ROOT / "src")}

    def command_line(self) -> list[str]:
        return self.command

    def argv(self, plan: Plan) -> list[str]:
        return [*self.command, "up", "-d", "-f", str(plan.folder / "midwatch.toml")]

    def roots(self, plan: Plan, started: list[int]) -> list[int]:
        """The keeper: all else of ours descends from it (the start command ends and does not count)."""
        if plan.folder not in self._pairs:
            try:
                status = json.loads(run([*self.command, "ps", "--json"], 20.0, self.env(plan), plan.folder))[
                    "daemon"
                ]
                self._pairs[plan.folder] = (int(status["keeper_pid"]), int(status["pid"]))
            except (OSError, ValueError, KeyError, TypeError):
                return started
        return [self._pairs[plan.folder][0]]

    def mains(self, plan: Plan, started: list[int]) -> list[int]:
        """Keeper and engine."""
        self.roots(plan, started)
        return list(self._pairs.get(plan.folder, ()))

    def forget(self, plan: Plan) -> None:
        self._pairs.pop(plan.folder, None)

    def role(self, plan: Plan, pid: int) -> str:
        """Keeper, engine, the gates that wait inside cgroups for the next run, and short-lived helpers."""
        pair = self._pairs.get(plan.folder, (0, 0))
        if pid in pair:
            return ("keeper", "engine")[pair.index(pid)]
        return "gates" if "midwatch-gate" in procs.command(pid) else "helper"

    def stop(self, plan: Plan, roots: list[int]) -> None:
        run([*self.command, "down", "--all"], 20.0, self.env(plan), plan.folder)

    def log_folder(self, plan: Plan) -> Path:
        return plan.folder / "home" / "logs"

    def complaint(self, plan: Plan) -> str:
        try:
            lines = (plan.folder / "home" / "daemon.log").read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return f"; it said: {lines[-1][:200]}" if lines else super().complaint(plan)
