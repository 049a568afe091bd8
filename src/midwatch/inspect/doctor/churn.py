"""DOC-15: heavy jobs that get into each other's way: the same twice, or one beside a watcher, on one checkout.

Two test runs write one .coverage, two installs wait for one lock, a generator of a thousand files keeps a watcher
busy. Must not judge what a job is for. Tests: tests/inspect/doctor/test_watchers.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from midwatch.inspect.doctor.check import Check, Context
from midwatch.inspect.doctor.parts import jobs, naming
from midwatch.model.look import Checked, Proc


def _run(ctx: Context) -> Iterable[Checked]:
    table = ctx.sources.table().procs
    busy: dict[tuple[str, str], list[Proc]] = {}
    watchers: dict[str, list[Proc]] = {}
    unknown = 0
    for proc in table.values():
        kind, watcher = jobs.job(proc), jobs.watcher(proc)
        if not kind and not watcher:
            continue
        folder = jobs.cwd(ctx, proc.pid)
        unknown += not folder
        if folder and kind:
            busy.setdefault((jobs.repository(ctx, folder), kind), []).append(proc)
        elif folder:
            watchers.setdefault(jobs.repository(ctx, folder), []).append(proc)
    found = 0
    for (folder, kind), procs in busy.items():
        for result in _pair(ctx, folder, kind, jobs.topmost(procs, table), watchers.get(folder, [])):
            found += 1
            yield result
    if not found:
        words = f"{naming.count(sum(map(len, busy.values())), 'heavy job')} at work, none in another's way"
        yield CHECK.say("pass", words + (f"; of {unknown} the folder cannot be told" if unknown else ""))


def _pair(ctx: Context, folder: str, kind: str, procs: list[Proc], watchers: list[Proc]) -> Iterable[Checked]:
    now = ctx.sources.now()
    if len(procs) > 1:
        named = [naming.offender(proc, now) for proc in procs]
        both = " and ".join(f"{one.name} (pid {one.pid})" for one in named[:2])
        words = f"{kind} {_times(len(procs))} at once in {folder}: {both}"
        yield CHECK.say(
            "warn", words, offenders=named, evidence={"folder": folder, "job": kind},
            hint="let one of them end first, or give the second a worktree: git worktree add ../second",
        )  # fmt: skip
    if procs and watchers and kind != "tests":
        named = [naming.offender(proc, now) for proc in (procs[0], watchers[0])]
        words = f"{kind} (pid {procs[0].pid}) changes files that {named[1].name} (pid {watchers[0].pid}) rebuilds from"
        yield CHECK.say(
            "warn", f"{words}, in {folder}", offenders=named, evidence={"folder": folder, "job": kind},
            hint=f"stop the watcher while it runs: kill {watchers[0].pid}",
        )  # fmt: skip


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"


CHECK = Check(
    id="DOC-15",
    category="watchers",
    title="heavy jobs that overlap",
    about=(
        "Test runs, installs and generators that run twice in one checkout, or a generator or install beside "
        "a watcher of the same checkout: warns and names both."
    ),
    run=_run,
)
