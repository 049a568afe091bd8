"""The physical limit beside the products: the 60 lines of bare_loop.py run by the same interpreter.

Restart, memory, CPU and start: posix_spawn + pidfd. Logs: a bare splice loop and a bare read/write loop from
a 1 MiB pipe to one file, without rotation.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from bench.model import Measure, Plan, Variant
from bench.peers.base import Peer


class Bare(Peer):
    """`python -I -S bare_loop.py`."""

    name = "bare"

    def install(self) -> str:
        return f"Python {platform.python_version()}"

    def variants(self, measure: Measure) -> tuple[Variant, ...]:
        if measure == "logs":
            return (Variant("splice"), Variant("read/write"))
        return (Variant("posix_spawn + pidfd"),)

    def configure(self, plan: Plan) -> None:
        self.log_folder(plan).mkdir()
        (plan.folder / "commands").write_text(
            "".join(" ".join(service.argv) + "\n" for service in plan.services)
        )

    def argv(self, plan: Plan) -> list[str]:
        program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("bare_loop.py"))]
        commands = str(plan.folder / "commands")
        mode = {"splice": "splice", "read/write": "copy"}.get(plan.variant.name)
        if mode is None:
            return [*program, "spawn", commands]
        return [*program, mode, commands, str(self.log_folder(plan) / "out.log")]
