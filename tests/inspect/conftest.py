"""The zoo of real processes, for every test of what inspects a machine."""

from tests.inspect.zoo import zoo as zoo  # noqa: PLC0414 (a fixture is found by its name here)
