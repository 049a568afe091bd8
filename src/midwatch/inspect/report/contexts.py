"""Secrets known by what stands before them, more strictly than in the record: a report may take too much.

Escaped JSON inside JSON, XML, YAML blocks, name-and-value pairs of container tools, quoted arguments, `password is
X`, `user:X@host`. After a strong sign (`=`, `:`, `=>`, a tag) any value goes; after a blank only one that is quoted or
has a digit or a sign in it, so that "token expired" stays. Tests: tests/inspect/report/test_contexts.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from midwatch.record.secret_names import MARK, secret_name

_QUOTE = r"(?:\\*[\"'`])?"
_NAME = r"(?P<name>[A-Za-z][A-Za-z0-9_.-]{1,80})"
_VALUE = r"(?P<value>\\*\"(?:[^\"\\\n]|\\[^\"\n])*\\*\"?|'[^'\n]*'?|[^\s\"'`,;&<>)}\]\\]{1,4096})"
_STRONG = re.compile(
    rf"(?<![A-Za-z0-9_.-]){_NAME}(?P<sep>{_QUOTE}\]?\s{{0,3}}(?:=>|->|:=|==?|:|%3[DdAa]|\()"
    rf"(?:[ \t]{{0,8}}|[ \t]*\n[ \t]{{1,40}}))(?={_VALUE})"
)
_WEAK = re.compile(
    rf"(?<![A-Za-z0-9_.-]){_NAME}(?P<sep>{_QUOTE}(?:[ \t]{{1,8}}(?i:is|was|of|by)\b:?)?[ \t]{{1,8}})(?={_VALUE})"
)
_FOR = re.compile(
    rf"(?i)\b(?P<name>password|passphrase|token|secret|pin)(?P<sep> for [^\s:]{{1,80}}[^\S\n]?:\s{{0,3}}){_VALUE}"
)
_BLOCK = re.compile(
    rf"(?m)^(?P<indent>[ \t]*)(?:- )?{_QUOTE}{_NAME}(?P<sep>{_QUOTE}[ \t]*:[ \t]*[|>][0-9+-]{{0,2}}[ \t]*\n)"
    r"(?P<value>(?:(?P=indent)[ \t]+\S[^\n]*(?:\n|\Z)){1,400})"
)
_TAG = re.compile(
    r"(?P<sep><(?P<name>[A-Za-z][\w:.-]{1,80})(?:\s[^<>]{0,400})?>)(?P<value>[^<\n]{1,4096})(?=</)"
)
_PAIR = re.compile(
    rf"(?i)(?P<sep>{_QUOTE}name{_QUOTE}\s{{0,3}}[:=]\s{{0,3}}{_QUOTE}{_NAME}{_QUOTE}\s{{0,3}},?\s{{0,40}}{_QUOTE}value{_QUOTE}\s{{0,3}}[:=]\s{{0,3}}){_VALUE}"
)
_ARGUMENT = re.compile(
    r"(?P<sep>(?P<q>\\*[\"'])(?P<name>--?[A-Za-z][\w-]{1,80})(?P=q)\s{0,3},?\s{0,40}(?P=q))(?P<value>(?:(?!(?P=q)).){1,4096})"
)
_ENCODED = re.compile(r"(?i)(?P<sep>%3A%2F%2F[^\s%@]{1,64}%3A)(?P<value>\S{1,200}?)(?=%40)")
_LOGIN = re.compile(
    r"(?P<sep>(?<![\w/:.@-])[\w.-]{1,64}:)(?!\d+@)(?P<value>[^\s@/:]{3,200})(?=@[A-Za-z0-9\[])"
)
_USER = re.compile(r"(?P<sep>(?<!\S)-[ua][ \t]?[A-Za-z][\w.-]{0,64}:)(?P<value>[^\s:]{1,200})")

_NAMES = frozenset({
    "pass", "pwd", "passwd", "password", "passphrase", "passcode", "pin", "otp", "csrf", "xsrf", "sid", "sessionid",
    "requirepass", "masterauth", "secret", "token", "auth", "jwt", "identified", "credentials", "psk", "salt", "nonce",
})  # fmt: skip
_TAILS = (
    "session_id",
    "session-id",
    "sessionid",
    "csrf_token",
    "passphrase",
    "_pass",
    "-pass",
    "_pin",
    "_psk",
    "_salt",
)
# Without `=` or `:` between, fewer names are believed: "pass  12 checks", "auth failed".
_PLAIN = frozenset({
    "password", "passwd", "passphrase", "passcode", "pwd", "secret", "token", "requirepass", "masterauth", "identified",
    "PASS", "AUTH", "PIN", "OTP", "pin", "otp",
})  # fmt: skip
_MADE = re.compile(r"\[(?:redacted|opaque)|(?:USER|HOST|IP|EMAIL|PERSON|CONTAINER|MAC)-\d")
_WORD = re.compile(r"[A-Za-z]+[.!?]?\Z")
_MIXED = re.compile(r"(?=[^\s]*\d)(?=[^\s]*[A-Za-z])[\w~+/=.-]{6,}\Z")


def apply(text: str) -> tuple[str, int]:
    """The text without them, and how many there were."""
    count = 0
    for pattern, meant in _RULES:
        text, found = _without(pattern, meant, text)
        count += found
    return text, count


def _without(pattern: re.Pattern[str], meant: Callable[[re.Match[str]], bool], text: str) -> tuple[str, int]:
    """Values go, everything else stays. A value may hold the next name ("env: TOKEN=x"), so it is only looked at."""
    pieces: list[str] = []
    at = count = 0
    for found in pattern.finditer(text):
        begin, end = found.span("value")
        if begin < at or not meant(found):
            continue
        pieces += [text[at:begin], MARK, "\n" if text[begin:end].endswith("\n") else ""]
        at, count = end, count + 1
    return ("".join([*pieces, text[at:]]) if count else text), count


def _named(found: re.Match[str]) -> bool:
    name, value = found["name"], found["value"]
    known = _secret(name) or (name.lower() == "code" and _MIXED.match(_bare(value)) is not None)
    return known and not _empty(value, name)


def _spoken(found: re.Match[str]) -> bool:
    name, bare = found["name"], _bare(found["value"])
    plain = name in _PLAIN or name.lower() in _PLAIN - {"pin", "otp"} or ("_" in name and _secret(name))
    if not plain or _empty(found["value"], name) or (bare.isdigit() and name.lower() in ("token", "secret")):
        return False
    quoted = found["value"][:1] in "\"'\\"
    return (quoted or not _WORD.match(bare)) and any(char.isalnum() for char in bare)


def _any(found: re.Match[str]) -> bool:
    return not _empty(found["value"], "")


_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], bool]], ...] = (
    (_BLOCK, _named), (_PAIR, _named), (_TAG, _named), (_ARGUMENT, _named), (_ENCODED, _any), (_STRONG, _named),
    (_FOR, _any), (_WEAK, _spoken), (_LOGIN, _any), (_USER, _any),
)  # fmt: skip


def _secret(name: str) -> bool:
    low = name.lower().strip("-_.")
    return low in _NAMES or low.endswith(_TAILS) or secret_name(name.strip("-"))


def _empty(value: str, name: str) -> bool:
    """Nothing to hide: taken out already, a counter, or a path under PWD."""
    bare = _bare(value)
    place = name.lower() == "pwd" and bare.startswith(("/", "~"))
    counter = bare.isdigit() and name.lower().endswith("tokens")
    dull = not bare or bare.lower() in ("none", "null", "true", "false")
    return place or counter or dull or _MADE.match(bare) is not None


def _bare(value: str) -> str:
    return value.strip("\\\"'` \n")
