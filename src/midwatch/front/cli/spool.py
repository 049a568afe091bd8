"""`midwatch spool`: what was too long to show, read by pages, searched, released.

Shows what the store answers. Must not decide what a page holds. Tests: tests/front/test_spool.py.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from midwatch.front.cli.declare import JSON, Arg, Failure, Opt, Usage, Verb
from midwatch.front.cli.render import clock, duration, say_json, size, table, width

if TYPE_CHECKING:
    from midwatch.bounded.spool import SpoolInfo, Store
    from midwatch.bounded.spool.pages import Page

_ACTIONS = ("read", "search", "info", "tail", "release", "list")
_POLL = 0.2


def _run(words: list[str], json: bool, session: str | None, **given: Any) -> int:
    action, *rest = words or ["list"]
    if action not in _ACTIONS:
        raise Usage(f"there is no 'spool {action}'; one of {', '.join(_ACTIONS)}; nothing was done")
    _only(action, given)
    from midwatch.bounded.spool import SpoolError, Store

    store = Store(session=session)
    try:
        if action == "list":
            return _list(store, rest, json)
        if not rest:
            raise Usage(f"which spool? 'midwatch spool {action} REF'; 'midwatch spool list' shows them")
        return _DO[action](store, rest, json, given)
    except SpoolError as error:
        unknown = error.code in ("unknown", "usage")
        hint = "; 'midwatch spool list' shows all" if error.code in ("unknown", "gone") else ""
        raise Failure(f"{error}{hint}", 2 if unknown else 1) from None


_FOR: dict[str, set[str]] = {
    "read": {"line", "count", "offset", "length", "column", "raw"},
    "search": {"before", "after", "most", "text", "ignore_case"},
    "tail": {"lines", "follow"},
    "info": set(),
    "release": set(),
    "list": set(),
}


def _only(action: str, given: dict[str, Any]) -> None:
    for dest, value in given.items():
        if value not in (None, False) and dest not in _FOR[action]:
            flag = next(opt.flags[-1] for opt in VERB.opts if opt.dest == dest)
            raise Usage(f"{flag} does not belong to 'spool {action}'; nothing was done")


def _one(action: str, rest: list[str]) -> str:
    if len(rest) > 1:
        raise Usage(f"'spool {action}' takes one reference; {rest[1]!r} is too many; nothing was done")
    return rest[0]


def _read(store: Store, rest: list[str], json: bool, given: dict[str, Any]) -> int:
    page = store.read(_one("read", rest), **{name: given[name] for name in _FOR["read"] if given[name] is not None})
    by_line = given["line"] is not None and not given["column"]
    if json:
        say_json(_fields(page, by_line=by_line))
    elif given["raw"]:
        sys.stdout.buffer.write(page.data)
        print(_notice(page, raw=True), file=sys.stderr)
    else:
        _show(page, by_line=by_line)
    return 0


def _fields(page: Page, *, by_line: bool = False) -> dict[str, Any]:
    import msgspec

    return {**msgspec.to_builtins(page), "notice": _notice(page, by_line=by_line)}


def _notice(page: Page, *, raw: bool = False, by_line: bool = False) -> str:
    on = "--line {line}" if by_line and page.text.endswith("\n") and page.next_line else "--offset {offset}"
    return page.notice(f"midwatch spool read {{ref}} {on}" + (" --raw" if raw else ""))


def _show(page: Page, *, by_line: bool = False) -> None:
    sys.stdout.write(page.text if page.text.endswith("\n") or not page.text else page.text + "\n")
    print(_notice(page, by_line=by_line))


def _tail(store: Store, rest: list[str], json: bool, given: dict[str, Any]) -> int:
    ref = _one("tail", rest)
    page = store.tail(ref, given["lines"]) if given["lines"] is not None else store.tail(ref)
    if json:
        say_json(_fields(page))
        return 0
    if not given["follow"]:
        _show(page)
        return 0
    sys.stdout.write(page.text)
    whole = page.text.endswith("\n")
    while not page.eof:
        sys.stdout.flush()
        time.sleep(_POLL)
        shown = store.read(ref, offset=page.next_offset)
        sys.stdout.write(shown.text)
        whole = shown.text.endswith("\n") if shown.text else whole
        page = shown if shown.text or shown.eof else page
    print(("" if whole else "\n") + _notice(page))
    return 0


def _search(store: Store, rest: list[str], json: bool, given: dict[str, Any]) -> int:
    if len(rest) != 2:
        raise Usage("'midwatch spool search REF PATTERN': one reference and one pattern (quote it); nothing was done")
    around = {name: given[name] for name in ("before", "after", "most") if given[name] is not None}
    found = store.search(rest[0], rest[1], regex=not given["text"], ignore_case=given["ignore_case"], **around)
    if json:
        import msgspec

        say_json(msgspec.to_builtins(found))
    else:
        print(found.text())
    return 0 if found.matches else 1


def _info(store: Store, rest: list[str], json: bool, _: dict[str, Any]) -> int:
    info = store.info(_one("info", rest))
    if json:
        say_json(_told(info))
        return 0
    ended = f", ended {clock(info.ended)}" if info.ended else ""
    kept = " and ".join(f"bytes {begin:,} to {end - 1:,}" for begin, end in info.kept if end) or "nothing"
    rows = [
        ("spool", info.ref),
        ("state", f"{info.state}{', adopted by a session store' if info.pinned else ''}"),
        ("of", " ".join(info.command) or info.kind),
        ("in", info.cwd),
        ("began", clock(info.created) + ended),
        ("output", f"{info.bytes_total:,} bytes, {info.lines_total:,} lines"),
        ("kept", f"{kept}: {info.why}" if info.why else kept),
        *((_label(name), str(value)) for name, value in info.facts.items() if value not in (None, "", [], {})),
    ]
    print("\n".join(f"{name:<10} {value}" for name, value in rows if value))
    return 0


def _label(fact: str) -> str:
    return "result" if fact == "state" else fact.replace("_", " ")


def _told(info: SpoolInfo) -> dict[str, Any]:
    return {
        "ref": info.ref, "state": info.state, "kind": info.kind, "command": list(info.command), "cwd": info.cwd,
        "created": info.created, "ended": info.ended, "bytes_total": info.bytes_total, "lines_total": info.lines_total,
        "bytes_kept": info.bytes_kept, "kept": [list(one) for one in info.kept], "complete": info.complete,
        "why": info.why, "sha256": info.sha256 or None, "pinned": info.pinned, "facts": info.facts,
    }  # fmt: skip


def _release(store: Store, rest: list[str], json: bool, _: dict[str, Any]) -> int:
    freed = [(ref, store.release(ref)) for ref in rest]
    if json:
        say_json({"released": [{"ref": ref, "bytes": count} for ref, count in freed]})
    else:
        for ref, count in freed:
            print(f"{ref} released, {size(count)} are free again" if count else f"{ref} had nothing left")
    return 0


def _list(store: Store, rest: list[str], json: bool) -> int:
    if rest:
        raise Usage(f"'midwatch spool list' takes nothing: {rest[0]!r} is too many; nothing was done")
    infos = store.list()
    if json:
        say_json({"folder": str(store.folder), "spools": [_told(info) for info in infos]})
        return 0
    live = [info for info in infos if info.state != "gone"]
    if not infos:
        print(f"no spools in {store.folder}; an output too long to be shown makes one")
        return 0
    now = time.time()
    rows = [
        (info.ref, info.state, duration(now - info.created), size(info.bytes_total), f"{info.lines_total:,}",
         " ".join(info.command) or info.kind)
        for info in infos
    ]  # fmt: skip
    head = ("REF", "STATE", "AGE", "OUTPUT", "LINES", "OF")
    print("\n".join(table(head, rows, width(), right=frozenset({2, 3, 4}))))
    print(f"{len(live)} spool{'s' * (len(live) != 1)}, {size(sum(info.bytes_kept for info in live))} in {store.folder}")
    return 0


_DO = {"read": _read, "search": _search, "info": _info, "tail": _tail, "release": _release}

VERB = Verb(
    name="spool",
    help="Read, search and release output that was too long to show.",
    detail=(
        "read: one page from a byte or a line on, at most 40,960 bytes; its last line says how to read on. By line, "
        "lines over 2,048 bytes are shortened and of a progress bar the last state is shown; by offset, or with "
        "--column inside a line, every byte comes; --raw changes nothing. search: lines that match a regular "
        "expression, at most 200, in 2 s of processor time. info: what is known of it. tail: its end. release: remove "
        "it. list, or no word: all of them. A spool keeps the first 48 MiB and the last 16 MiB for 7 days; all "
        "together take at most 2 GiB or a tenth of the free disk. They lie in the folder 'spool' of this instance, and "
        "nobody else can read them."
    ),
    examples=(
        "midwatch spool read 5f0c2a9e7b314d6688a1b2c3d4e5f607 --line 700000 --count 100",
        "midwatch spool read 5f0c2a9e7b314d6688a1b2c3d4e5f607 --line 1 --column 300000000",
        "midwatch spool search 5f0c2a9e7b314d6688a1b2c3d4e5f607 'error|warning' -A 2",
        "midwatch spool tail 5f0c2a9e7b314d6688a1b2c3d4e5f607 -f",
    ),
    run=_run,
    opts=(
        Opt("line", ("--line",), "read: from this line on; 1 is the first.", "int", "N"),
        Opt("count", ("--count",), "read: at most so many lines.", "int", "N"),
        Opt("offset", ("--offset",), "read: from this byte on; 0 is the first.", "int", "B"),
        Opt("length", ("--length",), "read: at most so many bytes.", "int", "B"),
        Opt("column", ("--column",), "read: with --line, from this byte of the line on.", "int", "B"),
        Opt("raw", ("--raw",), "read: the very bytes, to stdout; the notice to stderr."),
        Opt("text", ("-F", "--text"), "search: PATTERN is a text, no regular expression."),
        Opt("ignore_case", ("-i", "--ignore-case"), "search: capitals or not (ASCII)."),
        Opt("before", ("-B", "--before"), "search: so many lines before each match.", "int", "N"),
        Opt("after", ("-A", "--after"), "search: so many lines after each match.", "int", "N"),
        Opt("most", ("--max",), "search: at most so many matches.", "int", "N"),
        Opt("lines", ("-n", "--lines"), "tail: so many lines.", "int", "N"),
        Opt("follow", ("-f", "--follow"), "tail: go on until its command has ended."),
        Opt("session", ("--session",), "Only what 'exec --session TOKEN' has kept.", "text", "TOKEN"),
        JSON,
    ),
    arg=Arg("words", "[ACTION] [REF]", "read, search, info, tail, release or list; then a reference.", many=True),
    codes=(
        "Exit codes: 0 done; 1 no match, or its data are gone or damaged; 2 usage or an unknown reference."
    ),
)
