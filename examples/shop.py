"""The shop of midwatch.toml: `shop.py migrate`, `shop.py web` and `shop.py work`, each as small as it can be.

`migrate` makes the database and ends. `web` answers /health. `work` does a round of work each second; on SIGTERM it
finishes its round and leaves. Standard library only.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DATABASE = Path(os.environ.get("SHOP_DB", Path(tempfile.gettempdir()) / f"midwatch-shop-{os.getuid()}.db"))
leaving = threading.Event()


def migrate() -> None:
    with sqlite3.connect(DATABASE) as database:
        database.execute("CREATE TABLE IF NOT EXISTS rounds (worker TEXT)")
    print(f"migrated {DATABASE}")


class Handler(BaseHTTPRequestHandler):
    """Answers every path alike."""

    def do_GET(self) -> None:
        body = b'{"status": "ok"}\n'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def web() -> None:
    port = int(os.environ.get("PORT", "8787"))
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"listening on {server.server_address[1]}")
        leaving.wait()
        server.shutdown()


def work() -> None:
    worker = os.environ.get("MIDWATCH_INSTANCE", "alone")
    while not leaving.wait(1.0):
        with sqlite3.connect(DATABASE, timeout=5) as database:
            database.execute("INSERT INTO rounds VALUES (?)", (worker,))
        print(f"worker {worker}: one more round")


if __name__ == "__main__":
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: leaving.set())
    {"migrate": migrate, "web": web, "work": work}[sys.argv[1]]()
