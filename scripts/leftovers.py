"""Names each process that carries a mark in its environment or belongs to a user, and ends it; exit 1 if any.

    leftovers.py --mark NAME=VALUE | --uid N  [--wait SECONDS]

Used after a test run: whatever the run started must be gone by itself within the wait. Ends by pid and start
time (psutil checks both), never by name, and never itself, its parents or a process of somebody else.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import psutil


def find(mark: str | None, uid: int | None) -> list[psutil.Process]:
    name, _, value = (mark or "").partition("=")
    mine = {os.getpid()} | {parent.pid for parent in psutil.Process().parents()}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid in mine or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.uids().real == uid if mark is None else process.environ().get(name) == value:
                found.append(process)
        except psutil.Error:
            continue
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="end and name the processes that a test run left behind")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--mark")
    which.add_argument("--uid", type=int)
    parser.add_argument("--wait", type=float, default=5.0)
    args = parser.parse_args()
    if args.uid == 0:
        parser.error("--uid 0 would be everything")
    deadline = time.monotonic() + args.wait
    while (left := find(args.mark, args.uid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for process in left:
        try:
            print(f"left running: {process.pid} {' '.join(process.cmdline())[:200]}")
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(left, timeout=5)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
