"""`midwatch exec --search TEXT [DIR]`: the safe form of a search through files, as one line of a shell.

Must not search: bounded.search does, in a worker process with limits. Tests: tests/front/test_exec_verb.py.
"""

from __future__ import annotations

import sys
from typing import Any

from midwatch.front.cli.declare import Usage
from midwatch.front.cli.render import say_json

_OF_A_COMMAND = ("timeout", "idle_timeout", "memory", "output", "split", "cwd", "env", "stdin", "detach_ok")


def search_files(wanted: str, folders: list[str], *, json: bool, **given: Any) -> int:
    """Print what is found; 0 if anything is."""
    from midwatch.bounded.limits import Limits
    from midwatch.bounded.search import SearchError, search
    from midwatch.bounded.spool import Store
    from midwatch.model.units import parse_bytes, parse_seconds

    surplus = [name for name in _OF_A_COMMAND if given[name] and name != "timeout"]
    if surplus:
        raise Usage(f"--{surplus[0].replace('_', '-')} is for a command, not for --search; nothing was searched")
    if len(folders) > 1:
        raise Usage(f"--search looks through one folder, not {len(folders)}; nothing was searched")
    extra: dict[str, Any] = {}
    try:
        if given["timeout"] is not None:
            extra["timeout"] = parse_seconds(given["timeout"])
        cap = parse_bytes(given["inline"]) if given["inline"] is not None else None
        limits = Limits() if cap is None else Limits(inline_cap=cap)
        found = search(
            folders[0] if folders else ".", wanted, regex=given["regex"], ignore_case=given["ignore_case"],
            include=given["include"], exclude=given["exclude"], big="stream" if given["big"] else "skip",
            store=None if given["no_spool"] else Store(limits=limits, session=given["session"]), **extra,
        )  # fmt: skip
    except (ValueError, SearchError) as error:
        raise Usage(f"{error}; nothing was searched") from None
    if json:
        from msgspec import to_builtins

        document = to_builtins(found)
        document.pop("schema_version", None)
        say_json(document)
    else:
        sys.stdout.write(found.text(limits.inline_cap, how="midwatch spool read {ref}") + "\n")
    return 0 if found.hits else 1
