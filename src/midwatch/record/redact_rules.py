"""The rules that take secrets out of a text; imported when the first suspicious text comes.

Every repetition is bounded or starts at a word's border, so that no text makes a rule slow. Each rule's
literal words have to be among the needles of record/redact.py (a test compares). Must not look at structure
(record/redact.py does). Tests: tests/record/test_redact.py.
"""

from __future__ import annotations

import re

from midwatch.record.secret_names import MARK, secret_name


def _rule(pattern: str, flags: int = re.IGNORECASE) -> re.Pattern[str]:
    return re.compile(pattern, flags | re.ASCII)


_SHAPES = (
    r"(?<![A-Za-z0-9])(?:"
    r"sk-(?=[\w-]{0,200}\d|[\w-]{20})[\w-]{6,}"  # OpenAI, Anthropic and relatives
    r"|[srp]k_(?:live|test)_\w{8,}"  # Stripe
    r"|gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}"
    r"|xox[a-z]-[\w-]{8,}"  # Slack
    r"|(?:AKIA|ASIA)[0-9A-Z]{12,}|AIza[\w-]{20,}"  # AWS, Google
    r"|hf_\w{16,}|npm_\w{20,}|pypi-[\w-]{16,}|dop_v1_[0-9a-f]{16,}"
    r"|SG\.[\w-]{16,}\.[\w-]{16,}"  # SendGrid
    r"|eyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?"  # JWT
    r"|AGE-SECRET-KEY-1[0-9A-Z]{20,}"
    r"|\d{8,10}:AA[\w-]{30,}"  # Telegram
    r")"
)

_VALUE = r"""(?:"(?:[^"\\]|\\.)*"?\S*|'[^']*'?\S*|\S+)"""
_PEM = _rule(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}-----|\Z)", re.DOTALL)
# The lookahead: in `host:8080/x@1` it is a port, not a password.
_URL = _rule(r"(://[^\s:/?#@]{0,256}:)(?!\d{1,5}(?:[/?#]|\s|\Z))[^\s\"'<>]{0,1024}@")
_URL_TOKEN = _rule(r"(://)[^\s:/?#@\"'<>]{16,1024}@")
_HEADER = _rule(
    r"\b((?:proxy-)?authorization|x-api-key|(?:set-)?cookie)([\"']?\s{0,3}[:=]\s{0,3}[\"']?)[^\"'\r\n]+"
)
_BEARER = _rule(r"\b(bearer\s{1,3})[A-Za-z0-9._~+/=-]{6,}")
_BASIC = _rule(r"\b([Bb]asic {1,3})(?=[a-z+/]{0,400}[A-Z0-9=])[A-Za-z0-9+/]{6,}={0,2}", 0)
_FLAG = _rule(rf"((?<!\S)--?[a-z0-9][a-z0-9_.-]{{1,80}})(\s{{1,3}})(?!-)({_VALUE})")
_USER = _rule(r"((?<!\S)(?:-u|--user|--proxy-user)[\s=]{1,3}[^\s:]{0,256}:)(?!\d+(?:\s|\Z))\S+")
_PROGRAM = _rule(
    r"\b((?:sshpass|mysql\w{0,10}|mariadb\S{0,10})\b[^\n|;&]{0,512}?\s-p\s?"
    r"|redis-cli\b[^\n|;&]{0,512}?\s-a\s{1,3})(?!-)\S+"
)
# Quotes may be escaped (JSON inside JSON), and `=>` is an equals sign too.
_PAIR = _rule(
    rf"(?<![a-z0-9_.-])([a-z0-9_.-]{{2,256}})(\\{{0,3}}[\"']?\s{{0,3}}[:=]>?\s{{0,3}}(?:\\{{1,3}}(?=[\"']))?)(?![:=/])({_VALUE})"
)
_SHAPE = _rule(_SHAPES, 0)


def apply(text: str) -> str:
    """The text without what the rules know."""
    text = _PEM.sub(MARK, text)
    text = _URL.sub(rf"\1{MARK}@", text)
    text = _URL_TOKEN.sub(rf"\1{MARK}@", text)
    text = _HEADER.sub(rf"\1\2{MARK}", text)
    text = _PAIR.sub(_hide_pair, text)
    text = _FLAG.sub(_hide_flag, text)
    text = _USER.sub(rf"\1{MARK}", text)
    text = _PROGRAM.sub(rf"\1{MARK}", text)
    text = _BEARER.sub(rf"\1{MARK}", text)
    text = _BASIC.sub(rf"\1{MARK}", text)
    return _SHAPE.sub(MARK, text)


def _hide_pair(found: re.Match[str]) -> str:
    name, middle, value = found.groups()
    if ":" in middle and found.string[: found.start()].endswith("/"):
        return found.group(0)  # "needs shop/token-db: not ready"
    if MARK in value or not (secret_name(name) or (name == "sig" and middle == "=")):
        # The value may itself be a pair: "env: TOKEN=x".
        rest = _PAIR.sub(_hide_pair, value) if "=" in value or ":" in value else value
        return f"{name}{middle}{rest}"
    if value.isdigit() and len(value) <= 7 and name.lower().endswith("tokens"):
        return found.group(0)
    return f"{name}{middle}{MARK}"


def _hide_flag(found: re.Match[str]) -> str:
    name, middle, value = found.groups()
    if value == MARK or not (name == "--key" or (len(name) > 2 and secret_name(name))):
        return found.group(0)
    return f"{name}{middle}{MARK}"
