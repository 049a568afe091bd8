"""Modules of the standard library that are named by what we import and hardly ever used: loaded at their first use.

asyncio names `inspect` for its debug mode, urllib `ipaddress` for hosts in brackets, linecache `tokenize` for source
lines: 1 MB in a process that needs none of these while all is well. Must be cheap itself.
Tests: tests/engine/test_later.py.
"""

import sys
from types import ModuleType

UNUSED = ("inspect", "ipaddress", "tokenize")


class Later(ModuleType):
    """Becomes the real module when somebody asks for something in it."""

    def __getattr__(self, name: str) -> object:
        """The first access loads it; from then on its names are found here, too."""
        if name.startswith("__"):  # the import system's own questions
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        self.__dict__.update(vars(__import__(self.__name__)))
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None


def put_off() -> None:
    """Before anything imports them; what is loaded already stays as it is."""
    for name in UNUSED:
        sys.modules.setdefault(name, Later(name))
