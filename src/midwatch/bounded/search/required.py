"""Which texts every match of a regular expression must contain. Part of the worker: standard library only.

Looking for these first is ten times as fast as the expression, and spares long lines without them patterns that need
quadratic time to find nothing. It reads the expression as Python's own parser understands it; where that cannot be had,
or nothing is certain, the answer is "nothing". Tests: tests/bounded/test_search_required.py.
"""

from __future__ import annotations

from typing import Any

MOST = 4


def required(pattern: bytes) -> tuple[bytes, ...]:
    """Such texts, the longest first; none if nothing is certain."""
    try:
        from re import _parser  # type: ignore[attr-defined]

        tree = _parser.parse(pattern)
    except Exception:  # noqa: BLE001 - another Python's parser: no help, no harm
        return ()
    if tree.state.flags & (_parser.SRE_FLAG_IGNORECASE | _parser.SRE_FLAG_VERBOSE):
        return ()
    return tuple(sorted(set(_runs(tree, _parser)) - {b""}, key=lambda run: (-len(run), run))[:MOST])


def _runs(tree: Any, names: Any) -> list[bytes]:
    """Texts that stand in every match of this sequence."""
    found, run = [], bytearray()
    for kind, argument in tree:
        if kind is names.LITERAL:
            run.append(argument)
            continue
        found.append(bytes(run))
        run.clear()
        if kind is names.SUBPATTERN and not argument[1] and not argument[2]:
            found += _runs(argument[3], names)
        elif kind in (names.MAX_REPEAT, names.MIN_REPEAT) and argument[0] >= 1:
            found += _runs(argument[2], names)
    found.append(bytes(run))
    return found
