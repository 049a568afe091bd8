"""`make demo`: six real programs under Midwatch for less than a minute, then the proof that nothing is left.

A web server, one that crashes, one that exits 0 for ever, and one that ignores SIGTERM together with a child that left
its session; then one that leaks and is asked to leave at its soft line, and one that explodes and is ended at its hard
one. In the middle of it the daemon itself is killed. Then a flood of output in bounds, and a look at the whole machine,
which changes nothing. Everything happens in a temporary instance (MIDWATCH_HOME); it touches nothing it did not start.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
PATIENCE = 12.0  # s one scene may take

CONFIG = """\
[midwatch]
project = "demo"

[service.web]
command = ["{python}", "-m", "http.server", "{port}", "--bind", "127.0.0.1"]
ready = {{ http = "http://127.0.0.1:{port}/" }}

[service.crasher]
command = ["{python}", "{here}/crasher.py"]

[service.restless]
command = ["sh", "-c", "echo done; exit 0"]

[service.stubborn]
command = ["{python}", "{here}/stubborn.py"]
stop = {{ grace = "2s" }}
"""

HUNGRY = """\
[midwatch]
project = "hungry"

[service.leaker]
command = ["{python}", "-S", "{here}/hungry.py", "25", "1000"]
memory = {{ soft = "60M", hard = "300M" }}
drain = {{ signal = "USR1", code = 12, within = "5s" }}

[service.bomb]
command = ["{python}", "-S", "{here}/hungry.py", "800", "2000"]
memory = {{ hard = "256M" }}
contain = "none"
"""


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Scene:
    """A temporary project and its instance."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.env = {**os.environ, "MIDWATCH_HOME": str(folder / "home")}
        text = CONFIG.format(python=sys.executable, port=self.port, here=HERE)
        (folder / "midwatch.toml").write_text(text)

    def run(self, *arguments: str, show: bool = True, check: bool = True) -> str:
        """One midwatch command, shown as a person would type it."""
        if show:
            line = f"$ midwatch {' '.join(arguments)}"
            print(f"\n\033[1m{line}\033[0m" if sys.stdout.isatty() else f"\n{line}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "midwatch", *arguments], cwd=self.folder, env=self.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=30, check=False,
        )  # fmt: skip
        if show:
            print(done.stdout.rstrip(), flush=True)
        if check and done.returncode:
            raise SystemExit(f"demo: `midwatch {' '.join(arguments)}` ended with {done.returncode}")
        return done.stdout

    def services(self) -> dict[str, dict[str, object]]:
        """`ps --json` by name."""
        return {row["name"]: row for row in json.loads(self.run("ps", "-a", "--json", show=False))["services"]}

    def until(self, what: str, met: object) -> None:
        """Wait for something to be true. A bounded loop."""
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit:
            if met(self.services()):  # type: ignore[operator]
                return
            time.sleep(0.2)
        raise SystemExit(f"demo: waited {PATIENCE:g} s in vain until {what}")


class Visitor(threading.Thread):
    """Asks the web server all the time and counts who did not answer."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.url = f"http://127.0.0.1:{port}/"
        self.answered = self.failed = 0
        self.leave = threading.Event()

    def run(self) -> None:
        while not self.leave.wait(0.01):
            try:
                with urllib.request.urlopen(self.url, timeout=5):
                    self.answered += 1
            except OSError:
                self.failed += 1


def kill_the_daemon(scene: Scene) -> None:
    """kill -9 of keeper and engine in mid-work, a new start, and nobody noticed."""
    print("\nNow the daemon itself is killed, keeper and engine at once, while a visitor reads the web server's pages.")
    before = scene.services()
    daemon = json.loads(scene.run("ps", "--json", show=False))["daemon"]
    visitor = Visitor(scene.port)
    visitor.start()
    print(f"\n$ kill -9 {daemon['keeper_pid']} {daemon['pid']}")
    for pid in (daemon["keeper_pid"], daemon["pid"]):
        with contextlib.suppress(ProcessLookupError):  # the engine does not outlive its keeper
            os.kill(pid, signal.SIGKILL)
    time.sleep(1.0)
    scene.run("up", "-d")
    scene.run("events", "-n", "4")
    visitor.leave.set()
    visitor.join()
    after = scene.services()
    same = all(before[name]["pid"] == after[name]["pid"] for name in ("web", "stubborn"))
    print(f"\nweb and stubborn are {'the same processes as before' if same else 'NOT the same processes'}; "
          f"the visitor got {visitor.answered} pages meanwhile, {visitor.failed} failed.")  # fmt: skip
    if not same or visitor.failed:
        raise SystemExit("demo: somebody noticed")


def eat_memory(scene: Scene) -> None:
    """A leak drained at the soft line, an explosion ended at the hard one, and what `why` says of both."""
    print("\nTwo hungry ones: a leaker (25 MiB a second, soft line 60M) and a bomb (800 MiB a second, hard line 256M).")
    (scene.folder / "hungry.toml").write_text(HUNGRY.format(python=sys.executable, here=HERE))
    scene.run("up", "-d", "--no-wait", "-f", "hungry.toml")
    ends = {"leaker": "drain", "bomb": "memory-guard"}
    scene.until("both were dealt with", lambda s: all(s[n]["restarts"].get(c) for n, c in ends.items()))
    for name, cause in ends.items():
        scene.run("stop", f"hungry/{name}", show=False)
        exits = [json.loads(line) for line in scene.run("events", "-a", "--json", "-n", "0", show=False).splitlines()]
        dead = [e["run_id"] for e in exits if e["event"] == "run.exited" and e.get("cause") == cause]
        scene.run("why", next(run for run in reversed(dead) if run.startswith(f"hungry.{name}.")))


def flood(scene: Scene) -> None:
    """170 MB of output through `exec`: what an agent gets of it, and how it reads on."""
    print("\nOne command prints 170 MB. An agent that runs it through `exec` gets 40 KB, and the rest by pages:")
    print("\n$ midwatch exec --json -- seq 1 20000000   # its answer in words:")
    got = json.loads(scene.run("exec", "--json", "--", "seq", "1", "20000000", show=False))
    shown = len(got["head"].encode()) + len(got["tail"].encode())
    print(f"{got['bytes_total']:,} bytes, {got['lines_total']:,} lines in {got['duration_ms'] / 1000:.1f} s; "
          f"shown: {shown:,} bytes, its first and its last lines")  # fmt: skip
    scene.run("spool", "read", got["spool"], "--line", "5000000", "--count", "3")


def left_over(home: str) -> list[str]:
    """Living processes that carry this instance's marker, found without asking Midwatch."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if (str(HERE) in command and "demo.py" not in command) or home in command:
                found.append(f"{entry.name}: {command}")
        except OSError:
            continue
    return found


def act(scene: Scene) -> None:
    """The story."""
    print("Four programs: a web server, one that crashes, one that exits 0 for ever, one that ignores SIGTERM.")
    scene.run("up", "-d")
    scene.until("the crasher has crashed three times", lambda s: s["crasher"]["crash_count"] >= 3)
    with urllib.request.urlopen(f"http://127.0.0.1:{scene.port}/", timeout=5) as answer:
        print(f"\nThe web server answers: HTTP {answer.status}")
    scene.run("ps")
    for name in ("web", "crasher", "restless", "stubborn"):
        scene.run("why", name)
    scene.run("logs", "crasher", "-n", "3")
    kill_the_daemon(scene)
    eat_memory(scene)
    flood(scene)
    print("\nAnd this is what your machine is busy with. Nothing is changed by looking.")
    scene.run("look", check=False)  # its exit code says how the machine is
    print("\nNow everything is stopped. The stubborn one gets its grace of 2 s, then it and its helper are killed.")
    started = time.monotonic()
    scene.run("down", "--all")
    print(f"\nStopped in {time.monotonic() - started:.1f} s.")
    left = left_over(str(scene.folder))
    print("Left over: " + ("nothing. Every process of the six is gone." if not left else "\n".join(left)))
    if left:
        raise SystemExit(1)


def main() -> None:
    """Set the scene, play, clean up whatever happened."""
    folder = Path(tempfile.mkdtemp(prefix="midwatch-demo-"))
    scene = Scene(folder)
    began = time.monotonic()
    try:
        act(scene)
    finally:
        if (folder / "home" / "lock").exists():
            scene.run("down", "--all", "--now", show=False, check=False)
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\nThe whole demo took {time.monotonic() - began:.0f} s.")


if __name__ == "__main__":
    main()
