"""What a name on the command line means.

Inside a project's folder NAME is that project's service; elsewhere it is the only service of that name;
PROJECT/NAME is always exact. Several instances of one service (NAME-1, NAME-2 ...) are meant together by
NAME. An unknown name is an error that names the nearest known one. Pure. Tests: tests/front/test_names.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from midwatch.front.cli.declare import Usage


def resolve(words: Iterable[str], known: Iterable[str], project: str | None) -> list[str]:
    """The service ids that the words mean, in order, each once. Raises Usage."""
    ids = sorted(set(known))
    found: dict[str, None] = {}
    for word in words:
        found.update(dict.fromkeys(one(word, ids, project)))
    return list(found)


def one(word: str, ids: list[str], project: str | None) -> list[str]:
    """The ids that one word means. Raises Usage."""
    if "/" in word:
        exact = [word] if word in ids else _instances(word, ids)
        if exact:
            return exact
        raise Usage(_unknown(word, ids, project))
    if project is not None:
        mine = f"{project}/{word}"
        ours = [mine] if mine in ids else _instances(mine, ids)
        if ours:
            return ours
    same = [known for known in ids if known.rpartition("/")[2] == word]
    if len(same) > 1:
        raise Usage(
            f"{word!r} is a service of several projects; nothing was done; say which: {', '.join(same)}"
        )
    if same:
        return same
    projects = sorted({known.partition("/")[0] for known in ids})
    several = [(p, _instances(f"{p}/{word}", ids)) for p in projects]
    hits = [group for _, group in several if group]
    if len(hits) == 1:
        return hits[0]
    raise Usage(_unknown(word, ids, project))


def _instances(prefix: str, ids: list[str]) -> list[str]:
    found = [known for known in ids if known.startswith(f"{prefix}-") and known[len(prefix) + 1 :].isdigit()]
    return sorted(found, key=lambda known: int(known.rpartition("-")[2]))


def _unknown(word: str, ids: list[str], project: str | None) -> str:
    if not ids:
        return f"there is no service {word!r}, none is known yet; nothing was done; 'midwatch up' starts some"
    short = {known.rpartition("/")[2]: known for known in ids}
    mine = {known.partition("/")[2] for known in ids if known.partition("/")[0] == project}
    near = get_close_matches(word, [*short, *ids], n=1, cutoff=0.5)
    if near:
        exact = short.get(near[0], near[0])
        shown = near[0] if near[0] in mine or "/" in near[0] else exact
        return f"there is no service {word!r}; did you mean {shown!r}? nothing was done"
    shown_ids = ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
    return f"there is no service {word!r}; nothing was done; known: {shown_ids}"
