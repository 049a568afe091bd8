"""Linux behind `machine/ports.py`: /proc, pidfds, cgroups.

`adapter.LinuxMachine` is the only name other layers use; procfs.py is pure bytes -> values, the other
modules do one kind of system work each. Must not know policy, journal or the keeper's wire. Tests:
tests/machine.
"""
