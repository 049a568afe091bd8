"""Start the worker, take its lines, end it in time. The only place that does.

It may be killed at any moment: what it said before counts. Must not know what is searched. Tests:
tests/system/test_search_worker.py.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from midwatch.policy import defaults_bounded as d

_WORKER = str(Path(__file__).with_name("worker.py"))
_LINE_MOST = 1 << 20  # bytes; a path has 4 KiB, the last line a few more
_PATIENCE = 1.0  # s above its own limit, then it is killed

Take = Callable[[Any], None]


def run(task: dict[str, Any], take: Take, *, fd: int | None = None) -> str:
    """Give each of the worker's lines, decoded, to `take`; "" or why it ended without its last one. Raises OSError."""
    import subprocess

    task = {"wall": d.SEARCH_WALL, "cpu": d.SEARCH_CPU, "cpu_most": d.SEARCH_WALL, "memory": d.SEARCH_MEMORY, **task}
    process = subprocess.Popen(
        [sys.executable or "python3", "-I", "-S", _WORKER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        pass_fds=() if fd is None else (fd,), env={"LC_ALL": "C.UTF-8"}, cwd="/",
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdin as pipe:
            pipe.write(msgspec.json.encode(task) + b"\n")
        ended = _listen(process.stdout.fileno(), time.monotonic() + task["wall"] + _PATIENCE, take)
    except BrokenPipeError:
        ended = ""
    finally:
        process.stdout.close()
        if process.poll() is None:
            process.kill()
        status = process.wait()
    if ended:
        return ended
    return "" if status == 0 else _died(status, task)


def _listen(fd: int, until: float, take: Take) -> str:
    os.set_blocking(fd, False)
    rest = b""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while (left := until - time.monotonic()) > 0:
        if not poll.poll(left * 1000):
            break
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            continue
        if not data:
            return ""
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            take(msgspec.json.decode(line))
        if len(rest) > _LINE_MOST:
            return "the search said nonsense and was ended"
    return "the search did not end in its time and was killed"


def _died(status: int, task: dict[str, Any]) -> str:
    if status in (-signal.SIGXCPU, -signal.SIGPROF, -signal.SIGKILL):
        return f"stopped after {task['cpu_most']:g} s of processor time"
    return f"the search ended in the middle ({'signal' if status < 0 else 'status'} {abs(status)})"
