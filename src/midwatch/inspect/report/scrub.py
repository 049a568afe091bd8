"""Takes out of a text what must not be shared: secrets, people, machines, addresses. The same becomes the same word.

First the very values that are known to be secret here, then the record's rules (by name, place and form), then names of
this machine and its people, also in the middle of words and over line ends, then whatever looks like an address or like
nothing at all. Again gives the same. Must not read anything: `known` does. Tests: tests/inspect/report/test_scrub.py.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from midwatch.inspect.report import contexts, patterns
from midwatch.inspect.report.known import Known
from midwatch.record.redact import MARK, redact, redact_value

_SHORT = 4  # a shorter name is only found as a whole word: "me" is in "memory"
_SLICE = 96  # characters of a long secret that are looked for together
_DEPTH = 40
_MADE = re.compile(r"(?:USER|HOST|IP|EMAIL|PERSON|CONTAINER|MAC)-\d+|\[redacted\]|\[opaque\]")


class Scrub:
    """One report's worth: the same name gets the same word everywhere in it. `removed` counts by kind."""

    def __init__(self, known: Known) -> None:
        self.removed: Counter[str] = Counter()
        self._words: dict[tuple[str, str], str] = {}
        found = {patterns.BLANK.sub("", one): one for one in _slices(known.secrets) if one.strip()}
        self._secrets = sorted(found.items(), key=lambda pair: -len(pair[1]))
        self._compiled: dict[str, re.Pattern[str]] = {}
        self._homes = [(re.compile(_spelled(home.rstrip("/")) + r"(?![\w-])", re.IGNORECASE), home)
                       for home in sorted(known.homes, key=len, reverse=True) if home.strip("/")]  # fmt: skip
        self._names = [
            (kind, pattern)
            for kind, names in (("HOST", known.hosts), ("PERSON", known.people), ("USER", known.users),
                                ("CONTAINER", known.containers))
            for pattern in [_names(names)] if pattern is not None
        ]  # fmt: skip

    def text(self, text: str) -> str:
        """The text without them."""
        text = _plain(text)
        for secret in self._present(text):
            text = self._count("secrets", secret, lambda _: MARK, text)
        text, count = contexts.apply(text)
        self.removed["secrets"] += count
        before = text.count(MARK)
        text = redact(text)
        self.removed["secrets"] += max(0, text.count(MARK) - before)
        text = self._count("secrets", patterns.TOKEN, lambda _: MARK, text)
        for pattern, _ in self._homes:
            text = self._count("homes", pattern, lambda _: "~", text)
        text = self._addresses(text)
        for kind, pattern in self._names:
            text = self._count(kind.lower(), pattern, self._by(kind), text)
        text = patterns.FQDN.sub(self._fqdn, text)
        text, count = patterns.opaque(text)
        self.removed["opaque"] += count
        return text

    def value(self, value: Any) -> Any:
        """The same for a JSON-like value, keys too; values of environments and under secret names go whole."""
        return self._walk(redact_value(value), 0)

    def _walk(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if depth >= _DEPTH:
            return None
        if isinstance(value, dict):
            return {self.text(str(key)): self._walk(one, depth + 1) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self._walk(one, depth + 1) for one in value]
        return value

    def _present(self, text: str) -> list[re.Pattern[str]]:
        """Patterns of the known secrets that stand in it, the longest first. A machine has hundreds of values in many
        forms each: which ones are there is asked of the text without its line ends, which costs microseconds a form."""
        squeezed = patterns.BLANK.sub("", text)
        for short, secret in self._secrets:
            if short in squeezed and secret not in self._compiled:
                self._compiled[secret] = re.compile(_spelled(secret))
        return [self._compiled[secret] for short, secret in self._secrets if short in squeezed]

    def _addresses(self, text: str) -> str:
        text = self._count("emails", patterns.EMAIL, self._by("EMAIL"), text)
        text = patterns.URL_HOST.sub(self._host, text)
        text = patterns.AT_HOST.sub(self._host, text)
        text = self._count("addresses", patterns.MAC, self._by("MAC"), text)
        text = patterns.IPV6.sub(self._ip, text)
        text = patterns.IPV4.sub(self._ip, text)
        return patterns.HOME.sub(self._user, text)

    def _host(self, found: re.Match[str]) -> str:
        host = found["host"]
        if patterns.LOOPBACK.match(host) or host.lower() in patterns.PUBLIC:
            return found[0]
        self.removed["host"] += 1
        return found["before"] + self._word("HOST", host)

    def _fqdn(self, found: re.Match[str]) -> str:
        if found[0].lower() in patterns.PUBLIC:
            return found[0]
        self.removed["host"] += 1
        return self._word("HOST", found[0])

    def _ip(self, found: re.Match[str]) -> str:
        try:
            address = ipaddress.ip_address(found[0].partition("%")[0])
        except ValueError:  # a time of day has colons too
            return found[0]
        if address.is_loopback or address.is_unspecified:
            return found[0]
        self.removed["addresses"] += 1
        return self._word("IP", found[0])

    def _user(self, found: re.Match[str]) -> str:
        if _MADE.fullmatch(found["user"]):
            return found[0]
        self.removed["user"] += 1
        return found["before"] + self._word("USER", found["user"])

    def _by(self, kind: str) -> Callable[[re.Match[str]], str]:
        return lambda found: self._word(kind, found[0])

    def _word(self, kind: str, name: str) -> str:
        key = (kind, re.sub(r"\s|\\[rn]", "", name).lower())
        number = sum(known == kind for known, _ in self._words) + 1
        return self._words.setdefault(key, f"{kind}-{number}")

    def _count(
        self, kind: str, pattern: re.Pattern[str], by: Callable[[re.Match[str]], str], text: str
    ) -> str:
        text, count = pattern.subn(by, text)
        self.removed[kind] += count
        return text


def _plain(text: str) -> str:
    """Without escape sequences and invisible characters, which could stand in the middle of a name."""
    text = patterns.ESCAPES.sub("", text)
    return "".join(char if char in "\n\t" or char.isprintable() else " " for char in text)


def _spelled(name: str) -> str:
    """A pattern that finds it broken over lines too."""
    pieces = [r"(?:\s|\\[rnt])+" if char.isspace() else re.escape(char) for char in name]
    return patterns.BREAK.join(pieces)


def _slices(secrets: Iterable[str]) -> Iterable[str]:
    for secret in secrets:
        if len(secret) <= _SLICE:
            yield secret
        else:
            yield from (secret[at : at + _SLICE] for at in range(0, len(secret) - _SLICE // 2, _SLICE))
            yield secret[-_SLICE:]


def _names(names: Iterable[str]) -> re.Pattern[str] | None:
    """Long ones anywhere and in any case; short ones as whole words, as they are spelled."""
    pieces = []
    for name in sorted({one for one in names if one}, key=len, reverse=True):
        text = _spelled(name)
        pieces.append(text if len(name) >= _SHORT else rf"(?<![A-Za-z0-9])(?-i:{text})(?![A-Za-z0-9])")
    return re.compile("|".join(pieces), re.IGNORECASE) if pieces else None
