"""Two small helpers for adapters and installers: run a command with a time limit, write an executable script.

Knows nothing of peers or measures.
"""

from __future__ import annotations

import subprocess
from pathlib import Path


def script(path: Path, text: str) -> None:
    """An executable file, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def run(argv: list[str], seconds: float, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """A command's output; OSError with the end of what it said when it fails or takes too long."""
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"{argv[0]} took longer than {seconds:.0f} s") from None
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise OSError(f"{' '.join(argv[:3])} ended with {done.returncode}: {words[-1][:300]}")
    return done.stdout
