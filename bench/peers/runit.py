"""runit 2.1: runsvdir scans a folder of run scripts, one runsv a service (and an svlogd for its log).

Nothing to tune. It sleeps 1 s before a restart if the service lived less than 1 s. svlogd gets no
timestamps; its file size and count are set in its own config file.
"""

from __future__ import annotations

import os
import signal

from bench import procs
from bench.install import debian_unpacked, debian_version
from bench.model import Capture, Measure, Plan, Variant
from bench.peers.base import Peer
from bench.shell import script


class Runit(Peer):
    """`runsvdir FOLDER`."""

    name = "runit"

    def install(self) -> str:
        self.program = debian_unpacked(self.cache, "runit", "runsvdir")
        return debian_version("runit", self.program)

    def variants(self, measure: Measure) -> tuple[Variant, ...]:
        if measure == "logs":
            return (Variant("svlogd 50 MB x 10", "slow", capture=Capture(50 * 2**20, 10)),)
        return (Variant(),)

    def configure(self, plan: Plan) -> None:
        for service in plan.services:
            folder = plan.folder / "service" / service.name
            script(folder / "run", f"#!/bin/sh\nexec {' '.join(service.argv)}\n")
            if capture := plan.variant.capture:
                logs = self.log_folder(plan)
                logs.mkdir()
                (logs / "config").write_text(f"s{capture.file_bytes}\nn{capture.files}\n")
                script(folder / "log" / "run", f"#!/bin/sh\nexec svlogd {logs}\n")

    def env(self, plan: Plan) -> dict[str, str]:
        env = super().env(plan)
        return {**env, "PATH": f"{self.program.parent}{os.pathsep}{env.get('PATH', os.defpath)}"}

    def argv(self, plan: Plan) -> list[str]:
        return [str(self.program), str(plan.folder / "service")]

    def role(self, plan: Plan, pid: int) -> str:
        return procs.command(pid).split(" ")[0].rsplit("/", 1)[-1]

    def stop(self, plan: Plan, roots: list[int]) -> None:
        """HUP: TERM to each runsv, which stops its service."""
        for pid in roots:
            if proc := procs.identify(pid):
                procs.send(proc, signal.SIGHUP)
