"""`midwatch sessions`: look into an agent's session store, export a session, forget old ones.

Shows what the store gives, a page at a time; no session is ever loaded as a whole. Must not decide what is kept or
shown to a model. Tests: tests/front/test_sessions.py.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from midwatch.front.cli.declare import JSON, Arg, Failure, Opt, Usage, Verb
from midwatch.front.cli.render import cut, duration, plain, say_json, size, table, width
from midwatch.model.units import parse_bytes, parse_seconds

if TYPE_CHECKING:
    from midwatch.bounded.sessions.foreign import ForeignSession, ForeignStore
    from midwatch.sessions import Info, Item, Plan, Retention, Session, Store

_ACTIONS = ("list", "show", "export", "prune")
_PAGE, _MOST = 20, 200
_PREVIEW = 200  # characters of an item in JSON
_FOR: dict[str, set[str]] = {
    "list": {"after", "limit"},
    "show": {"after", "limit", "item", "offset", "length"},
    "export": {"output"},
    "prune": {"older", "keep", "max_size", "session_size", "yes"},
}


def _run(words: list[str], json: bool, **given: Any) -> int:
    action, *rest = words or [""]
    if action not in _ACTIONS:
        raise Usage(
            f"there is no 'sessions {action}'; one of {', '.join(_ACTIONS)}, then the store; nothing was done"
        )
    for dest, value in given.items():
        if value not in (None, False) and dest not in _FOR[action]:
            flag = next(opt.flags[-1] for opt in VERB.opts if opt.dest == dest)
            raise Usage(f"{flag} does not belong to 'sessions {action}'; nothing was done")
    needs = 2 if action in ("show", "export") else 1
    if len(rest) != needs:
        which = f"{action} STORE{' SESSION' if needs == 2 else ''}"
        raise Usage(f"'midwatch sessions {which}' takes {needs} words, not {len(rest)}; nothing was done")
    from midwatch.sessions import Missing, StoreError

    try:
        return _DO[action](rest, json, given)
    except Missing as error:
        raise Failure(str(error), 2) from None
    except StoreError as error:
        raise Failure(str(error), 1) from None


def _open(path: str) -> Store | ForeignStore:
    """To look only. A store of another agent, if it is one that is known."""
    from midwatch import sessions

    try:
        return sessions.open(path, readonly=True)
    except (sessions.TooNew, sessions.Corrupt):
        raise
    except sessions.NotOurs as error:
        try:
            return sessions.foreign.open(path)
        except sessions.NotOurs:
            raise error from None


def _list(rest: list[str], json: bool, given: dict[str, Any]) -> int:
    limit = _limit(given)
    with _open(rest[0]) as store:
        try:
            page = store.list(after=given["after"], limit=limit)
        except ValueError as error:
            raise Usage(f"--after: {error}") from None
        stats = None if _foreign(store) else store.stats()  # type: ignore[union-attr]
        if json:
            import msgspec

            say_json({
                "store": store.path, "sessions": msgspec.to_builtins(page.sessions), "after": page.after,
                "stats": msgspec.to_builtins(stats),
            })  # fmt: skip
            return 0
        now = time.time()
        rows = [_row(info, now, counted=stats is not None) for info in page.sessions]
        head = ("SESSION", "USED", "ITEMS", "SIZE", "TITLE")
        lines = table(head, rows, width(), right=frozenset({1, 2, 3}))
        print("\n".join(lines) if rows else f"no sessions in {store.path}")
        if page.after:
            print(f"more: --after {page.after}")
        if stats:
            free = f", {size(stats.free_bytes)} free in it" if stats.free_bytes else ""
            held = f"{stats.sessions} sessions, {stats.items:,} items, {size(stats.bytes)}"
            print(f"{held}; file {size(stats.file_bytes)}{free}")
        else:
            print("written by another agent: its sessions are not counted; nothing here is ever written")
    return 0


def _row(info: Info, now: float, *, counted: bool) -> tuple[str, ...]:
    branch = f" (branch of {info.parent} at {info.fork})" if info.parent else ""
    used = duration(now - info.updated) if info.updated else "-"
    items, bytes_ = (f"{info.items:,}", size(info.bytes)) if counted else ("-", "-")
    return info.id, used, items, bytes_, plain(info.title) + branch


def _show(rest: list[str], json: bool, given: dict[str, Any]) -> int:
    with _open(rest[0]) as store:
        talk = store.session(rest[1])
        if given["item"] is not None:
            return _body(talk, json, given)
        if given["offset"] is not None or given["length"] is not None:
            raise Usage("--offset and --length belong to one item: --item POS; nothing was done")
        items = talk.items(after=_number("--after", given["after"]), limit=_limit(given))
        more = items[-1].pos if len(items) == _limit(given) else None
        if json:
            say_json({"session": talk.id, "items": [_told(item) for item in items], "after": more})
            return 0
        now = time.time()
        rows = [
            (
                str(item.pos),
                item.kind,
                duration(now - item.at) if item.at else "-",
                size(item.size),
                _preview(item, 400),
            )
            for item in items
        ]
        print("\n".join(table(("POS", "KIND", "AGE", "SIZE", "TEXT"), rows, width(), right=frozenset({0, 2, 3}))))
        if more:
            print(f"more: --after {more}")
    return 0


def _preview(item: Item, room: int) -> str:
    head = f"{item.name}: " if item.name else ""
    text = item.text[:room] if item.text is not None else f"[{item.mime}; --item {item.pos} shows it]"
    return cut(head + text, room)


def _told(item: Item) -> dict[str, Any]:
    return {
        "pos": item.pos, "kind": item.kind, "role": item.role, "agent": item.agent, "name": item.name,
        "calls": list(item.calls), "mime": item.mime, "tokens": item.tokens, "size": item.size, "at": item.at,
        "ref": item.ref, "text": None if item.text is None else item.text[:_PREVIEW],
    }  # fmt: skip


def _body(talk: Session | ForeignSession, json: bool, given: dict[str, Any]) -> int:
    words = {name: given[name] for name in ("offset", "length") if given[name] is not None}
    try:
        page = talk.read(given["item"], **words)
    except ValueError as error:
        raise Usage(str(error)) from None
    if json:
        import msgspec

        say_json(msgspec.to_builtins(page))
        return 0
    text = "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in page.text)
    sys.stdout.write(text if text.endswith("\n") or not text else text + "\n")
    on = f"; read on: --offset {page.next}" if page.next else ""
    form = ", as base64" if page.encoding != "text" else ""
    end = page.next if page.next is not None else page.size
    print(f"[{page.ref}: bytes {page.offset:,} to {end:,} of {page.size:,}{form}{on}]", file=sys.stderr)
    return 0


def _export(rest: list[str], json: bool, given: dict[str, Any]) -> int:
    if json:
        raise Usage("an export is JSON lines already; leave --json out; nothing was done")
    with _open(rest[0]) as store:
        talk = store.session(rest[1])
        if given["output"] is None:
            talk.export(sys.stdout.buffer.write)
            return 0
        try:
            fd = os.open(given["output"], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            words = f"{given['output']} was not written: {error.strerror}; name a file that is not there yet"
            raise Failure(words) from None
        with open(fd, "wb") as file:
            total = talk.export(file.write)
    print(f"{rest[1]} exported to {given['output']}: {size(total)}")
    return 0


def _prune(rest: list[str], json: bool, given: dict[str, Any]) -> int:
    from midwatch import sessions

    keep = _retention(given)
    if not given["yes"]:
        with sessions.open(rest[0], readonly=True) as store:
            return _planned(store.prune(keep), json, done=False)
    with sessions.open(rest[0], create=False, upkeep=False) as store:
        before = store.stats().file_bytes
        plan = store.prune(keep, dry_run=False)
        store.clean()
        return _planned(plan, json, done=True, freed=before - store.stats().file_bytes)


def _retention(given: dict[str, Any]) -> Retention:
    from midwatch.sessions import Retention

    try:
        found = {
            "age": None if given["older"] is None else parse_seconds(given["older"]),
            "sessions": given["keep"],
            "bytes": None if given["max_size"] is None else parse_bytes(given["max_size"]),
            "session_bytes": None if given["session_size"] is None else parse_bytes(given["session_size"]),
        }
        return Retention(**found) if any(value is not None for value in found.values()) else Retention.usual()
    except ValueError as error:
        raise Usage(f"{error}; nothing was done") from None


def _planned(plan: Plan, json: bool, *, done: bool, freed: int = 0) -> int:
    if json:
        say_json({
            "done": done, "deleted": plan.deleted, "trimmed": plan.trimmed, "bytes": plan.bytes, "freed_bytes": freed,
        })  # fmt: skip
        return 0
    for label, names in (("delete", plan.deleted), ("trim", plan.trimmed)):
        for name in names[:_PAGE]:
            print(f"{label}  {name}")
        if len(names) > _PAGE:
            print(f"{label}  ... and {len(names) - _PAGE} more")
    what = f"{len(plan.deleted)} sessions, {len(plan.trimmed)} trimmed, {size(plan.bytes)} of items"
    print(f"gone: {what}; the file is {size(max(0, freed))} smaller" if done else f"would go: {what}; --yes does it")
    return 0


def _limit(given: dict[str, Any]) -> int:
    limit = _PAGE if given["limit"] is None else int(given["limit"])
    if not 1 <= limit <= _MOST:
        raise Usage(f"--limit {limit}: 1 to {_MOST}; nothing was done")
    return limit


def _number(flag: str, text: str | None) -> int:
    if text is not None and not text.isdigit():
        raise Usage(f"{flag} {text}: a position is a number; nothing was done")
    return int(text or 0)


def _foreign(store: Store | ForeignStore) -> bool:
    return not hasattr(store, "prune")


_DO = {"list": _list, "show": _show, "export": _export, "prune": _prune}

VERB = Verb(
    name="sessions",
    help="Look into an agent's session store, export a session, forget old ones.",
    detail=(
        "list: a page of sessions, the last used first. show: a page of a session's items; with --item the text of "
        "one, at most 40 KiB at a time. export: all of a session as JSON lines, streamed. prune: what would be "
        "forgotten; with --yes it is, and the file shrinks; without a bound, sessions not used for 90 days. Stores of "
        "docker-agent (session.db) can be listed, shown and exported; they are never written. However large a session "
        "is, memory stays small."
    ),
    examples=(
        "midwatch sessions list agent.db",
        "midwatch sessions show agent.db 4f0c2a9e --after 200",
        "midwatch sessions show agent.db 4f0c2a9e --item 17 --offset 40960",
        "midwatch sessions export agent.db 4f0c2a9e -o talk.jsonl",
        "midwatch sessions prune agent.db --older 30d --max-size 1G",
    ),
    run=_run,
    opts=(
        Opt("after", ("--after",), "list, show: go on behind this; the page before names it.", "text", "KEY"),
        Opt("limit", ("--limit",), "list, show: at most so many (20; up to 200).", "int", "N"),
        Opt("item", ("--item",), "show: the text of the item at this position.", "int", "POS"),
        Opt("offset", ("--offset",), "show: with --item, from this byte on.", "int", "B"),
        Opt("length", ("--length",), "show: with --item, at most so many bytes.", "int", "B"),
        Opt(
            "output",
            ("-o", "--output"),
            "export: into this new file instead of stdout.",
            "text",
            "FILE",
            complete="file",
        ),
        Opt("older", ("--older",), "prune: not used for so long, e.g. 30d.", "text", "TIME"),
        Opt("keep", ("--keep",), "prune: all but the last used N.", "int", "N"),
        Opt("max_size", ("--max-size",), "prune: the oldest beyond so many bytes in all, e.g. 1G.", "text", "SIZE"),
        Opt(
            "session_size",
            ("--session-size",),
            "prune: of each session the oldest items beyond this.",
            "text",
            "SIZE",
        ),
        Opt("yes", ("--yes",), "prune: do it."),
        JSON,
    ),
    arg=Arg("words", "ACTION STORE [SESSION]", "list, show, export or prune; then the store's file.", many=True),
    codes="Exit codes: 0 done; 1 the store cannot be read or written; 2 usage, or no such store, session or item.",
)
