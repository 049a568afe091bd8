"""`make soak`: many services for many minutes, and whether the supervisor's own memory, descriptors and CPU stay flat.

Talkers, crashers, a leaker that is drained and sleepers, in an instance of its own; a look every half minute. Ends by
itself, with 1 when something of ours has grown. MINUTES and SERVICES are the arguments.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

KINDS = (
    '["sleep", "100000"]',
    '["sh", "-c", "while sleep 1; do echo tick; done"]',
    '["sh", "-c", "sleep 20; exit 3"]',
    '["sh", "-c", "sleep 5 & wait; sleep 30; exit 0"]',
)
GROWTH = 1.10  # of memory between the second quarter and the end: allocator noise is below that


def cli(home: Path, *arguments: str) -> str:
    env = {**os.environ, "MIDWATCH_HOME": str(home / "home")}
    return subprocess.run(
        [sys.executable, "-m", "midwatch", *arguments], cwd=home, env=env, text=True, capture_output=True,
        stdin=subprocess.DEVNULL, check=False, timeout=120,
    ).stdout  # fmt: skip


def look(pid: int) -> dict[str, float]:
    status = Path(f"/proc/{pid}/status").read_text()
    anon = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cpu = (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")
    return {"anon_kib": anon, "fds": len(os.listdir(f"/proc/{pid}/fd")), "cpu_s": cpu}


def main() -> int:
    minutes, services = float(sys.argv[1]), int(sys.argv[2])
    home = Path(tempfile.mkdtemp(prefix="mw-soak-", dir="/tmp"))
    tables = [f'[service.s{i}]\ncommand = {KINDS[i % len(KINDS)]}\nmemory.soft = "64M"\nmemory.hard = "128M"\n'
              'contain = "none"\nrestart.clean = "100000 in 1s"\n' for i in range(services)]  # fmt: skip
    (home / "midwatch.toml").write_text("\n".join(tables))
    rows: list[dict[str, Any]] = []
    try:
        cli(home, "up", "-d")
        daemon = json.loads(cli(home, "ps", "--json"))["daemon"]
        print(f"{services} services, {minutes:g} minutes; keeper {daemon['keeper_pid']}, engine {daemon['pid']}")
        until = time.monotonic() + 60 * minutes
        while time.monotonic() < until:
            time.sleep(min(30.0, max(0.1, until - time.monotonic())))
            rows.append({"keeper": look(daemon["keeper_pid"]), "engine": look(daemon["pid"])})
            k, e = rows[-1]["keeper"], rows[-1]["engine"]
            print(f"{len(rows) * 0.5:5.1f} min  keeper {k['anon_kib']} KiB {k['fds']:.0f} fds {k['cpu_s']:.2f} s   "
                  f"engine {e['anon_kib']} KiB {e['fds']:.0f} fds {e['cpu_s']:.2f} s", flush=True)  # fmt: skip
    finally:
        cli(home, "down", "--all", "--now")
        shutil.rmtree(home, ignore_errors=True)
    grown = [f"{who} {what}" for who in ("keeper", "engine") for what in ("anon_kib", "fds") if grew(rows, who, what)]
    print("grew: " + ", ".join(grown) if grown else "flat: neither memory nor descriptors grew after the first quarter")
    return bool(grown)


def grew(rows: list[dict[str, Any]], who: str, what: str) -> bool:
    quarter = max(1, len(rows) // 4)
    early = sorted(row[who][what] for row in rows[quarter : 2 * quarter] or rows)
    late = sorted(row[who][what] for row in rows[-quarter:])
    return bool(late[len(late) // 2] > GROWTH * early[len(early) // 2])


if __name__ == "__main__":
    raise SystemExit(main())
