"""Scenes of what happens around a service: a full disk, a taken port, our own death, a clock that jumps.

Tests: tests/system/test_drill.py.
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
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from midwatch.front.drill.scene import Scene
from midwatch.front.drill.stage import COMMAND, Lost, Missing, Stage

INSIDE = "MIDWATCH_DRILL_INSIDE"  # set for the drill that runs in a mount namespace of its own
DISK = "8m"


def full_disk(stage: Stage) -> str:
    """The instance's disk is full to the last byte: services live, are replaced, and the record catches up."""
    if os.environ.get(INSIDE) != "disk":
        return _in_own_namespace(stage)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "tmpfs", str(stage.home)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Missing(f"no small disk can be mounted: {done.stderr.strip()}")
    stage.undo.append(lambda: subprocess.run(["umount", "-l", str(stage.home)], capture_output=True, check=False))
    stage.up(
        f"[service.chatter]\ncommand = {stage.toy('chatter', 4096)}\n"
        '[service.sleeper]\ncommand = ["sleep", "100"]\n'
    )
    chatter, sleeper = stage.runs("chatter", None), stage.runs("sleeper", None)
    ballast = stage.home / "ballast"
    _fill(ballast)
    os.kill(sleeper["pid"], signal.SIGKILL)
    stage.runs("sleeper", sleeper["pid"])
    ballast.unlink()
    kept = _logged(stage)
    stage.until("output is kept again", lambda: _logged(stage) > kept)
    if stage.row("chatter")["pid"] != chatter["pid"]:
        raise Lost("the service that printed all the time did not live through it")

    def recorded() -> Any:
        stage.cli("reset", "sleeper")  # an event, with which the journal tries again
        return stage.events("run.exited", service="sleeper")

    stage.until("the record has the death", recorded)
    dropped = stage.until("the record says that output was dropped", lambda: stage.events("output.dropped"))
    stage.facts |= {"dropped_bytes": sum(int(x.get("bytes") or 0) for x in dropped)}
    return ("kept both: the printing one was never held up, what did not fit was dropped and said; the killed one was "
            "replaced at once, its death came into the journal when there was room")  # fmt: skip


def _logged(stage: Stage) -> int:
    return sum(path.stat().st_size for path in (stage.home / "logs").rglob("*.log"))


def _fill(path: Path) -> None:
    """Not one byte is left."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)


def _in_own_namespace(stage: Stage) -> str:
    """The same scene by a drill of its own, whose mounts nobody else sees and which vanish with it."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Missing("needs root on Linux, to mount a small disk that nobody else sees")
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        raise Missing("needs the commands unshare and mount (util-linux)")
    apart = ["unshare", "--mount", "--propagation", "private"]
    command = [*apart, sys.executable, "-m", "midwatch", "drill", "disk", "--json"]
    env = {**os.environ, INSIDE: "disk", "TMPDIR": str(stage.folder)}
    done = subprocess.run(
        command, env=env, text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=2 * COMMAND, check=False
    )
    try:
        [row] = json.loads(done.stdout)["scenes"]
    except (ValueError, KeyError):
        raise Missing(f"no mount namespace here: {(done.stderr or done.stdout).strip()[:200]}") from None
    stage.facts |= row["facts"]
    if row["survived"] is None:
        raise Missing(row["did"])
    if not row["survived"]:
        raise Lost(row["did"])
    return str(row["did"])


def port_thief(stage: Stage) -> str:
    """Somebody else has the port: named, left alone, waited for."""
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen()
        port = thief.getsockname()[1]
        stage.up(
            f"[service.web]\ncommand = {stage.toy('serve', port)}\nport = {port}\n"
            f"ready = {{ tcp = '127.0.0.1:{port}', every = '200ms' }}\n"
            "backoff = { port = '300ms', port_most = '600ms' }\n"
        )
        conflict = stage.event("the conflict is named", "port.conflict", "web")
        if conflict.get("pid") != os.getpid():
            raise Lost(f"it named {conflict.get('owner')} instead of this drill ({os.getpid()})")
        stage.until("the service waits", lambda: stage.row("web")["state"] == "waiting")
        if stage.events("run.exited", "stop.kill"):
            raise Lost("something was ended for a port that is somebody else's")
    after = stage.runs("web", None)
    stage.facts |= {"owner": conflict.get("owner"), "pid": conflict.get("pid")}
    named = f"named the holder (pid {conflict['pid']}), killed nothing, counted no crash"
    return f"{named}; the service came up (pid {after['pid']}) once the port was free"


def own_death(stage: Stage) -> str:
    """kill -9 of keeper and engine: the service lives on, and the next start takes it back."""
    told = stage.project / "told"
    stage.up(f"[service.count]\ncommand = {stage.toy('count', told, 0.05)}\n")
    before = stage.runs("count", None)
    daemon = stage.ps()["daemon"]
    for pid in (daemon["keeper_pid"], daemon["pid"]):
        with contextlib.suppress(ProcessLookupError):  # the engine does not outlive its keeper
            os.kill(pid, signal.SIGKILL)
    killed = int(stage.until("it counts on", lambda: _number(told)))
    stage.until("the service goes on without us", lambda: (_number(told) or 0) > killed + 3)
    stage.ok("up", "-d", "--force")
    adopted = stage.event("it is adopted", "run.adopted", "count")
    if adopted["pid"] != before["pid"]:
        raise Lost(f"pid {before['pid']} became {adopted['pid']}")
    now = _number(told) or 0
    stage.until("its output arrives", lambda: len(_printed(stage)) >= now)
    lines = _printed(stage)
    if lines != list(range(1, len(lines) + 1)):
        raise Lost("lines of its output are missing or doubled")
    stage.facts |= {"pid": before["pid"], "lines": len(lines)}
    kept = f"{len(lines)} lines of output, none lost, none twice"
    return f"was itself killed; its next start took pid {before['pid']} back as it was: {kept}"


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _printed(stage: Stage) -> list[int]:
    return [int(line) for line in stage.cli("logs", "count", "-n", "0").stdout.split()]


def clock_jump(stage: Stage) -> str:
    """A recorded crash loop is decided again with a wall clock that jumps: the machine's own clock is not touched."""
    stage.up(
        f"[service.crash]\ncommand = {stage.toy('crash')}\nrestart = {{ crash = 3 }}\n"
        "backoff = { first = '100ms', most = '200ms', degraded_first = '30s' }\n"
    )
    stage.until("there is a record", lambda: stage.events("budget.exhausted", service="crash"))
    stage.ok("down", "--all")
    lines = [json.loads(raw) for path in sorted((stage.home / "journal").glob("*.jsonl"))
             for raw in path.read_bytes().splitlines()]  # fmt: skip
    jumps = (timedelta(), timedelta(days=-1), timedelta(hours=2), timedelta(days=365))
    changed = stage.project / "jumping.jsonl"
    changed.write_text("".join(json.dumps(_moved(x, jumps[n % len(jumps)])) + "\n" for n, x in enumerate(lines)))
    done = stage.cli("replay", str(changed), "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    if done.returncode or found["different"] or found["not_recorded"] or not found["inputs"]:
        raise Lost(f"{found['different']} of {found['inputs']} decisions came out differently")
    stage.facts |= {"simulated": True, "decisions": found["inputs"]}
    how = "taken again while the wall clock of the record jumps by a day, two hours and a year from line to line"
    return f"simulated, no clock was touched: {found['inputs']} decisions of a real crash loop, {how}: all the same"


def _moved(line: dict[str, Any], by: timedelta) -> dict[str, Any]:
    return {**line, "ts": (datetime.fromisoformat(line["ts"]) + by).isoformat()}


SCENES = (
    Scene("disk", f"a disk of {DISK.upper()} for the instance, filled to the last byte", full_disk),
    Scene("port", "a stranger that listens on the service's port", port_thief),
    Scene("own-death", "kill -9 of midwatch's keeper and engine at once", own_death),
    Scene("clock", "a wall clock that jumps (simulated)", clock_jump),
)
