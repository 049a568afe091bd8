"""Spools and the bounded search beside cat, sed, grep and ripgrep: the same bytes, the same files, the same matches.

A tool's time is its process's; midwatch's is taken inside a process that is running, the search's with its worker.
Must not know how it is done.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.context import Context
from bench.model import Failed, Result

PROGRAM = str(Path(__file__).parents[1] / "spooler.py")
MIB = 1 << 20
LINES = 800_000
FOLDERS, FILES, LARGE = 40, 100, 20
SEARCHES = {"text": "needle in a haystack", "regex": r"n[e]+dle.*hay[a-z]+ck"}
PATIENCE_S = 120.0


def measure(context: Context) -> list[Result]:
    """Turns, so that a noisy minute meets all of them."""
    base = context.base / "spooling"
    lines, root = _material(base)
    results = {
        "midwatch": Result("spool", "midwatch", "Store, search"),
        "bare": Result("spool", "bare", "cat, sed, grep -rn"),
    }
    if shutil.which("rg"):
        results["ripgrep"] = Result("spool", "ripgrep", "rg -n, all files")
    for turn in range(2 if context.effort.quick else 5):
        for who, result in results.items():
            context.say(f"spool: {who}, turn {turn + 1}")
            try:
                if who == "midwatch":
                    _ours(result, base, lines, root)
                elif who == "bare":
                    _tools(result, base, lines, root)
                else:
                    for how, pattern in SEARCHES.items():
                        result.add(f"{how}.s", _timed(["rg", "-n", "-uu", "--no-heading", pattern, str(root)]))
            except (Failed, OSError, ValueError, subprocess.SubprocessError) as error:
                result.failed = str(error)
    return list(results.values())


def _material(base: Path) -> tuple[Path, Path]:
    """64 MB of lines; a tree of 4,000 files of 5 to 45 kB and 20 of 5 MB with 2,000 matches."""
    root = base / "tree"
    root.mkdir(parents=True, exist_ok=True)
    lines = base / "lines"
    lines.write_bytes(b"".join(b"%07d ERROR %07d %s\n" % (n, n, b"x" * 57) for n in range(1, LINES + 1)))
    plain = b"a line of some text with words in it, as they are: %06d\n"
    for folder in range(FOLDERS):
        (root / f"{folder:02}").mkdir(exist_ok=True)
        for number in range(FILES):
            body = [plain % each for each in range(100 + 8 * number)]
            body[len(body) // 2 :: 400] = [b"here is the needle in a haystack\n"] * len(body[len(body) // 2 :: 400])
            (root / f"{folder:02}" / f"{number:03}.txt").write_bytes(b"".join(body))
    large = b"".join(plain % each for each in range(5 * MIB // 58))
    for number in range(LARGE):
        (root / f"large{number}.log").write_bytes(large)
    return lines, root


def _ours(result: Result, base: Path, lines: Path, root: Path) -> None:
    result.add("kept.mb_per_s", _ask(base, "write", str(lines), "1")["mb_per_s"])
    result.add("flood.mb_per_s", _ask(base, "write", str(lines), "16")["mb_per_s"])
    for name, values in _ask(base, "line", str(lines)).items():
        for value in values:
            result.add(name.replace("_", "."), value)
    for how, pattern in SEARCHES.items():
        found = _ask(base, "tree", str(root), pattern, how)
        if not found["complete"] or found["matches"] != _matches(root):
            raise Failed(f"{how}: found {found['matches']} of {_matches(root)}")
        result.add(f"{how}.s", found["took"])


def _tools(result: Result, base: Path, lines: Path, root: Path) -> None:
    copy = base / "copy"
    result.add("kept.mb_per_s", lines.stat().st_size / 1e6 / _timed(["sh", "-c", f"cat {lines} > {copy}"]))
    copy.unlink()
    result.add("line.ms", _timed(["sed", "-n", "700000,700099p;700099q", str(lines)]) * 1000)
    result.add("search.s", _timed(["grep", "-nE", "ERR[O0]R 079[0-9]99[0-9] ", str(lines)]))
    for how, pattern in SEARCHES.items():
        result.add(f"{how}.s", _timed(["grep", "-rnF" if how == "text" else "-rnE", pattern, str(root)]))


def _matches(root: Path) -> int:
    argv = ["grep", "-rhF", SEARCHES["text"], str(root)]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=PATIENCE_S)
    return done.stdout.count(b"\n")


def _timed(argv: list[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(argv, stdout=subprocess.DEVNULL, check=False, timeout=PATIENCE_S)
    if done.returncode:
        raise Failed(f"{argv[0]}: exit {done.returncode}")
    return time.perf_counter() - began


def _ask(base: Path, *words: str) -> dict[str, Any]:
    argv = [sys.executable, PROGRAM, str(base), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if done.returncode:
        raise Failed((done.stderr.strip().splitlines() or ["no words"])[-1])
    found: dict[str, Any] = json.loads(done.stdout)
    return found
