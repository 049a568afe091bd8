"""Runs the test suite as CI does: everything, three files at a time; then what failed once more, alone.

    python scripts/suite.py RESULT.xml [pytest options]

Thousands of tests wait for real processes on a machine that others load, too. Up to FEW failures are therefore tried
again, one at a time; what passes then is named and counted apart ("only when run again, alone"), never hidden.
Exit code: pytest's.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

FEW = 5  # more failures than that are no accident


def pytest(result: Path, cache: str, *options: str) -> int:
    words = [sys.executable, "-m", "pytest", f"--junitxml={result}", "-o", f"cache_dir={cache}", *options]
    return subprocess.run(words, check=False).returncode


def failures(result: Path) -> list[str]:
    """The names of the cases that failed."""
    try:
        cases = ET.parse(result).iter("testcase")
    except (OSError, ET.ParseError):
        return []
    return [
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]


def main(result: Path, options: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="midwatch-suite.") as cache:
        code = pytest(result, cache, "-n", "3", "--dist", "loadfile", *options)
        failed = failures(result)
        if code != 1 or not 0 < len(failed) <= FEW:
            return code
        print(f"\n=== {len(failed)} failed; once more, alone: {', '.join(failed)}", flush=True)
        again = result.with_suffix(".again.xml")
        code = pytest(again, cache, "--last-failed", "--last-failed-no-failures", "none", *options)
        still = failures(again)
        for name in failed:
            print(f"=== {name}: {'failed again' if name in still else 'passed only when run again, alone'}")
        return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
