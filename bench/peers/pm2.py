"""pm2 7: a Node daemon that the command line starts and leaves behind; PM2_HOME keeps it in our folder.

No rotation without a module of its own, so its log row has none.
"""

from __future__ import annotations

import json

from bench.install import NPM, npm_package
from bench.model import Measure, Plan, Variant
from bench.peers.base import Peer
from bench.shell import run


class Pm2(Peer):
    """`pm2 start ecosystem.json`, interpreter none, fork mode."""

    name = "pm2"
    guards = (
        Variant("default", "rare", memory=512, note="worker every 30 s"),
        Variant("fast", memory=512, note="PM2_WORKER_INTERVAL=1000"),
    )

    def install(self) -> str:
        self.bin = npm_package(self.cache, "pm2")
        return NPM["pm2"]

    def variants(self, measure: Measure) -> tuple[Variant, ...]:
        return (Variant("no rotation"),) if measure == "logs" else (Variant(),)

    def configure(self, plan: Plan) -> None:
        apps = [
            {
                "name": service.name,
                "script": service.argv[0],
                "args": list(service.argv[1:]),
                "interpreter": "none",
                "exec_mode": "fork",
                "cwd": str(plan.folder),
                **({"max_memory_restart": f"{plan.variant.memory}M"} if plan.variant.memory else {}),
            }
            for service in plan.services
        ]
        (plan.folder / "ecosystem.config.json").write_text(json.dumps({"apps": apps}))

    def env(self, plan: Plan) -> dict[str, str]:
        fast = {"PM2_WORKER_INTERVAL": "1000"} if plan.variant.name == "fast" else {}
        return {**super().env(plan), "PM2_HOME": str(plan.folder / "logs"), "PM2_DISCRETE_MODE": "true", **fast}

    def argv(self, plan: Plan) -> list[str]:
        return [str(self.bin / "pm2"), "start", str(plan.folder / "ecosystem.config.json")]

    def roots(self, plan: Plan, started: list[int]) -> list[int]:
        """The daemon by its pid file; until it is there, the command that starts it."""
        try:
            return [int((plan.folder / "logs" / "pm2.pid").read_text())]
        except (OSError, ValueError):
            return started

    def stop(self, plan: Plan, roots: list[int]) -> None:
        run([str(self.bin / "pm2"), "kill"], 20.0, self.env(plan), plan.folder)
