"""Adds up junit files and prints `N passed, N failed, N skipped` as the last line. Exit 1 if no test ran."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET


def count(name: Path) -> tuple[int, int, int]:
    """Tests, failed and skipped of one junit file; zeros when there is none."""
    total = failed = skipped = 0
    try:
        suites = list(ET.parse(name).iter("testsuite"))
    except (OSError, ET.ParseError):
        suites = []
    for suite in suites:
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    return total, failed, skipped


def main(files: list[str]) -> int:
    total = failed = skipped = second = 0
    for name in map(Path, files):
        tests, bad, left_out = count(name)
        again = name.with_suffix(".again.xml")  # of scripts/suite.py: what failed, run once more
        if again.exists():
            still = count(again)[1]
            second += bad - still
            bad = still
        total, failed, skipped = total + tests, failed + bad, skipped + left_out
    passed = total - failed - skipped
    if second:
        print(f"of those that passed, {second} did so only when run again, alone")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
