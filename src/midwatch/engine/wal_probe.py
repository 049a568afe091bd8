"""A process of its own that asks SQLite how much of a write-ahead log is folded in: `wal_probe.py DATABASE`.

A PASSIVE checkpoint: it waits for nobody and disturbs nobody. Prints "BUSY LOG DONE". The connection is not closed but
dies with the process: a last close would fold in and delete the log. Runs on the standard library alone, as the
service's own user; the engine itself never opens a database (WAL-1), because closing it would drop the service's locks.
Exit code 3: it is no database in WAL mode. Tests: tests/system/test_guard_wal.py.
"""

import os
import sqlite3
import sys
from urllib.parse import quote


def main() -> int:
    """One question."""
    path = os.path.abspath(sys.argv[1])
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(20)
        if len(head) < 20 or head[18:20] != b"\x02\x02":
            print("it is not in WAL mode")
            return 3
        link = sqlite3.connect(f"file:{quote(path)}?mode=rw", uri=True, timeout=0.0, isolation_level=None)
        busy, log, done = link.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except (OSError, sqlite3.Error) as error:
        print(error)
        return 1
    print(busy, log, done, flush=True)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
