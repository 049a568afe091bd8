"""monit 5.33: polls in cycles (Debian 120 s, upstream's sample 30 s); starts services one after another.

It has no children of its own: a launcher script starts each service and writes its pid file. It does not
capture output. "fast" = a cycle of 1 s, the shortest; the default is not measured (half of 120 s each).
"""

from __future__ import annotations

from bench.install import debian_unpacked, debian_version
from bench.model import Measure, Plan, Variant
from bench.peers.base import Peer
from bench.shell import script


class Monit(Peer):
    """`monit -I` with one pid-file check a service."""

    name = "monit"
    guards = (Variant("fast", memory=512, note="cycle of 1 s"),)
    most = 50  # 0.2 s each, one after another

    def install(self) -> str:
        self.program = debian_unpacked(self.cache, "monit", "monit")
        return debian_version("monit", self.program)

    def variants(self, measure: Measure) -> tuple[Variant, ...]:
        if measure == "logs":
            return ()
        if measure == "restart":
            return (
                Variant(
                    "fast",
                    "slow",
                    note="cycle of 1 s; at Debian's 120 s a restart takes 60 s in the mean",
                ),
            )
        return (Variant("cycle 1 s" if measure == "start500" else "cycle 120 s"),)

    def absent(self, measure: Measure) -> str:
        return "does not capture output"

    def configure(self, plan: Plan) -> None:
        folder = plan.folder
        cycle = 120 if plan.variant.name == "cycle 120 s" else 1
        text = f"set daemon {cycle}\nset logfile {folder}/monit.log\nset pidfile {folder}/pid\n"
        text += f"set idfile {folder}/id\nset statefile {folder}/state\n"
        for service in plan.services:
            pidfile = folder / f"{service.name}.pid"
            launcher = folder / f"{service.name}.sh"
            command = " ".join(service.argv)
            script(
                launcher, f"#!/bin/sh\nsetsid {command} </dev/null >/dev/null 2>&1 &\necho $! > {pidfile}\n"
            )
            text += f'check process {service.name} with pidfile {pidfile}\n  start program = "{launcher}"\n'
            if plan.variant.memory:
                text += f'  stop program = "/bin/sh -c \'kill -9 $(cat {pidfile})\'"\n'
                text += f"  if totalmem > {plan.variant.memory} MB then restart\n"
        path = folder / "monitrc"
        path.write_text(text)
        path.chmod(0o600)

    def argv(self, plan: Plan) -> list[str]:
        return [str(self.program), "-I", "-c", str(plan.folder / "monitrc")]
