"""What can be wrong with a spool, as one exception with a stable code.

Must not print. Tests: tests/bounded/test_spool_store.py.
"""

from __future__ import annotations

from typing import Literal

Code = Literal["unknown", "gone", "folder", "damaged", "usage", "busy", "disk"]


class SpoolError(Exception):
    """`code` is for programs, the text for people: what, why, what to do.

    unknown: no such reference (or one of another session); gone: its data was removed, the text says why; folder: the
    spool folder cannot be used; damaged: its files contradict each other; usage: a range that is none; busy: somebody
    holds the folder's lock; disk: the system refused to write.
    """

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code: Code = code
