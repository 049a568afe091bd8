"""The state folder of the caller's own instance, for everybody who keeps something there.

Never depends on HOME or XDG variables, which differ between cron, launchd, sudo and a shell: it comes from the password
database. `MIDWATCH_HOME` names another instance. Creates nothing. Must not know what the folder holds. Tests:
tests/record/test_place.py.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def home() -> Path:
    """The folder of the caller's instance."""
    named = os.environ.get("MIDWATCH_HOME")
    return Path(named).absolute() if named else state_folder()


def state_folder() -> Path:
    """Where the platform keeps an account's state."""
    if os.geteuid() == 0 and sys.platform != "darwin":
        return Path("/var/lib/midwatch")
    import pwd

    account = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    if sys.platform == "darwin":
        return account / "Library" / "Application Support" / "midwatch"
    return account / ".local" / "state" / "midwatch"
