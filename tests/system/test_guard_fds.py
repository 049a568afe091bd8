"""A real process that runs out of descriptors, under the soft limit that launchd gives."""

from __future__ import annotations

import socket

from tests.system.conftest import Instance, quiet, wait_for
from tests.system.watching import PYTHON, call, events, seen, until

LEAK = """
import os, time
kept, last = [], time.monotonic()
while True:
    try:
        kept.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        print("EMFILE", error, flush=True)
        time.sleep(600)
    last += 0.05
    time.sleep(max(0.0, last - time.monotonic()))
"""
TOML = """
[service.a]
command = [{python}, "leak.py"]
fds = {{ action = "restart" }}
rlimits = {{ nofile = 256 }}
stop = {{ grace = "2s" }}
"""


def test_twenty_descriptors_a_second_are_restarted_before_emfile(instance: Instance) -> None:
    """FDW-10, scenarios 35 and 36: 20/s under 256 is restarted while some are left; the next time it is only said."""
    (instance.folder / "leak.py").write_text(LEAK)
    instance.up(TOML.format(python=PYTHON), "--no-wait")
    (gone,) = seen(instance, "run.exited", "a")
    assert gone["cause"] == "fd-guard"
    assert gone["signal"] == "SIGTERM"
    (tripped,) = [line for line in events(instance, "guard.tripped", "a") if line["level"] == "hard"]
    assert 179 < tripped["open"] < 256
    record = [line for line in events(instance, "fds.record", "a") if line["run_id"] == "p.a.1"][-1]
    assert record["ts"] <= gone["ts"]
    assert record["by_kind"]["device"] > 150, "what was open is on record before it is restarted"
    until(instance, lambda rows: rows["a"]["run_id"] == "p.a.2" and rows["a"]["state"] == "up", "it is up again")
    logs = "".join(path.read_text() for path in (instance.home / "logs").rglob("*.log"))
    assert "EMFILE" not in logs
    (spent,) = seen(instance, "budget.exhausted", "a")
    assert spent["budget"] == "fds"
    assert len(events(instance, "run.exited", "a")) == 1
    quiet(instance)


SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"sessions": {"active": 7}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
open("port", "w").write(str(server.server_port))
server.serve_forever()
"""


def test_the_load_of_the_leak_watch_comes_from_its_health_probe(instance: Instance) -> None:
    """Guards 8.4, FDW-4: the units under way that a service tells its health probe reach `leaks`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (instance.folder / "serve.py").write_text(SERVER.replace('("127.0.0.1", 0)', f'("127.0.0.1", {port})'))
    health = f'{{ http = "http://127.0.0.1:{port}/", json_active = "sessions.active", every = "500ms" }}'
    instance.up(
        f'[service.a]\ncommand = [{PYTHON}, "serve.py"]\nhealth = {health}\nfds = {{ per_unit = 2 }}\n', "--no-wait"
    )
    wait_for(lambda: (call(instance, "leaks", service="p/a")["fds"] or {}).get("units") == 7, "its units are known")
    assert events(instance, "engine.fault", "a") == []
    quiet(instance)
