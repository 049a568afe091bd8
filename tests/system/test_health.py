"""Readiness and health with real servers: whose answer counts, what counts as an answer, and what three failures do."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.conftest import Instance, wait_for
from tests.system.watching import PYTHON, events, free_ports, rows, seen, shell, until, words

# One connection at a time in its own thread; the path says what it answers. It counts the connections that are open and
# writes the run and that count for each one that comes.
SERVER = r"""
import os, socket, ssl, sys, threading
port, answer = int(sys.argv[1]), sys.argv[2]
listener = socket.create_server(("127.0.0.1", port))
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3])
else:
    context = None
lock, live = threading.Lock(), 0

def head(status, length, kind="application/json"):
    return f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()

def serve(peer):
    global live
    with lock:
        live += 1
        with open("connections", "a") as log:
            log.write(f"{os.environ['MIDWATCH_RUN'].partition(':')[2]}={live}\n")
    try:
        peer.settimeout(60)
        if context:
            peer = context.wrap_socket(peer, server_side=True)
        peer.recv(65536)
        if answer == "hang":
            peer.recv(1)
        elif answer == "big":
            peer.sendall(head(200, 10_000_000) + b"x" * 10_000_000)
        elif answer == "endless":
            peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                peer.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        elif answer == "rubbish":
            peer.sendall(b"220 mail.example ESMTP\r\n\r\n")
        elif answer.isdigit():
            peer.sendall(head(answer, 0))
        else:
            body = answer.encode()
            peer.sendall(head(200, len(body)) + body)
    except OSError:
        pass
    finally:
        peer.close()
        with lock:
            live -= 1

while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


def server(name: str, port: int, answer: str, *lines: str, cert: str = "") -> str:
    """The table of a service that is such a server."""
    more = f', "{cert}"' if cert else ""
    argv = f"[{PYTHON}, \"server.py\", \"{port}\", '''{answer}'''{more}]"
    return "\n".join([f"[service.{name}]", f"command = {argv}", *lines, ""])


def ready(port: int, more: str = "", scheme: str = "http") -> str:
    """A ready probe over HTTP."""
    rest = f'every = "100ms", timeout = "5s", within = "60s"{more}'
    return f'ready = {{ http = "{scheme}://127.0.0.1:{port}/health", {rest} }}'


def failure(instance: Instance, service: str, part: str) -> None:
    """It said so in a probe.failed, sooner or later (at first nobody listens)."""
    wait_for(
        lambda: any(part in line["detail"] for line in events(instance, "probe.failed", service)),
        f"{service}: {part}",
    )


def test_hlt1_the_end_of_the_child_ends_the_wait_and_the_deadline_is_unhealthy(instance: Instance) -> None:
    """HLT-1: an exit is told at once, with code and last lines; no answer within the deadline: unhealthy."""
    [port] = free_ports(1)
    instance.up(
        shell("dies", "echo last words; exit 3", f'ready = {{ tcp = "127.0.0.1:{port}", within = "1000s" }}',
              'backoff = { first = "50s" }')
        + shell("late", "exec sleep 1000", f'ready = {{ tcp = "127.0.0.1:{port}", within = "0.5s", every = "100ms" }}',
                'restart = { unhealthy = "1 in 30m" }')
    )  # fmt: skip
    until(instance, lambda r: r["dies"]["state"] == "backoff", "it backs off")
    [exited] = events(instance, "run.exited", "dies")
    assert (exited["code"], exited["cause"]) == (3, "crash")
    assert "last words" in seen(instance, "run.tail", "dies")[0]["text"]
    assert events(instance, "run.ready") == []

    first = seen(instance, "health.failed", "late")[0]
    assert first["reason"] == "not_ready"
    assert seen(instance, "run.exited", "late")[0]["cause"] == "unhealthy"
    assert events(instance, "stop.begin", "late")[0]["reason"] == "unhealthy"
    until(instance, lambda r: r["late"]["run_id"] == "p.late.2" and r["late"]["pid"], "it is started again")
    seen(instance, "budget.exhausted", "late")
    row = rows(instance)["late"]
    assert (row["crash_count"], row["restarts"]) == (0, {"unhealthy": 1})


class Fine(http.server.BaseHTTPRequestHandler):
    """Answers 200 to everything."""

    def do_GET(self) -> None:
        """The best of answers."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""


@pytest.fixture
def stranger() -> Iterator[int]:
    """A server of the test's own: its port."""
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fine)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made.server_port
    made.shutdown()
    made.server_close()
    thread.join()


def test_hlt2_somebody_elses_answer_does_not_count(instance: Instance, stranger: int) -> None:
    """HLT-2: answered_by_other, for tcp and http; with any_owner it counts."""
    tcp = f'ready = {{ tcp = "127.0.0.1:{stranger}", within = "60s", every = "100ms"'
    instance.up(
        shell("tcp", "exec sleep 1000", tcp + " }")
        + shell("http", "exec sleep 1000", ready(stranger))
        + shell("any", "exec sleep 1000", tcp + ", any_owner = true }")
    )
    until(instance, lambda r: r["any"]["state"] == "up", "any owner will do")
    for name in ("tcp", "http"):
        failure(instance, name, "answered_by_other")
    assert {rows(instance)[name]["state"] for name in ("tcp", "http")} == {"starting"}


def test_hlt3_what_counts_as_an_answer(instance: Instance) -> None:
    """HLT-3: JSON whatever its spacing; 503, another status, rubbish, no JSON fail; 10 MB, no end are cut."""
    (instance.folder / "server.py").write_text(SERVER)
    wanted = ', json_status = "data.status"'
    cases = {
        "plain": ('{"data":{"status":"ok"}}', wanted, None),
        "odd": ('\t{ "data" :\n{"other": 1, "status"   :\r\n "ok"} } \n', wanted, None),
        "big": ("big", "", None),
        "endless": ("endless", "", None),
        "down": ("503", "", "HTTP 503"),
        "sick": ('{"data": {"status": "degraded, not \\"status\\":\\"ok\\""}}', wanted, "degraded"),
        "text": ('"status":"ok"', wanted, "without the JSON field"),
        "cut": ("big", wanted, "without the JSON field"),
        "rubbish": ("rubbish", "", "not an HTTP answer"),
    }
    ports = dict(zip(cases, free_ports(len(cases)), strict=True))
    instance.up("".join(server(n, ports[n], case[0], ready(ports[n], case[1])) for n, case in cases.items()))
    for name, (_, _, failing) in cases.items():
        if failing is None:
            until(instance, lambda r, name=name: r[name]["state"] == "up", f"{name} is ready")  # type: ignore[misc]
        else:
            failure(instance, name, failing)
            assert rows(instance)[name]["state"] == "starting"


def certificate(folder: Path) -> Path:
    """A self-made one for 127.0.0.1, with its key in the same file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    words = "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    subprocess.run([openssl, *words.split()], cwd=folder, check=True, capture_output=True, timeout=60)
    both = folder / "both.pem"
    both.write_bytes((folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes())
    return both


def test_hlt3_https_with_a_self_made_certificate_says_which_scheme_answered(instance: Instance) -> None:
    """HLT-3: verified, then unverified, then plain; the one that answered is named."""
    cert = certificate(instance.folder)
    (instance.folder / "server.py").write_text(SERVER)
    fine, sick, plain = free_ports(3)
    instance.up(
        server("fine", fine, "200", ready(fine, scheme="https"), cert=str(cert))
        + server("sick", sick, "503", ready(sick, scheme="https"), cert=str(cert))
        + server("plain", plain, "503", ready(plain, scheme="https"))
    )
    until(instance, lambda r: r["fine"]["state"] == "up", "it is ready over TLS")
    assert seen(instance, "run.ready", "fine")[0]["detail"] == "HTTP 200 over https-unverified"
    failure(instance, "sick", "HTTP 503 over https-unverified")
    failure(instance, "plain", "HTTP 503 over http-plain")


def test_hlt4_three_failures_restart_with_their_own_budget(instance: Instance) -> None:
    """HLT-4, G1, G7: two do nothing, three restart, crash_count 0; budget spent: said once, left running."""
    instance.up(
        shell("a", "exec sleep 1000", 'restart = { unhealthy = "1 in 30m" }',
              'health = { command = ["sh", "-c", "echo looks bad; test ! -e sick"], every = "0.5s", failures = 3 }')
    )  # fmt: skip
    first = until(instance, lambda r: r["a"]["health"] == "ok", "it is healthy")["a"]["pid"]
    (instance.folder / "sick").touch()
    failed = seen(instance, "health.failed", "a")[0]
    assert (failed["reason"], failed["count"], failed["run_id"]) == ("health", 3, "p.a.1")
    assert "looks bad" in failed["detail"]
    [one, two] = [line for line in events(instance, "probe.failed", "a") if line["run_id"] == "p.a.1"]
    assert (one["count"], two["count"], two["of"]) == (1, 2, 3)
    assert seen(instance, "run.exited", "a")[0]["cause"] == "unhealthy"
    row = until(instance, lambda r: r["a"]["pid"] not in (None, first), "it is started again")["a"]
    assert (row["crash_count"], row["restarts"]) == (0, {"unhealthy": 1})
    second = row["pid"]
    [spent] = seen(instance, "budget.exhausted", "a")
    assert (spent["budget"], spent["limit"]) == ("unhealthy", 1)
    row = rows(instance)["a"]
    assert (row["state"], row["pid"], row["health"]) == ("up", second, "failing")
    (instance.folder / "sick").unlink()
    until(instance, lambda r: r["a"]["health"] == "ok", "it is healthy again, without a restart")
    assert rows(instance)["a"]["pid"] == second
    assert len(events(instance, "budget.exhausted", "a")) == 1


PROBE = """\
for p in $(cat probe-pids 2>/dev/null); do
  if [ -e /proc/$p/status ] && ! grep -q "^State:.*[ZX] (" /proc/$p/status; then echo $p >> overlap; fi
done
echo $$ >> probe-pids
echo ${MIDWATCH_RUN#*:} >> asked
sleep 1000 & wait
"""


def test_g8_a_probe_that_hangs_counts_once_and_never_overlaps(instance: Instance) -> None:
    """G8: command and http: ended at the timeout with what it started, one failure each, never two at once."""
    (instance.folder / "server.py").write_text(SERVER)
    (instance.folder / "probe.sh").write_text(PROBE)
    [port] = free_ports(1)
    timing = 'every = "0.5s", timeout = "0.7s", failures = 3 }'
    instance.up(
        shell("cmd", "exec sleep 1000", f'health = {{ command = ["sh", "probe.sh"], {timing}')
        + server("web", port, "hang", f'health = {{ http = "http://127.0.0.1:{port}/", {timing}')
    )
    for name in ("cmd", "web"):
        assert seen(instance, "health.failed", name)[0]["count"] == 3
        seen(instance, "stop.done", name)
        assert rows(instance)[name]["crash_count"] == 0
    assert words(instance.folder / "asked").count("p.cmd.1") == 3
    assert words(instance.folder / "overlap") == []
    assert [one for one in words(instance.folder / "connections") if one.startswith("p.web.1=")] == [
        "p.web.1=1"
    ] * 3
    assert all("0.7 s" in line["detail"] for line in events(instance, "probe.failed", "cmd"))
    instance.ok("stop", "--all")
    assert [pid for pid in words(instance.folder / "probe-pids") if running(int(pid))] == []


def running(pid: int) -> bool:
    """A process or a group of this number is there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_ready_by_tcp_command_log_file_and_notify(instance: Instance) -> None:
    """7: each kind says ready when the service is, and not before."""
    [port] = free_ports(1)
    gate = "import os, socket, sys, time\nwhile not os.path.exists('go'):\n    time.sleep(0.02)\n"
    (instance.folder / "tcp.py").write_text(
        gate + f"s = socket.create_server(('127.0.0.1', {port}))\ntime.sleep(1000)\n"
    )
    (instance.folder / "notify.py").write_text(
        "import os, socket\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "s.connect(os.environ['NOTIFY_SOCKET'])\ns.send(b'STATUS=almost')\ns.send(b'READY=0')\n"
        + gate
        + "s.send(b'STATUS=here we are\\nREADY=1\\n')\ntime.sleep(1000)\n"
    )
    (instance.folder / "made").touch()
    a_while_ago = time.time() - 3600
    os.utime(instance.folder / "made", (a_while_ago, a_while_ago))  # left by an earlier run: does not count
    wait = "while [ ! -e go ]; do sleep 0.02; done; "
    often = 'every = "100ms", within = "60s" }'
    instance.up(
        f'[service.tcp]\ncommand = [{PYTHON}, "tcp.py"]\nready = {{ tcp = "127.0.0.1:{port}", {often}\n'
        + shell("command", "exec sleep 1000", f'ready = {{ command = ["test", "-e", "go"], {often}')
        + shell("log", f"echo not listening on 0; {wait} printf listen; sleep 0.2; echo 'ing on 80'; exec sleep 1000",
                f"ready = {{ log = '^listening on \\d+$', {often}")
        + shell("file", wait + "touch made; exec sleep 1000", f'ready = {{ file = "made", {often}')
        + f'[service.notify]\ncommand = [{PYTHON}, "notify.py"]\nready = {{ notify = true, {often}\n'
    )  # fmt: skip
    for name in ("tcp", "command", "log", "file"):
        seen(instance, "probe.failed", name)
    found = rows(instance)
    assert {row["state"] for row in found.values()} == {"starting"}, found
    assert not any(row["ready"] for row in found.values())
    (instance.folder / "go").touch()
    until(
        instance, lambda r: all(row["state"] == "up" and row["ready"] for row in r.values()), "all are ready"
    )
    assert {line["service"] for line in events(instance, "run.ready")} == {f"p/{name}" for name in found}


COUNTING = """\
import http.server, json, sys
step, served = int(sys.argv[2]), 0
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global served
        served += step
        body = json.dumps({"accept": {"requests": served}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_hlt5_an_answer_without_progress_is_no_health(instance: Instance) -> None:
    """HLT-5: a counter that stands still between our own probes is a failure; one that rises or is missing is not."""
    (instance.folder / "counting.py").write_text(COUNTING)
    flat, rising, missing = free_ports(3)

    def counting(name: str, port: int, step: int, path: str) -> str:
        health = f'http = "http://127.0.0.1:{port}/", json_counter = "{path}", every = "0.5s", failures = 2'
        start = f'ready = {{ tcp = "127.0.0.1:{port}" }}\nhealth = {{ {health} }}\n'
        return f'[service.{name}]\ncommand = [{PYTHON}, "counting.py", "{port}", "{step}"]\n{start}'

    instance.up(
        counting("flat", flat, 0, "accept.requests")
        + counting("rising", rising, 1, "accept.requests")
        + counting("missing", missing, 0, "no.such.field")
    )
    failed = seen(instance, "health.failed", "flat")[0]
    assert "accept.requests stands still at 0" in failed["detail"]
    assert seen(instance, "run.exited", "flat")[0]["cause"] == "unhealthy"
    for name in ("rising", "missing"):
        assert rows(instance)[name]["health"] == "ok"
        assert [line for line in events(instance, "probe.failed", name) if line["kind"] == "health"] == []
