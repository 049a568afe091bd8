"""DOC-13: the same package started several times by uvx, npx and their like: how many copies, what they hold.

A wrapper and what it started count as one copy. Installing the package once does not make copies share memory: only a
server that all sessions talk to does. Tests: tests/inspect/doctor/test_processes.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from midwatch.inspect import argv
from midwatch.inspect.doctor.check import Check, Context
from midwatch.inspect.doctor.parts import jobs, naming, trees
from midwatch.model.look import Checked, Proc, Status
from midwatch.model.units import format_bytes
from midwatch.policy import defaults_inspect as figures


def _run(ctx: Context) -> Iterable[Checked]:
    table = ctx.sources.table().procs
    kids = trees.children(table)
    copies: dict[str, list[Proc]] = {}
    for proc in table.values():
        if package := wrapped(proc):
            copies.setdefault(package, []).append(proc)
    found = False
    for package, wrappers in sorted(copies.items()):
        top = jobs.topmost(wrappers, table)
        if len(top) < 2:
            continue
        found = True
        members = {one.pid: one for proc in top for one in trees.below(proc, kids)}
        yield _said(ctx, package, top, list(members.values()))
    if not found:
        yield CHECK.say(
            "pass", f"{naming.count(len(copies), 'package')} started by uvx or npx, none of them twice"
        )


def wrapped(proc: Proc) -> str:
    """The package that a wrapper runs, without its version; "" when it is no wrapper."""
    shape = argv.shape(proc)
    if shape.package:
        return shape.package
    if shape.program == "uv" and shape.command == "run":
        rest = shape.rest[shape.rest.index("run") + 1 :]
        name = next((word for word in rest if not word.startswith("-")), "")
        return "" if name in ("", "python", "pytest") or name.endswith(".py") else name
    return ""


def _said(ctx: Context, package: str, top: list[Proc], members: list[Proc]) -> Checked:
    held = naming.total(members)
    unknown = sum(naming.memory(proc) is None for proc in members)
    warn, fail = figures.COPIES
    status: Status = "fail" if held >= fail else "warn" if held >= warn else "pass"
    words = f"{package} runs {len(top)} times, {format_bytes(held)} together with what each started"
    words += f"; of {unknown} processes the memory cannot be told" if unknown else ""
    hint = f"install {package} once and let all sessions talk to one server over HTTP; 'midwatch sweep' ends lost ones"
    return CHECK.say(
        status,
        words,
        offenders=[naming.offender(proc, ctx.sources.now()) for proc in top],
        evidence={"package": package, "copies": len(top), "held_bytes": held, "processes": len(members)},
        hint="" if status == "pass" else hint,
    )


CHECK = Check(
    id="DOC-13",
    category="processes",
    title="copies of one package",
    about=(
        "The same package resident at least twice by uvx, uv tool run, uv run, npx, npm exec or pnpm dlx, "
        "with what each copy started: 500 MB in all warns, 2 GB fails."
    ),
    run=_run,
)
