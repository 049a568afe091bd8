"""Searching without being harmed by what is searched: the safe form of the search that took a machine down.

Everything happens in one small worker process with limits on time, processor and memory; what comes back are excerpts
of at most 200 bytes. Must not know who asks. Tests: tests/bounded/test_search*.py, tests/system/test_search*.py.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from midwatch.bounded.search.files import search
    from midwatch.bounded.search.result import Hit, SearchError, SearchResult

__all__ = ["Hit", "SearchError", "SearchResult", "search"]

_HOMES = {"search": "files", "Hit": "result", "SearchError": "result", "SearchResult": "result"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
