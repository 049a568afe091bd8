"""Which names (variables, options, keys) name a secret, and the mark that takes its place.

Must not look at values. Tests: tests/record/test_redact.py.
"""

from __future__ import annotations

MARK = "[redacted]"

# Substrings of a name that make it secret: lower case, separators written as "_".
_SECRET_WORDS = (
    "password", "passwd", "passphrase", "passcode", "secret", "token", "apikey", "accesskey", "privatekey",
    "credential", "authorization", "cookie", "signature", "bearer", "connectionstring", "connection_string",
    "signingkey", "encryptionkey", "masterkey", "sshkey",
)  # fmt: skip
# Parts of a name (between separators) that make it secret.
_SECRET_PARTS = frozenset({"pass", "pw", "pwd", "auth", "jwt", "pat", "otp", "key", "dsn"})
_NOT_ALONE = frozenset({"pwd", "key", "pass", "pat", "dsn"})  # PWD=/home/x, "unknown key: x", "pass: 3"
ENV_KEYS = frozenset({"env", "environ", "environment"})  # names may be shown, values never
_PLACES = ("file", "path", "dir", "name", "url", "id")  # --token-file PATH names a place, not the secret


def secret_name(name: str) -> bool:
    """Does this variable, option or key name a secret? Numbers under such a name are kept, strings are not.

    A name with a slash is a path or a service id ("shop/token-db")."""
    if "/" in name:
        return False
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
