"""Python's stacks of a running process by py-spy, where somebody has installed it: a program of its own, with a limit.

It reads the process's memory and never writes; the run stands still meanwhile, hence `--nonblocking`. Whether it may
is the kernel's to say: root may, and else the machine's own words (`machine.tracing()`) tell what is missing. Must not
be needed by anything. Tests: tests/engine/test_pyspy.py.
"""

from __future__ import annotations

import os
import sys

_MOST = 3  # processes of a run
_BYTES = 1 << 20


def program() -> str | None:
    """Where py-spy is: beside our Python, or on the PATH."""
    folders = [os.path.dirname(sys.executable), *os.environ.get("PATH", "").split(":")]
    paths = (os.path.join(folder, "py-spy") for folder in folders if folder.startswith("/"))
    return next((path for path in paths if os.access(path, os.X_OK) and os.path.isfile(path)), None)


def stacks(pids: list[int], seconds: float, permitted: str) -> tuple[str, str]:
    """Their stacks as text, and what went wrong. `permitted`: "yes", or the system's reason why not."""
    import subprocess
    import time

    if not pids:
        return "", "no Python process"
    spy = program()
    if spy is None:
        return "", "py-spy is not installed"
    until = time.monotonic() + seconds
    texts: list[str] = []
    problems: list[str] = [f"{len(pids) - _MOST} more Python processes"] if len(pids) > _MOST else []
    for pid in pids[:_MOST]:
        left = until - time.monotonic()
        if left <= 0:
            problems.append(f"py-spy for {pid}: out of time")
            continue
        argv = [spy, "dump", "--nonblocking", "--pid", str(pid)]
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=left,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, start_new_session=True, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            problems.append(f"py-spy for {pid}: out of time")
            continue
        except OSError as error:
            problems.append(f"py-spy: {error.strerror}")
            break
        text = done.stdout[:_BYTES].decode("utf-8", "replace")
        if done.returncode == 0:
            texts.append(text)
        else:
            problems.append(f"py-spy for {pid}: {_reason(text, permitted)}")
    return "\n".join(texts), "; ".join(problems)


def _reason(text: str, permitted: str) -> str:
    """One line of what it said."""
    if "ermission" in text or "EPERM" in text or "not permitted" in text:
        return f"not permitted{'' if permitted == 'yes' else f' ({permitted})'}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[0] if lines else "it failed and said nothing")[:200]
