"""honcho 2.0: a Procfile; a Python process and a shell for each service; never restarts.

One death ends all, so there is no restart row. Its output queue is unbounded: logs go to a file without
rotation and the measurement is ended by the time limit.
"""

from __future__ import annotations

from bench.install import PYPI, python_package
from bench.model import Measure, Plan, Variant
from bench.peers.base import Peer


class Honcho(Peer):
    """`honcho start`, its output in a file (that is how output is kept with it)."""

    name = "honcho"
    most = 100  # 14 MB each: 500 would take 7 to 10 GB

    def install(self) -> str:
        self.bin = python_package(self.cache, "honcho")
        return PYPI["honcho"]

    def variants(self, measure: Measure) -> tuple[Variant, ...]:
        return {"restart": (), "logs": (Variant("no rotation"),)}.get(measure, (Variant(),))

    def absent(self, measure: Measure) -> str:
        return "never restarts: one death ends all services"

    def configure(self, plan: Plan) -> None:
        (plan.folder / "logs").mkdir()
        lines = (f"{service.name}: {' '.join(service.argv)}\n" for service in plan.services)
        (plan.folder / "Procfile").write_text("".join(lines))
        (plan.folder / "daemon.out").symlink_to("logs/all.log")  # where `start` sends stdout

    def argv(self, plan: Plan) -> list[str]:
        return [
            str(self.bin / "honcho"),
            "-d",
            str(plan.folder),
            "-f",
            str(plan.folder / "Procfile"),
            "--no-colour",
            "start",
        ]
