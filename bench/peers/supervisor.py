"""supervisord 4: one INI file, children by its own fork, a one second poll loop.

"fast" = startsecs=0, autorestart=true. By default an exit with code 0 is not restarted. Its memory guard is
superlance's memmon, which asks `ps` for the resident size at each tick: of 60 s in its samples, of 5 s at the shortest.
"""

from __future__ import annotations

from bench.install import PYPI, python_package
from bench.model import Capture, Measure, Plan, Variant
from bench.peers.base import Peer

ROTATION = Capture(50 * 2**20, 10)


class Supervisor(Peer):
    """`supervisord -n`, control socket on, logs as by default."""

    name = "supervisor"
    guards = (
        Variant("memmon", "rare", memory=512, note="memmon at TICK_60, as in its samples"),
        Variant("memmon, fast", memory=512, note="memmon at TICK_5"),
    )

    def install(self) -> str:
        python_package(self.cache, "superlance")
        self.bin = python_package(self.cache, "supervisor")
        return PYPI["supervisor"]

    def variants(self, measure: Measure) -> tuple[Variant, ...]:
        if measure == "restart":
            return (
                Variant("default", "slow", ("kill",), note="exit 0 is not restarted"),
                Variant("fast", "slow", ("exit", "kill")),
            )
        if measure == "logs":
            return (Variant("50 MB x 10", capture=ROTATION),)
        return (Variant(),)

    def configure(self, plan: Plan) -> None:
        folder = plan.folder
        (folder / "logs").mkdir()
        extra = "startsecs=0\nautorestart=true\n" if plan.variant.name == "fast" else ""
        if capture := plan.variant.capture:
            extra += f"stdout_logfile_maxbytes={capture.file_bytes}\nstdout_logfile_backups={capture.files}\n"
        text = (
            f"[supervisord]\nlogfile={folder}/supervisord.log\npidfile={folder}/pid\nchildlogdir={folder}/logs\n"
            f"nodaemon=true\nminfds=4096\nidentifier=bench\n"
            f"[unix_http_server]\nfile={folder}/sock\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        )
        for service in plan.services:
            log = f"stdout_logfile={folder}/logs/{service.name}.log\n" if plan.variant.capture else ""
            text += (
                f"[program:{service.name}]\ncommand={' '.join(service.argv)}\nredirect_stderr=true\n{log}{extra}"
            )
        if plan.variant.memory:
            tick = "TICK_5" if plan.variant.name.endswith("fast") else "TICK_60"
            text += f"[eventlistener:memmon]\ncommand={self.bin}/memmon -a {plan.variant.memory}MB\nevents={tick}\n"
        (folder / "supervisord.conf").write_text(text)

    def argv(self, plan: Plan) -> list[str]:
        return [str(self.bin / "supervisord"), "-n", "-c", str(plan.folder / "supervisord.conf")]
