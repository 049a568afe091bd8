"""`midwatch logs NAME`: exactly the bytes a service printed.

Works while no daemon runs. Nothing is added, redacted or decoded, except that -t puts the time of arrival
before each line and --json wraps each line. What rotation dropped is said on stderr. Must not merge two
streams: their order is not known. Tests: tests/front/test_logs.py.
"""

from __future__ import annotations

import json as jsonlib
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from midwatch.front.cli import instances, names, project
from midwatch.front.cli.declare import JSON, SCHEMA_VERSION, Arg, Failure, Opt, Usage, Verb

NEWEST = 100
POLL = 0.1  # seconds between two looks at a quiet file
Timed = tuple[float | None, bytes]


def _run(
    name: str,
    follow: bool,
    count: int,
    times: bool,
    previous: bool,
    run: str | None,
    stream: str | None,
    json: bool,
) -> int:
    if count < 0:
        raise Usage("-n must not be negative; nothing was shown")
    if previous and (run or follow):
        raise Usage("--previous excludes --run and --follow; nothing was shown")
    picture = instances.look(record_only=True)
    wanted = names.resolve([name], picture.ids(), project.current())
    if len(wanted) > 1:
        raise Usage(f"{name!r} is {len(wanted)} services; nothing was shown; say which: {', '.join(wanted)}")
    known = picture.find(wanted[0])
    folder = known.layout.service_logs(wanted[0])
    one = _which(folder, wanted[0], previous, run, (known.row or {}).get("run_id"))
    kind = _stream(folder, wanted[0], stream)
    if times or json:
        lines = _timed(folder, one, kind, count, follow)
        for when, line in lines:
            _put(_as_json(wanted[0], kind, when, line) if json else _stamp(when) + line)
        return 0
    for piece in _bytes(folder, one, kind, count, follow):
        _put(piece)
    return 0


def _which(folder: Path, service: str, previous: bool, run: str | None, current: str | None) -> str | None:
    """The run that is meant, None for the newest lines of all. `current`: what the daemon runs, which may not have
    said anything yet and has then no file. Raises Failure."""
    from midwatch.record import logs

    if previous:
        found = logs.previous_run(folder, current)
        if found is None:
            raise Failure(f"{service} has no earlier run with output; nothing was shown")
        return found
    if run is None:
        return None
    known = logs.runs(folder)
    matching = [one for one in known if one == run or (run.isdigit() and one.rpartition(".")[2] == run)]
    if not matching:
        raise Failure(f"{service} has no output of run {run}; it has: {', '.join(known[-8:]) or 'none'}")
    return matching[0]


def _stream(folder: Path, service: str, stream: str | None) -> str:
    from midwatch.record import logs

    known = logs.streams(folder)
    if not known:
        print(f"midwatch logs: {service} has printed nothing yet", file=sys.stderr)
    elif stream is None and "err" in known:
        print(f"midwatch logs: stderr of {service} is kept apart; --stream err shows it", file=sys.stderr)
    return stream or "out"


def _bytes(folder: Path, run: str | None, stream: str, count: int, follow: bool) -> Iterator[bytes]:
    from midwatch.record import logs

    if follow:
        if not count:
            count = sys.maxsize
        for piece in logs.follow(folder, run=run, stream=stream, poll=POLL, lines=count):
            if piece:
                yield piece
    elif count:
        yield logs.tail(folder, count, run, stream=stream)
    else:
        for gap in logs.gaps(folder, run=run, stream=stream):
            print(f"midwatch logs: {gap}", file=sys.stderr)
        yield from logs.stream(folder, run=run, stream=stream)


def _timed(folder: Path, run: str | None, stream: str, count: int, follow: bool) -> Iterable[Timed]:
    from midwatch.record import logs

    if follow:
        return _arriving(folder, run, stream)
    lines = logs.with_times(folder, run=run, stream=stream)
    return deque(lines, maxlen=count) if count else lines


def _arriving(folder: Path, run: str | None, stream: str) -> Iterator[Timed]:
    """New lines with the time at which we saw them."""
    from midwatch.record import logs

    rest = b""
    for piece in logs.follow(folder, run=run, stream=stream, poll=POLL):
        if not piece:
            continue
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield time.time(), line + b"\n"


def _stamp(when: float | None) -> bytes:
    return b"- " if when is None else _iso(when).encode() + b" "


def _iso(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _as_json(service: str, stream: str, when: float | None, line: bytes) -> bytes:
    text = line.removesuffix(b"\n").decode(errors="replace")
    document = {
        "schema_version": SCHEMA_VERSION,
        "ts": None if when is None else _iso(when),
        "service": service,
        "stream": stream,
        "text": text,
    }
    return jsonlib.dumps(document, ensure_ascii=False).encode() + b"\n"


def _put(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


VERB = Verb(
    name="logs",
    help="Show what a service printed, byte for byte.",
    detail=(
        "The newest lines over all its runs, or with --run and --previous of one. -t puts the time of "
        "arrival before "
        "each line, to the second. What rotation has dropped is said on stderr. Works without a daemon."
    ),
    examples=("midwatch logs web", "midwatch logs -f web", "midwatch logs web --previous -n 20"),
    run=_run,
    opts=(
        Opt("follow", ("-f", "--follow"), "Go on with new output; also of later runs."),
        Opt(
            "count",
            ("-n", "--lines"),
            "How many lines; 0 is everything there is.",
            "int",
            "N",
            default=NEWEST,
        ),
        Opt("times", ("-t", "--times"), "Put the time of arrival before each line."),
        Opt("previous", ("--previous",), "The run before the newest one."),
        Opt("run", ("--run",), "One run, by its id or number.", "text", "RUN", complete="run"),
        Opt(
            "stream",
            ("--stream",),
            "For a service whose stderr is kept apart.",
            "text",
            "STREAM",
            choices=("out", "err"),
        ),
        JSON,
    ),
    arg=Arg("name", "NAME", "the service.", required=True, complete="service"),
    codes="Exit codes: 0 shown, 1 no such run, 2 unknown name.",
)
