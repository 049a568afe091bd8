"""The soft limit of open files that services begin with (SVC-12). Headroom, not a cure for a leak.

Apart from execute.py because every daemon's launcher needs it and nothing else from there. Must not lower anything.
"""

from __future__ import annotations

import resource

from midwatch.policy import defaults


def raise_files() -> None:
    """SVC-12: as many open files as most servers want, if the hard limit lets them; never fewer than now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    wanted = defaults.SERVICE_FILES if hard == resource.RLIM_INFINITY else min(hard, defaults.SERVICE_FILES)
    if wanted > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            pass  # headroom, not a need
