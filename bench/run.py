"""`make bench`: install the peers, measure them beside Midwatch and the physical limit, print the tables.

    python bench/run.py [restart|memory|cpu|start500|logs|sockets|survive|readings|guards|exec|look|spool ...] [--quick]
    python bench/run.py --show bench/results/DATE.json      print a stored result again

It decides the order and what is stored; how things are measured is in bench/measures, how peers are used in
bench/peers. A peer that fails costs its own rows. Exits 0 when the report was written, 2 on wrong usage.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # started as a file: make the package importable
    sys.path[0] = str(ROOT)

from bench import goals, report  # noqa: E402
from bench.context import Context  # noqa: E402
from bench.measures import RUN  # noqa: E402
from bench.model import FULL, MEASURES, QUICK, Measure, Result, Unavailable  # noqa: E402
from bench.peers import NAMES, chosen  # noqa: E402
from bench.peers.base import Peer  # noqa: E402

RESULTS = ROOT / "bench" / "results"
FILES_NEEDED = 16384  # supervisor holds three descriptors a service, in this process's limits


def options(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench", description="Midwatch beside its peers, on this machine.")
    parser.add_argument(
        "measures", nargs="*", metavar="MEASURE", help=f"of {', '.join(MEASURES)} (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="fewer samples, smaller sizes: about 9 minutes")
    parser.add_argument(
        "--only", default="", metavar="NAMES", help=f"of {', '.join(NAMES)} (bare is always there)"
    )
    parser.add_argument("--cache", type=Path, default=_cache(), help="where the peers are installed")
    parser.add_argument(
        "--show", type=Path, metavar="JSON", help="print a stored result again and measure nothing"
    )
    chosen_options = parser.parse_args(argv)
    names = chosen_options.only.split(",") if chosen_options.only else list(NAMES)
    if unknown := [name for name in names if name not in NAMES]:
        parser.error(f"no peer is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if unknown := [name for name in chosen_options.measures if name not in MEASURES]:
        parser.error(f"nothing measures {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    chosen_options.peers = ("bare", *names)
    return chosen_options


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "midwatch-bench"


def build_child(cache: Path) -> tuple[tuple[str, ...], str]:
    """The supervised program: child.c compiled statically, or its Python twin where there is no compiler."""
    source, target = ROOT / "bench" / "child.c", cache / "child"
    compiler = shutil.which("cc")
    for extra in (["-static"], []) if compiler else ():
        argv = [str(compiler), "-O2", *extra, "-o", str(target), str(source)]
        if subprocess.run(argv, capture_output=True, timeout=120, check=False).returncode == 0:
            return (str(target),), f"C program, {'static' if extra else 'dynamic'}"
    return (
        sys.executable,
        "-I",
        "-S",
        str(source.with_suffix(".py")),
    ), "PYTHON PROGRAM (no cc): times are too high"


def installed(names: tuple[str, ...], cache: Path) -> tuple[list[Peer], dict[str, str]]:
    """The peers that work here, and each one's version or the reason why it is missing."""
    ready, versions = [], {}
    for peer in chosen(names, cache):
        try:
            versions[peer.name] = peer.install()
            ready.append(peer)
        except (Unavailable, OSError) as error:
            versions[peer.name] = f"SKIPPED: {error}"
    return ready, versions


def machine(quick: bool, child: str, versions: dict[str, str]) -> dict[str, str]:
    """What a reader needs to judge the figures."""
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "date": dt.datetime.now().astimezone().isoformat(timespec="minutes"),
        "run": "quick" if quick else "full",
        "midwatch's commit": commit or "unknown",
        "machine": f"{os.cpu_count()} x {model}, {memory:.0f} GiB, Linux {platform.release()}",
        "user": str(os.geteuid()),
        "load at the start": load,
        "supervised program": child,
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def store(results: list[Result], facts: dict[str, str], text: str) -> str:
    """Keep the samples and the tables; returns where, or why not: the tables are printed all the same."""
    stem = RESULTS / dt.datetime.now().astimezone().strftime("%Y-%m-%d-%H%M%S")
    content = {"schema_version": 1, "facts": facts, "results": [asdict(result) for result in results]}
    try:
        RESULTS.mkdir(exist_ok=True)
        stem.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
        stem.with_suffix(".md").write_text(text)
    except OSError as error:
        return f"not stored: {error}"
    return f"stored as {stem}.md and .json"


def load(path: Path) -> tuple[list[Result], dict[str, str]]:
    """A stored result."""
    content = json.loads(path.read_text())
    return [Result(**entry) for entry in content["results"]], content["facts"]


def measured(context: Context, wanted: list[Measure]) -> list[Result]:
    """All results; a measure that breaks as a whole becomes a row that says so."""
    results: list[Result] = []
    for name in wanted:
        try:
            results += RUN[name](context)
        except Exception as error:  # noqa: BLE001  whatever one measure meets, the others still run
            results.append(Result(name, "all", "-", failed=f"{type(error).__name__}: {error}"))
        context.say(f"{name} done")
    return results


def main(argv: list[str] | None = None) -> int:
    """Run it."""
    asked = options(argv)
    if asked.show:
        results, facts = load(asked.show)
        print(report.document(results, facts, goals.section(results)))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as ^C: every session still ends what it started
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES_NEEDED, hard), hard))
    asked.cache.mkdir(parents=True, exist_ok=True)
    child, words = build_child(asked.cache)
    peers, versions = installed(asked.peers, asked.cache)
    facts = machine(asked.quick, words, versions)
    base = Path(tempfile.mkdtemp(prefix="mwb-"))
    context = Context(peers, QUICK if asked.quick else FULL, base, child)
    try:
        results = measured(context, asked.measures or list(MEASURES))
    finally:
        shutil.rmtree(base, ignore_errors=True)
    facts["took"] = f"{context.minutes():.1f} minutes"
    text = report.document(results, facts, goals.section(results))
    print(text)
    print(store(results, facts, text), file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
