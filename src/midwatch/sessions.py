"""The session store for agents: `from midwatch import sessions`.

    with sessions.open("agent.db") as store:
        talk = store.create(title="fix the build")
        talk.append("user", "why is the build red?")
        send(talk.assemble())       # JSON fragments, at most 1.5 MiB, whatever the session holds

The names here are public; what lies behind them may change. docs/sessions.md shows them at work. What only some need
(asyncio, the stores of others) is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from midwatch.bounded.limits import Limits
from midwatch.bounded.sessions.assemble import Assembly
from midwatch.bounded.sessions.draft import Draft
from midwatch.bounded.sessions.errors import (
    Busy,
    Closed,
    Corrupt,
    DiskFull,
    Missing,
    NotOurs,
    StoreError,
    TooLarge,
    TooNew,
    Unwritable,
)
from midwatch.bounded.sessions.live import Event, Ring, Subscription
from midwatch.bounded.sessions.retention import Plan, Retention
from midwatch.bounded.sessions.session import Session
from midwatch.bounded.sessions.shapes import chat, plain
from midwatch.bounded.sessions.store import Store, open  # noqa: A004
from midwatch.bounded.sessions.values import Info, Item, Listing, Page, Stats

if TYPE_CHECKING:
    from midwatch.bounded.sessions import foreign
    from midwatch.bounded.sessions.threads import AsyncSession, AsyncStore

__all__ = [
    "Assembly", "AsyncSession", "AsyncStore", "Busy", "Closed", "Corrupt", "DiskFull", "Draft", "Event", "Info", "Item",
    "Limits", "Listing", "Missing", "NotOurs", "Page", "Plan", "Retention", "Ring", "Session", "Stats", "Store",
    "StoreError", "Subscription", "TooLarge", "TooNew", "Unwritable", "chat", "foreign", "open", "plain",
]  # fmt: skip

_LATER = {"AsyncSession": "threads", "AsyncStore": "threads", "foreign": "foreign"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"midwatch.bounded.sessions.{_LATER[name]}")
    value = globals()[name] = module if name == "foreign" else getattr(module, name)
    return value
