"""Takes secrets out of everything that we write or show ourselves: journal, history, `why`, messages.

Two steps, the cheap one first: needles (substrings, on everything that is new since the last lines), then the rules.
The needles are a superset of what the rules can match (a test proves it), so a value without one is written as it is. A secret is known by its name (`DB_PASSWORD=`, `--token X`, a dict key),
by its place (`scheme://user:HERE@host`, `Authorization: HERE`) or by its shape (`sk-...`, `ghp_...`, JWT, PEM).
When in doubt it takes too much. Home paths, names of variables, host names and numbers stay.
Logs and spools are the service's own bytes and never come here. Tests: tests/record/test_redact.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import re

MARK = "[redacted]"
MOST_DEPTH = 40

# Substrings of a name that make it secret: lower case, separators written as "_".
_SECRET_WORDS = (
    "password", "passwd", "passphrase", "passcode", "secret", "token", "apikey", "accesskey", "privatekey",
    "credential", "authorization", "cookie", "signature", "bearer", "connectionstring", "connection_string",
)  # fmt: skip
# Parts of a name (between separators) that make it secret.
_SECRET_PARTS = frozenset({"pass", "pw", "pwd", "auth", "jwt", "pat", "otp", "key", "dsn"})
_NOT_ALONE = frozenset({"pwd", "key", "pass", "pat", "dsn"})  # PWD=/home/x, "unknown key: x", "pass: 3"
_ENV_KEYS = frozenset({"env", "environ", "environment"})  # names may be shown, values never
_PLACES = ("file", "path", "dir", "name", "url", "id")  # --token-file PATH names a place, not the secret

# At least one of these is in every text that a rule can change (lower case).
NEEDLES = (
    "pass", "pw", "secret", "token", "key", "auth", "cred", "cookie", "signature", "sig=", "bearer", "basic ", "jwt",
    "_pat", "-pat", ".pat", "hub_pat", "otp", "dsn", "onstring", "on_string", "on-string", "on.string", "sk-",
    "k_live_", "k_test_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "xox", "akia", "asia", "aiza", "hf_", "npm_",
    "pypi-", "glpat-", "eyj", "sg.", "dop_v1_", "-u", ":aa", "redis-cli", "mysql", "mariadb",
)  # fmt: skip
_rules: _Rules | None = None
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
    while stack:
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
        if len(stack) > MOST_STACK:
            return False
    return not fresh or _all_clean(fresh)


_NUMBERS = frozenset({int, float, bool, type(None)})
MOST_STACK = 100_000


def _hides(key: Any) -> bool:
    found = _names.get(key) if type(key) is str else False
    if found is None:
        found = key.lower() in _ENV_KEYS or secret_name(key)
        if len(_names) >= MOST_CACHED:
            _names.clear()
        if len(key) <= 64:
            _names[key] = found
    return found


def _all_clean(fresh: list[str]) -> bool:
    text = "\n".join(fresh).lower()
    for needle in NEEDLES:
        if needle in text:
            return False
    if "@" in text and "://" in text:
        return False
    if len(_clean) >= MOST_CACHED:
        _clean.clear()
    _clean.update([item for item in fresh if len(item) <= 64][:MOST_CACHED])
    return True


def redact(text: str) -> str:
    """The text without its secrets; the same object when there are none."""
    low = text.lower()
    for needle in NEEDLES:
        if needle in low:
            return _get_rules().apply(text)
    if "@" in low and "://" in low:
        return _get_rules().apply(text)
    return text


def redact_value(value: Any) -> Any:
    """The same for every string in a JSON-like value; a string under a secret name goes whole."""
    return _value(value, 0)


def secret_name(name: str) -> bool:
    """Does this variable, option or key name a secret? Numbers under such a name are kept, strings are not."""
    low = name.lower().strip("-_. ")
    low = low.replace("-", "_").replace(".", "_")
    parts = low.split("_")
    if parts[-1] in _PLACES or low.startswith(("max_token", "maxtoken", "tokenizer")):
        return False
    if any(word in low for word in _SECRET_WORDS):
        return True
    if len(parts) == 1:
        return low in _SECRET_PARTS and low not in _NOT_ALONE
    return not _SECRET_PARTS.isdisjoint(parts)


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
    return value


def _entry(key: Any, item: Any, depth: int) -> Any:
    if isinstance(key, str):
        if key.lower() in _ENV_KEYS and isinstance(item, (dict, list, tuple)):
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
        hide_next = item.startswith("-") and not equals and _option_takes_secret(item, program)
        out.append(_glued(item, program) or redact(item))
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


def _get_rules() -> _Rules:
    global _rules
    if _rules is None:
        _rules = _Rules()
    return _rules


class _Rules:
    """The compiled rules; made at the first suspicious string, so that a quiet engine never pays for them."""

    def __init__(self) -> None:
        import re

        def rule(pattern: str, flags: int = re.IGNORECASE) -> re.Pattern[str]:
            return re.compile(pattern, flags | re.ASCII)

        value = r"""(?:"(?:[^"\\]|\\.)*"?\S*|'[^']*'?\S*|\S+)"""
        self._pem = rule(
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}-----|\Z)", re.DOTALL
        )
        # The lookahead: `host:8080/x@1` is a port, not a password.
        self._url = rule(r"(://[^\s:/?#@]{0,256}:)(?!\d{1,5}(?:[/?#]|\s|\Z))[^\s\"'<>]*@")
        self._url_token = rule(r"(://)[^\s:/?#@\"'<>]{16,}@")
        self._header = rule(
            r"\b((?:proxy-)?authorization|x-api-key|(?:set-)?cookie)([\"']?\s{0,3}[:=]\s{0,3}[\"']?)[^\"'\r\n]+"
        )
        self._bearer = rule(r"\b(bearer\s{1,3})[A-Za-z0-9._~+/=-]{6,}")
        self._basic = rule(r"\b([Bb]asic\s{1,3})(?=[a-z+/]{0,400}[A-Z0-9=])[A-Za-z0-9+/]{6,}={0,2}", 0)
        self._flag = rule(rf"((?<!\S)--?[a-z0-9][a-z0-9_.-]{{1,80}})(\s{{1,3}})(?!-)({value})")
        self._user = rule(r"((?<!\S)(?:-u|--user|--proxy-user)[\s=]{1,3}[^\s:]{0,256}:)(?!\d+(?:\s|\Z))\S+")
        self._program = rule(
            r"\b((?:sshpass|mysql\w{0,10}|mariadb\S{0,10})\b[^\n|;&]{0,512}?\s-p\s?|redis-cli\b[^\n|;&]{0,512}?\s-a\s{1,3})(?!-)\S+"
        )
        self._pair = rule(
            rf"(?<![a-z0-9_.-])([a-z0-9_.-]{{2,256}})([\"']?\s{{0,3}}[:=]\s{{0,3}})(?![:=/])({value})"
        )
        self._shape = rule(_SHAPES, 0)

    def apply(self, text: str) -> str:
        text = self._pem.sub(MARK, text)
        text = self._url.sub(rf"\1{MARK}@", text)
        text = self._url_token.sub(rf"\1{MARK}@", text)
        text = self._header.sub(rf"\1\2{MARK}", text)
        text = self._pair.sub(_hide_pair, text)
        text = self._flag.sub(_hide_flag, text)
        text = self._user.sub(rf"\1{MARK}", text)
        text = self._program.sub(rf"\1{MARK}", text)
        text = self._bearer.sub(rf"\1{MARK}", text)
        text = self._basic.sub(rf"\1{MARK}", text)
        return self._shape.sub(MARK, text)


def _hide_pair(found: re.Match[str]) -> str:
    name, middle, value = found.groups()
    if MARK in value or not (secret_name(name) or (name == "sig" and middle == "=")):
        # The value may itself be a pair: "env: TOKEN=x".
        rest = _get_rules()._pair.sub(_hide_pair, value) if "=" in value or ":" in value else value
        return f"{name}{middle}{rest}"
    if value[:8].isdigit() and value.isdigit() and len(value) <= 7 and name.lower().endswith("tokens"):
        return found.group(0)
    return f"{name}{middle}{MARK}"


def _hide_flag(found: re.Match[str]) -> str:
    name, middle, value = found.groups()
    if value == MARK or not (name == "--key" or (len(name) > 2 and secret_name(name))):
        return found.group(0)
    return f"{name}{middle}{MARK}"


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
