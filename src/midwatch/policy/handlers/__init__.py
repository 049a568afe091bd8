"""What each row of the table does: one small module per kind of event, one function per row.

`state.TABLE` names them as "module.function"; `step.py` looks them up here. A handler takes the draft and the
event and returns nothing. Must not be called from anywhere else. Tests: tests/policy.
"""
