"""`doctor --fix`: asks for each cure, looks again whether it still applies, and runs exactly what the check gave.

No shell, nothing that a check did not offer. Must not decide what is a cure. Tests: tests/front/test_doctor.py.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from typing import Any

from midwatch.front.cli.render import plain
from midwatch.model.look import Checked

PATIENCE = 60.0  # seconds of one cure


def offer(results: list[Checked], again: Callable[[Checked], bool], yes: bool, quiet: bool) -> list[dict[str, Any]]:
    """What was done, one entry a cure. `quiet`: say nothing, the document will."""
    done = []
    cures = [one for one in results if one.fix is not None and one.status in ("warn", "fail")]
    for one in cures:
        assert one.fix is not None
        entry: dict[str, Any] = {"id": one.id, "argv": list(one.fix), "state": "", "code": None}
        if not yes and not _asked(one):
            entry["state"] = "not wanted"
        elif not again(one):
            entry["state"] = "no longer needed"
        else:
            entry["code"], entry["state"] = run(one.fix)
        done.append(entry)
        if not quiet:
            code = f" (exit {entry['code']})" if entry["code"] else ""
            print(plain(f"{shlex.join(one.fix)}: {entry['state']}{code}"))
    if not cures and not quiet:
        print("nothing here has a cure that is one safe command")
    return done


def _asked(one: Checked) -> bool:
    assert one.fix is not None
    print(plain(f"\n{one.id}: {one.message}"))
    try:
        answer = input(plain(f"  run '{shlex.join(one.fix)}'? [y/N] "))
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes")


def run(argv: tuple[str, ...]) -> tuple[int | None, str]:
    """(code, state)."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False)
    except OSError as error:
        return None, f"could not be run: {error.strerror}"
    except subprocess.TimeoutExpired:
        return None, f"ended after {PATIENCE:g} s without an answer"
    if done.returncode == 0:
        return 0, "done"
    last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
    return done.returncode, f"failed: {last[0][:200]}" if last else "failed"
