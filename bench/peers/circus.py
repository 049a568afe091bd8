"""circus 0.19: one INI file, tornado and ZeroMQ, deaths found by polling every check_delay (default 5 s).

"fast" = check_delay=0.1. Endpoints are ipc:// sockets in the session's folder.
"""

from __future__ import annotations

from bench.install import PYPI, python_package
from bench.model import Capture, Measure, Plan, Variant
from bench.peers.base import Peer


class Circus(Peer):
    """`circusd` in the foreground; FileStream for logs."""

    name = "circus"
    guards = (Variant("fast", memory=512, note="check_delay=0.1, resource_watcher loop_rate=1 max_count=0"),)

    def install(self) -> str:
        self.bin = python_package(self.cache, "circus")
        return PYPI["circus"]

    def variants(self, measure: Measure) -> tuple[Variant, ...]:
        if measure == "restart":
            return (
                Variant("default", "rare", note="check_delay=5"),
                Variant("fast", "slow", note="check_delay=0.1"),
            )
        if measure == "logs":
            return (Variant("50 MB x 10", "slow", capture=Capture(50 * 2**20, 10)),)
        return (Variant(),)

    def configure(self, plan: Plan) -> None:
        folder = plan.folder
        (folder / "logs").mkdir()
        text = (
            f"[circus]\ncheck_delay={0.1 if plan.variant.name == 'fast' else 5}\n"
            f"endpoint=ipc://{folder}/endpoint\npubsub_endpoint=ipc://{folder}/pubsub\n"
        )
        for service in plan.services:
            text += f"[watcher:{service.name}]\ncmd={' '.join(service.argv)}\nnumprocesses=1\n"
            if capture := plan.variant.capture:
                text += (
                    f"stdout_stream.class=FileStream\nstdout_stream.filename={folder}/logs/{service.name}.log\n"
                    f"stdout_stream.max_bytes={capture.file_bytes}\nstdout_stream.backup_count={capture.files}\n"
                )
            if plan.variant.memory:
                text += (
                    f"[plugin:guard_{service.name}]\nuse=circus.plugins.resource_watcher.ResourceWatcher\n"
                    f"watcher={service.name}\nloop_rate=1\nmax_count=0\nmax_mem={plan.variant.memory}M\n"
                )
        (folder / "circus.ini").write_text(text)

    def argv(self, plan: Plan) -> list[str]:
        return [str(self.bin / "circusd"), str(plan.folder / "circus.ini")]
