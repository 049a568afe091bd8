"""s6 2.11: s6-svscan scans a folder of run scripts, one s6-supervise a service (and an s6-log for its log).

Nothing to tune: it waits 1 s before each restart. Debian's s6-svscan carries the absolute path of
s6-supervise, so this one is installed by apt-get and needs root.
"""

from __future__ import annotations

from bench import procs
from bench.install import debian_installed, debian_version
from bench.model import Capture, Measure, Plan, Variant
from bench.peers.base import Peer
from bench.shell import run, script


class S6(Peer):
    """`s6-svscan FOLDER`."""

    name = "s6"

    def install(self) -> str:
        self.program = debian_installed("s6", "s6-svscan")
        return debian_version("s6", self.program)

    def variants(self, measure: Measure) -> tuple[Variant, ...]:
        if measure == "restart":
            return (Variant("default", "slow"),)
        if measure == "logs":
            return (Variant("s6-log 50 MB x 10", capture=Capture(50 * 2**20, 10)),)
        return (Variant(),)

    def configure(self, plan: Plan) -> None:
        for service in plan.services:
            folder = plan.folder / "service" / service.name
            script(folder / "run", f"#!/bin/sh\nexec {' '.join(service.argv)}\n")
            if capture := plan.variant.capture:
                line = f"exec s6-log n{capture.files} s{capture.file_bytes} {self.log_folder(plan)}"
                script(folder / "log" / "run", f"#!/bin/sh\n{line}\n")

    def argv(self, plan: Plan) -> list[str]:
        return [str(self.program), str(plan.folder / "service")]

    def role(self, plan: Plan, pid: int) -> str:
        return procs.command(pid).split(" ")[0].rsplit("/", 1)[-1]

    def stop(self, plan: Plan, roots: list[int]) -> None:
        run([str(self.program.with_name("s6-svscanctl")), "-t", str(plan.folder / "service")], 10.0)
