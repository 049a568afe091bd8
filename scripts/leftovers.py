"""Names each process that carries a mark in its environment or belongs to a user, and ends it; exit 1 if any.

    leftovers.py [--mark NAME=VALUE | --mark NAME=BEGINNING*]... [--uid N]  [--wait SECONDS]

Used after a test run: whatever the run started must be gone by itself within the wait. Ends by pid and start
time (psutil checks both), never by name, and never itself, its parents or a process of somebody else.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import psutil


def find(marks: list[str], uid: int | None) -> list[psutil.Process]:
    mine = {os.getpid()} | {parent.pid for parent in psutil.Process().parents()}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid in mine or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.uids().real == uid or (marks and carries(process.environ(), marks)):
                found.append(process)
        except psutil.Error:
            continue
    return found


def carries(environ: dict[str, str], marks: list[str]) -> bool:
    for mark in marks:
        name, _, value = mark.partition("=")
        have = environ.get(name)
        if have is not None and (have.startswith(value[:-1]) if value.endswith("*") else have == value):
            return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description="end and name the processes that a test run left behind")
    parser.add_argument("--mark", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--uid", type=int)
    parser.add_argument("--wait", type=float, default=5.0)
    args = parser.parse_args()
    if args.uid == 0 or any(mark.partition("=")[2] in {"", "*"} for mark in args.mark):
        parser.error("that would be everything")
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
