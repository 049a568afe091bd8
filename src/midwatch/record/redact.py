"""Takes secrets out of everything that we write or show ourselves: journal, history, `why`, messages.

Two steps, the cheap one first: needles (substrings, on everything that is new since the last lines), then the
rules. The needles are a superset of what the rules can match (a test proves it), so a value without one is
written as it is. A secret is known by its name (`DB_PASSWORD=`, `--token X`, a dict key), by its place
(`scheme://user:HERE@host`, `Authorization: HERE`) or by its shape (`sk-...`, `ghp_...`, JWT, PEM). When in
doubt it takes too much. Home paths, names of variables, host names and numbers stay. Logs and spools are the
service's own bytes and never come here. Tests: tests/record/test_redact.py.
"""

from __future__ import annotations

from typing import Any

import msgspec

from midwatch.record.secret_names import ENV_KEYS, MARK, secret_name

__all__ = ["MARK", "NEEDLES", "is_clean", "redact", "redact_value", "secret_name"]

MOST_DEPTH = 40

# At least one of these is in every text that a rule can change (lower case).
NEEDLES = (
    "pass", "pw", "secret", "token", "key", "auth", "cred", "cookie", "signature", "sig=", "bearer", "basic ",
    "jwt", "_pat", "-pat", ".pat", "hub_pat", "otp", "dsn", "onstring", "on_string", "on-string", "on.string",
    "sk-", "k_live_", "k_test_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "xox", "akia", "asia", "aiza", "hf_",
    "npm_", "pypi-", "glpat-", "eyj", "sg.", "dop_v1_", "-u", ":aa", "redis-cli", "mysql", "mariadb",
)  # fmt: skip
_clean: set[str] = (
    set()
)  # short strings that were looked at: service ids, run ids, causes come again and again
_names: dict[str, bool] = {}  # the same for dict keys: is it a secret name?
MOST_CACHED = 512


def is_clean(value: Any) -> bool:
    """True when `redact_value` would change nothing; the fast path of every journal line (about 4 us).

    All strings that were not seen before are joined and searched once."""
    fresh: list[str] = []
    stack = [value]
    for _ in range(MOST_ITEMS):  # a structure may contain itself
        if not stack:
            return not fresh or _all_clean(fresh)
        item = stack.pop()
        kind = type(item)
        if kind is str:
            if item not in _clean:
                fresh.append(item)
        elif kind is dict:
            for key, inner in item.items():
                if _hides(key) and not isinstance(inner, (int, float, type(None))):
                    return False
                if type(inner) is str:
                    if inner not in _clean:
                        fresh.append(inner)
                elif type(inner) not in _NUMBERS:
                    stack.append(inner)
        elif kind is list or kind is tuple:
            stack.extend(item)
        elif kind not in _NUMBERS:
            return False
    return False


_NUMBERS = frozenset({int, float, bool, type(None)})
MOST_ITEMS = 200_000


def _hides(key: Any) -> bool:
    found = _names.get(key) if type(key) is str else False
    if found is None:
        found = key.lower() in ENV_KEYS or secret_name(key)
        if len(_names) >= MOST_CACHED:
            _names.clear()
        if len(key) <= 64:
            _names[key] = found
    return found


def _has_needle(low: str) -> bool:
    for needle in NEEDLES:  # a generator would cost twice as much
        if needle in low:
            return True
    return "@" in low and "://" in low


def _all_clean(fresh: list[str]) -> bool:
    if _has_needle("\n".join(fresh).lower()):
        return False
    if len(_clean) >= MOST_CACHED:
        _clean.clear()
    _clean.update([item for item in fresh if len(item) <= 64][:MOST_CACHED])
    return True


def redact(text: str) -> str:
    """The text without its secrets; the same object when there are none."""
    low = text.lower()
    if not _has_needle(low):
        return text
    from midwatch.record import (
        redact_rules,
    )  # compiled at the first suspicious string: a quiet engine never pays

    return redact_rules.apply(text)


def redact_value(value: Any) -> Any:
    """The same for every string in a JSON-like value; a string under a secret name goes whole."""
    return _value(value, 0)


def _value(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return redact(value)
    if depth >= MOST_DEPTH:
        return MARK if isinstance(value, (dict, list, tuple, set, frozenset, bytes)) else value
    if isinstance(value, dict):
        return {key: _entry(key, item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return _items(list(value), depth + 1)
    if isinstance(value, (bytes, bytearray)):
        return redact(bytes(value).decode("utf-8", "replace"))
    if value is None or isinstance(value, (int, float)):
        return value
    try:
        plain = msgspec.to_builtins(value, enc_hook=repr)
    except (TypeError, ValueError, RecursionError):
        plain = repr(value)
    return _value(plain, depth + 1)


def _entry(key: Any, item: Any, depth: int) -> Any:
    if isinstance(key, str):
        if key.lower() in ENV_KEYS and isinstance(item, (dict, list, tuple)):
            return _hide_env(item)
        if secret_name(key):
            return _hide(item, depth)
    return _value(item, depth)


def _hide(item: Any, depth: int) -> Any:
    """Every string inside goes, whatever it looks like."""
    if isinstance(item, (str, bytes, bytearray)):
        return MARK if item else ""
    if isinstance(item, dict):
        return {k: _hide(v, depth + 1) for k, v in item.items()} if depth < MOST_DEPTH else MARK
    if isinstance(item, (list, tuple, set, frozenset)):
        return [_hide(v, depth + 1) for v in item] if depth < MOST_DEPTH else MARK
    return item


def _hide_env(item: Any) -> Any:
    if isinstance(item, dict):
        return dict.fromkeys(item, MARK)
    return [str(entry).partition("=")[0] + "=" + MARK if "=" in str(entry) else str(entry) for entry in item]


def _items(items: list[Any], depth: int) -> list[Any]:
    """A list may be an argument vector or an environment: an option hides the item after it."""
    out: list[Any] = []
    hide_next = False
    program = str(items[0]).rsplit("/", 1)[-1] if items else ""
    for item in items:
        if hide_next and isinstance(item, str) and item:
            out.append(MARK)
            hide_next = False
            continue
        hide_next = False
        if not isinstance(item, str):
            out.append(_value(item, depth))
            continue
        name, equals, _ = item.partition("=")
        if equals and name.replace("_", "").replace("-", "").isalnum() and secret_name(name):
            out.append(f"{name}={MARK}")  # an environment entry may hold spaces
            continue
        glued = _glued(item, program)
        hide_next = item.startswith("-") and not equals and not glued and _option_takes_secret(item, program)
        out.append(glued or redact(item))
    return out


def _option_takes_secret(option: str, program: str) -> bool:
    if option.startswith("--"):
        return option == "--key" or secret_name(option)
    return (program, option) in _PROGRAM_OPTIONS or (len(option) > 2 and secret_name(option))


def _glued(item: str, program: str) -> str | None:
    """`mysql -pSECRET`: the value sticks to its option."""
    option = item[:2]
    if len(item) > 2 and not item.startswith("--") and (program, option) in _PROGRAM_OPTIONS:
        return option + MARK
    return None


# `mysql -p X` does not take X, but nobody puts anything else there who has not made a mistake.
_PROGRAM_OPTIONS = frozenset(
    [(p, "-p") for p in ("sshpass", "mysql", "mysqldump", "mysqladmin", "mariadb", "mariadb-dump")]
    + [("redis-cli", "-a"), ("curl", "-u"), ("wget", "-u")]
)
