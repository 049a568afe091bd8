"""The instance of tests/system, for these tests too."""

from __future__ import annotations

from tests.system.conftest import instance

__all__ = ["instance"]
