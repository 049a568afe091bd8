"""The faces of Midwatch: they talk to the control socket or read the record, and decide nothing.

Must not import policy or machine: whatever a front shows was decided and written down elsewhere. Tests:
tests/front.
"""
