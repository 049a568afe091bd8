"""`midwatch report`: one bundle for an upstream issue, with everything taken out that says who and where.

Gathers, scrubs, writes a text and a zip that only the caller can read, and shows what is in them before anybody shares
them. Sends nothing. Must not decide what is secret: inspect/report does. Tests: tests/front/test_report.py.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from midwatch.engine.client import ClientError
from midwatch.front.cli import instances, owning, report_facts, why
from midwatch.front.cli.declare import JSON, Arg, Failure, Opt, Usage, Verb
from midwatch.front.cli.render import cut, plain, say_json, size, table, width
from midwatch.inspect.doctor import registry, run
from midwatch.inspect.doctor.check import Context
from midwatch.inspect.ours import Ours
from midwatch.inspect.report import bundle, known, scrub
from midwatch.inspect.sources.live import Live
from midwatch.model.look import Checked
from midwatch.record.files import write_fresh

_PATIENCE = 20.0  # seconds for doctor in a report


def _run(
    what: str | None, issue: bool, output: str | None, hide_containers: bool, no_doctor: bool, json: bool
) -> int:
    folder = _folder(output)
    picture = instances.look(record_only=True)
    document = _document(what)
    service = picture.find(document["service"]) if document is not None else None
    made = _make(picture, document, service, hide_containers, None if no_doctor else _doctor(picture))
    text, archive = _write(folder, made)
    if json:
        parts = [{"name": name, "bytes": count} for name, count in made.parts]
        sizes = {"text_bytes": len(made.text.encode()), "zip_bytes": len(made.archive)}
        say_json({"text": str(text), "zip": str(archive), "parts": parts, "removed": made.removed, **sizes})
        return 0
    if issue:
        print(made.text, end="")
    for line in _told(made, text, archive, issue):
        print(line, file=sys.stderr if issue else sys.stdout)
    return 0


def _folder(output: str | None) -> Path:
    folder = Path(output) if output else Path.cwd()
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise Usage(
            f"{folder}: no folder that may be written to; name one with --output; nothing was written"
        )
    return folder


def _document(what: str | None) -> dict[str, Any] | None:
    """What `why` says; a machine on which nothing has died has no verdict. Raises Failure for an unknown name."""
    try:
        return why.document(what, False)
    except Failure:
        if what is not None:
            raise
        return None


def _make(
    picture: instances.Picture, document: dict[str, Any] | None, service: instances.Known | None,
    hide_containers: bool, results: list[Checked] | None,
) -> bundle.Report:  # fmt: skip
    sources = Live()
    now = sources.now()
    procs = sources.table()
    row = (service.row if service is not None else None) or {}
    root = row.get("pid")
    run_id = str((document or {}).get("run_id") or "")
    lines = report_facts.events(service, picture)
    printed = report_facts.output(service, run_id)
    mine = list(report_facts.below(procs, root)) if root else []
    secrets = known.of_machine(
        sources, report_facts.environments(service, mine), _containers(sources) if hide_containers else ()
    )
    parts = [
        report_facts.verdict(document, now),
        report_facts.timeline(lines),
        report_facts.tree(procs, root, _ours(picture), now),
        *([printed] if printed is not None else []),
        report_facts.versions(),
        report_facts.configuration(service),
        report_facts.doctor(results),
    ]
    note = (
        f"Made {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(now))} UTC. People, machines, addresses and secrets "
        "were taken out by a program: the same word stands for the same name. Times are local."
    )
    extras = report_facts.extras(document, lines, printed, results)
    return bundle.compose(report_facts.title(document), note, parts, extras, scrub.Scrub(secrets))


def _containers(sources: Live) -> list[str]:
    from midwatch.inspect.containers import NoEngine, see

    try:
        found = see(sources)
    except NoEngine:
        return []
    everyone = [one for picture in found.pictures for one in picture.containers]
    return [name for one in everyone for name in (one.name, one.project) if name]


def _ours(picture: instances.Picture) -> Ours:
    try:
        return owning.gather(picture)
    except (ClientError, OSError):
        return Ours()


def _doctor(picture: instances.Picture) -> list[Checked]:
    """The cheap checks; those that watch something change watch for a second only."""
    shown = sys.stderr.isatty()

    def told(done: int, of: int, names: tuple[str, ...]) -> None:
        line = cut(f"doctor: {done} of {of} {', '.join(names)}", width() - 1)
        print(f"\r\x1b[K{line if done < of else ''}", end="", file=sys.stderr, flush=True)

    ctx = Context(Live(), ours=_ours(picture), window=1.0)
    return run.run(ctx, registry.chosen(registry.checks()), total=_PATIENCE, told=told if shown else None)


def _write(folder: Path, made: bundle.Report) -> tuple[Path, Path]:
    """Both files, 0600. Their names tell nothing but when."""
    base = f"midwatch-report-{time.strftime('%Y%m%d-%H%M%S')}"
    number = 1
    while (folder / f"{base}.md").exists() or (folder / f"{base}.zip").exists():
        number += 1
        base = f"{base.rsplit('+', 1)[0]}+{number}"
    text, archive = folder / f"{base}.md", folder / f"{base}.zip"
    try:
        write_fresh(text, made.text.encode())
        write_fresh(archive, made.archive)
    except OSError as error:
        raise Failure(
            f"{error.filename or folder}: {error.strerror}; the report could not be written"
        ) from None
    return text, archive


def _told(made: bundle.Report, text: Path, archive: Path, issue: bool) -> list[str]:
    """What is in it and what was taken out, before anybody shares it."""
    rows = [[name, size(count)] for name, count in made.parts]
    lines = table(["IN IT", "SIZE"], rows, width(), right=frozenset({1}))
    kinds = ", ".join(f"{count} {kind}" for kind, count in made.removed.items()) or "nothing"
    lines += ["", f"taken out: {kinds}", "",
              f"text  {plain(str(text))} ({size(len(made.text.encode()))}, fits an issue)",
              f"zip   {plain(str(archive))} ({size(len(made.archive))})", ""]  # fmt: skip
    if issue:
        last = "Read what stands above before you paste it: a program took out what it can know of."
        return [*lines, last]
    return [*lines, f"Read it before you share it: less {plain(str(text))}", "Nothing was sent anywhere."]


VERB = Verb(
    name="report",
    help="Write one redacted bundle for an upstream issue.",
    detail=(
        "A text that fits into an issue and a zip with the longer parts: the verdict, the timeline, the process tree, "
        "what was printed last, versions, the configuration with names of variables only, what doctor says. Secrets, "
        "values of environments, homes, names of people and machines, addresses and strings that look random are taken "
        "out, also in the middle of words and over line ends; the same name becomes the same word. "
        "Both files can be read by you alone, and nothing is sent. Without a name: the newest death, or the machine."
    ),
    examples=("midwatch report web", "midwatch report web --issue", "midwatch report --hide-containers -o /tmp"),
    run=_run,
    opts=(
        Opt("issue", ("--issue",), "Print the text too, to read and to paste."),
        Opt("output", ("-o", "--output"), "The folder for both files instead of the current one.", "text", "FOLDER",
            complete="file"),
        Opt("hide_containers", ("--hide-containers",), "Take out names of containers and compose projects too."),
        Opt("no_doctor", ("--no-doctor",), "Leave doctor out, which takes some seconds."),
        JSON,
    ),
    arg=Arg("what", "NAME", "a service, a run id or a pid, as for 'why'.", complete="service"),
    codes="Exit codes: 0 written, 1 not on record or nothing could be written, 2 unknown name or folder.",
)  # fmt: skip
