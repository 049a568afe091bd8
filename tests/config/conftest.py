"""Shared by the tests of the configuration: read a text as if it stood in /srv/shop/midwatch.toml.

Nothing is read from the disk unless a test makes it. Must not hold any expectation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import pytest

from midwatch.config.loading import load_text
from midwatch.config.problems import ConfigError, Loaded, Problem

FILE = "/srv/shop/midwatch.toml"


class Read(Protocol):
    def __call__(self, text: str, environ: Mapping[str, str] | None = None, file: str = FILE) -> Loaded: ...


class Refused(Protocol):
    def __call__(self, text: str, file: str = FILE) -> tuple[Problem, ...]: ...


@pytest.fixture
def read() -> Read:
    """Read a text that has to be valid."""

    def load(text: str, environ: Mapping[str, str] | None = None, file: str = FILE) -> Loaded:
        return load_text(text, file, environ={} if environ is None else environ)

    return load


@pytest.fixture
def refused() -> Refused:
    """Read a text that has to be refused; its problems."""

    def load(text: str, file: str = FILE) -> tuple[Problem, ...]:
        with pytest.raises(ConfigError) as caught:
            load_text(text, file, environ={})
        return caught.value.problems

    return load
