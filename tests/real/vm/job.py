"""Inside the VM: the daemon as a systemd unit under cgroup v2 and an older kernel, killed with its engine ten times.

D9, D11, ORP-7, ORP-9, scenarios 22 and 45. Prints one line for each claim, `ok` or `NOT OK`; exits 1 if one is not. Run
by tests/real/test_vm.py as root with /job/src and /job/site on the import path. Everything is bounded.
"""
# ruff: noqa: T201  its output is the report

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from midwatch.engine.client import Client, ClientError
from midwatch.engine.layout import Layout

UNIT, KILLS, HARD = "midwatch-test.service", 10, 64 << 20
PATIENCE = 120.0  # s; the processor is emulated
CONFIG = f"""\
[midwatch]
project = "p"
[service.capped]
command = ["sleep", "100000"]
memory = {{ hard = {HARD} }}
[service.plain]
command = ["sleep", "100001"]
[service.exits]
command = ["sh", "-c", "trap 'exit 7' USR1; while :; do sleep 0.1; done"]
restart = {{ crash = 1000 }}
backoff = {{ first = "10ms", most = "10ms" }}
"""
DROP_IN = """\
[Unit]
StartLimitIntervalSec=0
[Service]
RestartSec=0.2
Environment=PYTHONPATH=/job/src:/job/site
"""
failed: list[str] = []


def claim(true: bool, what: str, found: object = "") -> None:
    """One line of the report."""
    if not true:
        failed.append(what)
    print(f"{'ok    ' if true else 'NOT OK'} {what}{f': {found}' if found != '' else ''}", flush=True)


def run(*command: str, check: bool = True) -> str:
    """A command's output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if check and done.returncode:
        raise SystemExit(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def until(met: Callable[[], Any], what: str) -> Any:
    """Bounded waiting."""
    deadline = time.monotonic() + PATIENCE
    while not (found := met()):
        if time.monotonic() > deadline:
            print(run("journalctl", "-u", UNIT, "-n", "40", "--no-pager", check=False))
            raise SystemExit(f"NOT OK waited in vain until {what}")
        time.sleep(0.1)
    return found


def ask(method: str) -> dict[str, Any] | None:
    """The daemon's answer; None while there is none."""
    try:
        with Client(Layout.default().control) as client:
            return client.call(method)
    except ClientError:
        return None


def rows() -> dict[str, dict[str, Any]]:
    """The services by name, once all are up."""

    def met() -> dict[str, dict[str, Any]] | None:
        said = ask("ps")
        found = {row["name"]: row for row in said["services"]} if said else {}
        return found if len(found) == 3 and all(row["pid"] for row in found.values()) else None

    found: dict[str, dict[str, Any]] = until(met, "all services are up")
    return found


def journal(*events: str) -> list[dict[str, Any]]:
    """Our own journal."""
    lines = [json.loads(raw) for path in sorted(Layout.default().journal.glob("*.jsonl"))
             for raw in path.read_text().splitlines()]  # fmt: skip
    return [line for line in lines if line["event"] in events]


def alive(pid: int) -> bool:
    """A process that is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def limit_of(pid: int) -> str:
    """memory.max of the innermost cgroup of a process that has one."""
    name = Path(f"/proc/{pid}/cgroup").read_text().strip().rpartition("::")[2]
    try:
        return Path(f"/sys/fs/cgroup{name}/memory.max").read_text().strip()
    except OSError as error:
        return str(error)


def start() -> dict[str, dict[str, Any]]:
    """The generated unit, with a shorter RestartSec."""
    folder = Path("/root/p")
    folder.mkdir()
    (folder / "midwatch.toml").write_text(CONFIG)
    text = run(sys.executable, "-m", "midwatch", "unit", "systemd", "-f", str(folder / "midwatch.toml"))
    Path(f"/etc/systemd/system/{UNIT}").write_text(text)
    drop_in = Path(f"/etc/systemd/system/{UNIT}.d")
    drop_in.mkdir()
    (drop_in / "test.conf").write_text(DROP_IN)
    print("\n".join(line for line in text.splitlines() if "Delegate" in line or "ExecStopPost" in line))
    run("systemctl", "daemon-reload")
    run("systemctl", "start", UNIT)
    return rows()


def both_die(number: int, victim: int) -> None:
    """Keeper and engine; in the third round a service too, which nobody sees."""
    said = until(lambda: ask("ping"), "an engine answers")
    pids = (said["keeper_pid"], said["pid"])
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if number == 2:
        os.kill(victim, signal.SIGKILL)
    until(lambda: not alive(pids[0]) and not alive(pids[1]), "both are gone")
    until(lambda: (ask("ping") or said)["keeper_pid"] != pids[0], "systemd has started the next daemon")


def exit_of_an_adopted(pid: int, run_id: str) -> str:
    """It exits with 7; what the record says about it."""
    os.kill(pid, signal.SIGUSR1)
    line = until(
        lambda: next((e for e in journal("run.exited") if e["run_id"] == run_id), None), f"the end of {run_id} is known"
    )
    if (line["cause"], line["code"]) == ("crash", 7):
        return "code 7"
    right = line["cause"] == "lost" and line["code"] is None and line["signal"] is None
    times = right and any("between" in words or "could read its status" in words for words in line["because"])
    return "lost" if times else f"WRONG {line}"


def main() -> None:
    """Everything, then the report."""
    print(f"kernel {platform.release()}, {run('systemctl', '--version').splitlines()[0]}")
    before = start()
    claim(limit_of(before["capped"]["pid"]) == str(HARD), "memory.max is set at the start")
    ends = []
    for number in range(KILLS):
        last = rows()
        both_die(number, last["exits"]["pid"])
        now = rows()
        same = all(now[name]["pid"] == before[name]["pid"] for name in ("capped", "plain"))
        limit = until(lambda now=now: limit_of(now["capped"]["pid"]), "a limit")  # type: ignore[misc]
        claim(same and limit == str(HARD), f"kill {number + 1}: adopted, memory.max", limit)
        if number == 2:
            [gone] = [e for e in journal("run.exited") if e["run_id"] == last["exits"]["run_id"]]
            claim(gone["cause"] in ("lost", "killed") and gone["code"] is None, "died unseen", gone["cause"])
        elif number % 2:
            claim(now["exits"]["pid"] == last["exits"]["pid"], "the third one is adopted too")
            ends.append(exit_of_an_adopted(now["exits"]["pid"], now["exits"]["run_id"]))
            rows()
    claim(not any("WRONG" in end for end in ends), "exits of adopted services", dict(Counter(ends)))
    adopted = Counter(line["service"] for line in journal("run.adopted"))
    claim(adopted["p/capped"] == adopted["p/plain"] == KILLS, "adoptions", dict(adopted))
    spawned = Counter(line["service"] for line in journal("run.spawned"))
    claim(spawned["p/capped"] == spawned["p/plain"] == 1, "started once", dict(spawned))
    pids = [row["pid"] for row in rows().values()]
    run("systemctl", "stop", UNIT)
    result = run("systemctl", "show", UNIT, "-p", "ActiveState,Result").split()
    claim("ActiveState=inactive" in result and "Result=success" in result, "a clean stop", result)
    claim(not any(alive(pid) for pid in pids), "nothing is left")
    print(f"{len(failed)} of the claims failed")
    sys.exit(bool(failed))


main()
