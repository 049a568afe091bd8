"""Two machines made of values: a Linux one and a Mac. Nothing here touches the system."""

from __future__ import annotations

import pytest
from tests.inspect.doctor.machines import Machine


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def mac() -> Machine:
    return Machine("darwin")
