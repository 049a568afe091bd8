"""What the control socket of an embedded instance refuses: which services there are is the host program's own affair.

Everything else is as of a daemon: `ps`, `start`, `stop`, `restart`, `reset`, `wait`, `down`. `down --all` ends the
supervision, not the program. Must not know sockets.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from midwatch.engine.core import Engine
from midwatch.engine.methods import ApplyParams, Methods, RpcError, UpgradeParams


class HostMethods(Methods):
    """The table of an instance that lives in the program `by`."""

    def __init__(self, engine: Engine, quit_daemon: Callable[[int], None], by: str) -> None:
        super().__init__(engine, quit_daemon)
        self._where = f"this instance lives inside {by} (pid {os.getpid()})"

    async def _apply(self, asked: ApplyParams) -> dict[str, Any]:
        raise RpcError(-32002, f"{self._where}, which says itself what it runs; change it there")

    async def _upgrade(self, asked: UpgradeParams) -> dict[str, Any]:
        raise RpcError(-32002, f"{self._where}; install the new version and start that program again")
