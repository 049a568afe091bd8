"""What names people, places and secrets by its form alone: addresses, hosts in URLs, strings that look random.

Over-careful: a commit's digest is cut as well. Every repetition is bounded. Must not know this machine's names. Tests:
tests/inspect/report/test_scrub.py.
"""

from __future__ import annotations

import re
from itertools import pairwise
from math import log2

# A name may have been broken over two lines, by a terminal or in JSON.
BREAK = r"(?:[ \t]*(?:\\+[rn]|[\r\n])(?:\\+[rnt]|\s)*)?"
BLANK = re.compile(r"\\+[rnt]|\s+")
ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|.)|[\u200b-\u200f\u2060\ufeff\u00ad]"
)
# Tokens with a head that nothing else has, also glued to a word, where the record's rules want a border.
TOKEN = re.compile(
    r"(?:gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{8,}|(?:AKIA|ASIA)[0-9A-Z]{12,}"
    r"|AIza[\w-]{20,}|[srp]k_(?:live|test)_\w{8,}|eyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?)"
)
EMAIL = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
URL_HOST = re.compile(
    r"(?P<before>\b[a-z][a-z0-9+.-]{1,20}://(?:[^\s/@\"'<>]{0,1024}@)?)(?P<host>\[[0-9a-fA-F:.%]+\]|[^\s/:?#\"'<>@,;)\]\[]{1,253})"
)
AT_HOST = re.compile(
    r"(?P<before>(?<![\w.])[A-Za-z0-9._-]{1,64}@)(?P<host>[A-Za-z][A-Za-z0-9.-]{1,252})(?=:|\s|\Z)"
)
IPV4 = re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d]|\.\d)")
IPV6 = re.compile(
    r"(?<![0-9A-Za-z:.])(?=[0-9a-fA-F:]*:[0-9a-fA-F:]*:)(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?:%\w{1,16})?(?![0-9A-Za-z:])"
)
MAC = re.compile(r"(?<![0-9A-Za-z:-])(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}(?![0-9A-Za-z:-])")
HOME = re.compile(r"(?P<before>/(?:home|Users)/)(?P<user>[^/\s\"':;,)\]]{1,64})")
FQDN = re.compile(
    r"(?<![\w./@-])(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?\.){1,8}"
    r"(?:com|net|org|edu|gov|io|dev|ai|cloud|internal|local|lan|corp|home|intranet|localdomain|private|de|uk|fr|nl|eu|no|se|dk|"
    r"ch|at|it|es|pl|ru|cn|jp|in|br|au|ca|us|info|biz)(?![\w-]|\.\w)", re.IGNORECASE)  # fmt: skip
LOOPBACK = re.compile(
    r"\A(?:localhost|127\.\d+\.\d+\.\d+|0\.0\.0\.0|\[?::1?\]?|unix|HOST-\d+|IP-\d+|\[redacted\]|HOST|docker\.sock)\Z"
)
PUBLIC = frozenset({"github.com", "docs.python.org", "example.com", "example.org", "www.apple.com"})

_RUN = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/=_-]{16,4096}(?![A-Za-z0-9+/=_-])")
_PIECES = re.compile(r"[A-Za-z0-9]+")
_WORDS = re.compile(r"[a-z]{4,}")
_CHUNK = re.compile(r"[A-Za-z0-9]{16,}")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_HEX = re.compile(r"[0-9a-fA-F]{24,4096}")
_KEPT = 7  # characters of a digest: enough to find a commit, too few to use a key


def opaque(text: str) -> tuple[str, int]:
    """The text without strings that look random, and how many there were."""
    count = 0

    def cut(found: re.Match[str]) -> str:
        nonlocal count
        count += 1
        return found[0][:_KEPT] + "…"

    def look(found: re.Match[str]) -> str:
        nonlocal count
        word = found[0]
        if _random(word):
            count += 1
            return "[opaque]"
        return _CHUNK.sub(chunk, word)

    def chunk(found: re.Match[str]) -> str:
        nonlocal count
        if not _random(found[0]):
            return found[0]
        count += 1
        return "[opaque]"

    text = _UUID.sub(cut, text)
    text = _HEX.sub(cut, text)
    return _RUN.sub(look, text), count


def _random(word: str) -> bool:
    """Mostly pieces in which letters of both cases and digits alternate, or long without anything like a word in it."""
    core = word.strip("-_/+=")
    if len(core) < 16 or _bits(core) <= 3.0:
        return False
    mixed = sum(len(piece) for piece in _PIECES.findall(core) if _mixed(piece))
    if mixed >= len(core) / 2:
        return True
    kinds = any(c.isdigit() for c in core), any(c.islower() for c in core), any(c.isupper() for c in core)
    return len(core) >= 24 and all(kinds) and sum(map(len, _WORDS.findall(core))) < len(core) / 4


def _mixed(piece: str) -> bool:
    kinds = ["d" if char.isdigit() else "l" if char.islower() else "u" for char in piece]
    turns = [(a, b) for a, b in pairwise(kinds) if a != b]
    share = len(turns) / len(piece)
    if len(piece) >= 28 and _bits(piece) > 4.3:
        return True
    if len(set(kinds)) == 3:
        return share > 0.33 or sum("d" in turn for turn in turns) >= 3
    if "d" not in kinds:
        return share > 0.45 and len(piece) > 11
    return len(turns) >= 3 if len(piece) >= 16 else share >= 0.3


def _bits(word: str) -> float:
    counts = [word.count(char) for char in set(word)]
    return -sum(n / len(word) * log2(n / len(word)) for n in counts)
