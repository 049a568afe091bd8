"""References: 128 random bits, never part of a path.

What a caller gives is checked for its form, hashed, and the hash is the name that is looked for: no reference, whatever
is in it, can lead out of the folder, and listing the folder gives no reference away. Must not touch files. Tests:
tests/bounded/test_spool_store.py.
"""

from __future__ import annotations

import os
import re

try:  # hashlib loads OpenSSL, 3 MB for a process that only wants this
    from _blake2 import blake2s
except ImportError:  # pragma: no cover - a Python without the module of its own
    from hashlib import blake2s

_FORM = re.compile(r"[0-9a-f]{32}")


def fresh() -> str:
    """A new reference."""
    return os.urandom(16).hex()


def name_of(ref: object) -> str | None:
    """The name of the files of a reference; None for what cannot be one."""
    if not isinstance(ref, str) or not _FORM.fullmatch(ref):
        return None
    return digest("spool", ref)


def digest(*words: str) -> str:
    """32 hex digits for these words; also for session tokens, which are not kept as they are."""
    text = "\0".join(f"{len(word)}:{word}" for word in words)
    return str(blake2s(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest())
