"""Spools: the whole of an output that is too long to show, on disk, bounded, to be read by pages.

A result that fits inline costs no file. Of a longer one the first 48 MiB and the last 16 MiB are kept, all of it is
counted, and a reference that nobody can guess leads to it. Must not know who prints, nor how a preview is made. Tests:
tests/bounded/test_spool*.py, tests/system/test_spool*.py.
"""

from __future__ import annotations

from midwatch.bounded.spool.errors import SpoolError
from midwatch.bounded.spool.meta import SpoolInfo
from midwatch.bounded.spool.store import Store
from midwatch.bounded.spool.writer import Writer

__all__ = ["SpoolError", "SpoolInfo", "Store", "Writer"]
