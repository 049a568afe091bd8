"""The operating systems: `ports.Machine` and who implements it here.

Must not import an adapter before it is asked for one: the fake and the other system cost nothing.
"""

from __future__ import annotations

import sys

from midwatch.machine.ports import Machine


def this_machine(instance: str, keeper_pid: int) -> Machine:
    """The adapter for the system we run on. `instance` names our cgroups, `keeper_pid` is the subreaper."""
    if sys.platform == "darwin":
        from midwatch.machine.macos.adapter import MacMachine

        return MacMachine(instance, keeper_pid)
    from midwatch.machine.linux.adapter import LinuxMachine

    return LinuxMachine(instance, keeper_pid)
