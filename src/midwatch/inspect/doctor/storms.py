"""DOC-14: watchers that never rest: a tree that changes all the time, a generator that writes what it watches.

The tree of each watcher is looked at every half second for as long as the caller allows; a file that changes again
and again is a program's, a person does not save three times in as many seconds. Without watching, from the options
alone: output inside a watched folder, two watchers on one tree. Also the room for inotify. Must not write.
Tests: tests/inspect/doctor/test_watchers.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from midwatch.inspect.doctor.check import Check, Context, Missing
from midwatch.inspect.doctor.parts import jobs, naming, watches
from midwatch.inspect.doctor.parts.watching import Changes, watch
from midwatch.model.look import Checked, Proc
from midwatch.policy import defaults_inspect as figures


def _run(ctx: Context) -> Iterable[Checked]:
    yield from _rooms(ctx)
    table = ctx.sources.table().procs
    watchers = jobs.topmost([proc for proc in table.values() if jobs.watcher(proc)], table)
    if not watchers:
        yield CHECK.say("pass", "no watcher runs")
        return
    trees: dict[str, list[Proc]] = {}
    for proc in watchers:
        folder = jobs.cwd(ctx, proc.pid)
        if not folder:
            yield CHECK.say(
                "skip", f"of {naming.short(proc, 40)} (pid {proc.pid}) the folder cannot be told",
                hint="midwatch doctor --category watchers as its owner",
            )  # fmt: skip
            continue
        yield from _static(ctx, proc, folder)
        for root in jobs.watched(proc, folder):
            trees.setdefault(root, []).append(proc)
    yield from _pairs(ctx, trees)
    if ctx.sources.recorded:
        yield CHECK.say(
            "skip",
            "a recording does not move: changes were not counted",
            hint="midwatch doctor on that machine",
        )
        return
    for root, changes in watch(ctx, list(trees)).items():
        yield _judged(ctx, root, trees[root], changes)


def _static(ctx: Context, proc: Proc, folder: str) -> Iterable[Checked]:
    """What its options and mkdocs.yml say, without running anything."""
    roots = jobs.watched(proc, folder)
    outputs = jobs.outputs(proc, folder)
    if jobs.watcher(proc) == "mkdocs":
        docs, site, more = _mkdocs(ctx, folder)
        roots, outputs = [docs, *more], outputs or [site]
    for output in outputs:
        for root in roots:
            if jobs.inside(output, root):
                yield CHECK.say(
                    "warn", f"{naming.short(proc, 40)} (pid {proc.pid}) writes {output}, inside {root}, which it "
                    "watches: every build starts the next one",
                    offenders=[naming.offender(proc, ctx.sources.now())], evidence={"output": output, "watched": root},
                    hint=f"write outside of {root}, or exclude {output} from watching",
                )  # fmt: skip


def _mkdocs(ctx: Context, folder: str) -> tuple[str, str, list[str]]:
    """(docs_dir, site_dir, watch) of mkdocs.yml: three plain keys, so no YAML reader is needed."""
    try:
        text = ctx.text(f"{folder}/mkdocs.yml")
    except OSError:
        text = ""
    found, more, listing = {"docs_dir": "docs", "site_dir": "site"}, [], False
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if listing and line.strip().startswith("- "):
            more.append(line.strip()[2:].strip().strip("'\""))
            continue
        listing = key == "watch" and bool(colon)
        if key in found and value.strip():
            found[key] = value.partition(" #")[0].strip().strip("'\"")
    absolute = [f"{folder}/{path}" if not path.startswith("/") else path for path in (*found.values(), *more)]
    return absolute[0], absolute[1], absolute[2:]


def _pairs(ctx: Context, trees: dict[str, list[Proc]]) -> Iterable[Checked]:
    for root, procs in trees.items():
        if len(procs) > 1:
            named = [naming.offender(proc, ctx.sources.now()) for proc in procs]
            words = " and ".join(f"{one.name} (pid {one.pid})" for one in named[:2])
            yield CHECK.say(
                "warn", f"{len(procs)} watchers rebuild from {root}: {words}", offenders=named,
                evidence={"folder": root}, hint=f"end one of them: kill {procs[-1].pid}",
            )  # fmt: skip


def _judged(ctx: Context, root: str, procs: list[Proc], seen: Changes) -> Checked:
    rate, rebuilds = seen.events / seen.seconds, seen.most / seen.seconds * 60
    named = [naming.offender(proc, ctx.sources.now()) for proc in procs]
    evidence = {
        "folder": root,
        "seconds": round(seen.seconds, 1),
        "changes": seen.events,
        "again": seen.again[:5],
    }
    part = "; only a part of it was looked at" if seen.cut else ""
    storm = seen.most >= figures.STORM_AGAIN and rebuilds > figures.STORM_REBUILDS
    if rate > figures.STORM_EVENTS or storm:
        what = f"{seen.again[0]} changed {seen.most} times" if storm else f"{seen.events} files changed"
        words = f"{root}: {what} in {seen.seconds:.0f} s while {named[0].name} (pid {named[0].pid}) rebuilds from it"
        hint = "stop what writes there (look at the files in --json), or exclude them from watching"
        return CHECK.say("fail", words + part, offenders=named, evidence=evidence, hint=hint)
    words = f"{root} is calm: {naming.count(seen.events, 'change')} in {seen.seconds:.0f} s"
    return CHECK.say("pass", words + part, evidence=evidence)


def _rooms(ctx: Context) -> Iterable[Checked]:
    try:
        rooms = watches.rooms(ctx)
    except Missing:
        return
    for one in rooms:
        share = one.used / one.most if one.most else 0.0
        if share > figures.LIMIT_SHARE[0]:
            yield CHECK.say(
                "warn", f"{one.used:,} of {one.most:,} {one.what} of {one.user} ({share:.0%}), most by {one.names}",
                offenders=one.offenders, evidence={"used": one.used, "most": one.most},
                hint=f"sudo sysctl {one.setting}={one.most * 2}, or end what holds them",
            )  # fmt: skip


CHECK = Check(
    id="DOC-14",
    category="watchers",
    title="watcher storms",
    about=(
        "Watchers (mkdocs serve, uvicorn --reload, watchfiles, vite, tsc -w ...): over 200 changes in 10 s, "
        "or one file rebuilt over 5 times a minute, fails; output inside a watched folder, two watchers on "
        "one tree, over 80 % of the inotify watches or instances warns. Takes six seconds when a watcher "
        "runs, longer with --watch."
    ),
    run=_run,
)
