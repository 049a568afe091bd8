"""What every peer's adapter offers, and the little that most of them share.

An adapter knows one product: how it is installed, configured, started and stopped, and where its output
goes. It must not measure anything.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from bench import procs
from bench.model import Measure, Plan, Variant

ENV_KEEP = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")


class Peer:
    """The interface; the defaults suit a product that is one foreground process."""

    name = ""
    guards: tuple[Variant, ...] = ()  # settings of its memory guard, each with `memory`; empty: it has none here
    most = 1000  # services; more than this takes minutes or gigabytes

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def install(self) -> str:
        """Make it ready to use and return its version. Raises Unavailable."""
        raise NotImplementedError

    def variants(self, measure: Measure) -> tuple[Variant, ...]:
        """The settings to measure; empty: the product does not do this."""
        return (Variant(),)

    def absent(self, measure: Measure) -> str:
        """Why `variants` is empty, for the report."""
        return "does not do this"

    def configure(self, plan: Plan) -> None:
        """Write the configuration into the plan's folder."""
        raise NotImplementedError

    def command_line(self) -> list[str]:
        """The program that commands it."""
        raise NotImplementedError

    def argv(self, plan: Plan) -> list[str]:
        """The start command; it stays in the foreground unless `start` is replaced too."""
        raise NotImplementedError

    def env(self, plan: Plan) -> dict[str, str]:
        """The daemon's environment: small and the same for all."""
        return {key: os.environ[key] for key in ENV_KEEP if key in os.environ}

    def start(self, plan: Plan) -> list[int]:
        """Start it and return the pids that all its own processes descend from."""
        with open(plan.folder / "daemon.out", "ab") as out:
            child = subprocess.Popen(
                self.argv(plan),
                cwd=plan.folder,
                env=self.env(plan),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        child.returncode = 0  # reaped by the session; Popen must not wait for it
        return [child.pid]

    def roots(self, plan: Plan, started: list[int]) -> list[int]:
        """The same, looked up again; for products whose daemon is not the process that was started."""
        return started

    def mains(self, plan: Plan, started: list[int]) -> list[int]:
        """Whom `kill -9` of the supervisor means."""
        return self.roots(plan, started)

    def forget(self, plan: Plan) -> None:
        """Its processes were killed: what is known of them is old."""
        del plan

    def role(self, plan: Plan, pid: int) -> str:
        """What one own process is, for products with several."""
        return "daemon"

    def stop(self, plan: Plan, roots: list[int]) -> None:
        """Ask it to end; the session waits, and kills what is left."""
        for pid in roots:
            if proc := procs.identify(pid):
                procs.send(proc, signal.SIGTERM)

    def log_folder(self, plan: Plan) -> Path:
        """Where captured output ends up (searched with its subfolders)."""
        return plan.folder / "logs"

    def complaint(self, plan: Plan) -> str:
        """The last thing the daemon said, for failures."""
        for name in ("daemon.out", "supervisord.log"):
            try:
                lines = (plan.folder / name).read_text(errors="replace").strip().splitlines()
            except OSError:
                continue
            if lines:
                return f"; it said: {lines[-1][:200]}"
        return ""
