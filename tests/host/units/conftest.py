"""Facts to make files from, without a configuration."""

from __future__ import annotations

from typing import Any

import msgspec

from midwatch.host.units.common import Facts

WEB = Facts(
    project="shop", name="web", file="/srv/shop/midwatch.toml", folder="/srv/shop", shape="run",
    midwatch=("/usr/local/bin/midwatch",), version="0.1.0",
    again="midwatch unit systemd web -f /srv/shop/midwatch.toml", path="/usr/bin:/bin",
    account_home="/home/ann", stop=17.0, start=25.0,
)  # fmt: skip
DAEMON = msgspec.structs.replace(WEB, name="", shape="daemon", stop=34.0, services=3)


def web(**changes: Any) -> Facts:
    """One service."""
    return msgspec.structs.replace(WEB, **changes)


def daemon(**changes: Any) -> Facts:
    """The daemon."""
    return msgspec.structs.replace(DAEMON, **changes)
