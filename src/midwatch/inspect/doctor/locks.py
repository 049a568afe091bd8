"""DOC-11: locks that somebody left: held by a process that nobody knows of, or a pid file of one that has ended.

A lock file without a holder is free, however old: it is not stale (scenario 42). A lock lives on in whoever inherited
its descriptor, while the kernel still names the dead owner (scenario 43). A pid file whose number now belongs to a
younger process blocks a start for ever. Must not open, remove or take one. Tests: tests/inspect/doctor/test_locks.py.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from midwatch.inspect.doctor.check import Check, Context, Missing
from midwatch.inspect.doctor.parts import descriptors, naming, places
from midwatch.inspect.doctor.parts.descriptors import Held
from midwatch.model.look import Checked, Offender, Proc
from midwatch.model.units import format_seconds
from midwatch.policy import defaults_inspect as figures

_PID = re.compile(rb'\A\s*(\d{1,10})\s*(?:\n|\Z)|"pid"\s*:\s*(\d{1,10})\b')


def _run(ctx: Context) -> Iterable[Checked]:
    looked = 0
    for path in places.locks(ctx):
        found = _locked(ctx, path)
        looked += found is not None
        if found is not None and found.status != "pass":
            yield found
    for path in places.index_locks(ctx):
        looked += 1
        if (left := _index(ctx, path)) is not None:
            yield left
    pid_files = 0
    for path in places.pid_files(ctx):
        pid_files += 1
        if (stale := _pid_file(ctx, path)) is not None:
            yield stale
    words = f"{naming.count(looked, 'lock file')} and {naming.count(pid_files, 'pid file')} looked at"
    partial = descriptors.scan(ctx).partial if ctx.linux else ""
    yield CHECK.say("pass", f"{words}: free, or held by who should" + (f"; {partial}" if partial else ""))


def _locked(ctx: Context, path: str) -> Checked | None:
    """One known lock file; None when there is none."""
    try:
        ctx.sources.size(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return CHECK.say("skip", f"{path}: {error.strerror}", hint="midwatch doctor --category locks as root")
    procs = ctx.sources.table().procs
    held = [one for one in _holders(ctx, path) if one.pid in procs]
    if not held:
        return CHECK.say("pass", f"{path} is free: nobody holds it")
    return _held(ctx, path, held, [procs[one.pid] for one in held])


def _holders(ctx: Context, path: str) -> list[Held]:
    if ctx.linux:
        return descriptors.locks(ctx, path)
    known = ctx.once("lsof locks", lambda: _lsof(ctx))
    return [*known.get(path, ()), *known.get(f"/private{path}", ())]


def _lsof(ctx: Context) -> dict[str, list[Held]]:
    """One question about all lock files; lsof ends with 1 when one of them is open nowhere."""
    there = []
    for path in places.locks(ctx):
        try:
            ctx.sources.size(path)
        except OSError:
            continue
        there.append(path)
    if not there:
        return {}
    try:
        ran = ctx.sources.run(("lsof", "-nP", "-Fpfln", *there))
    except OSError as error:
        raise Missing(f"lsof cannot be run: {error.strerror or error}", "install lsof") from None
    if ran.late:
        raise Missing("lsof gave no answer in time", "lsof -nP " + there[0])
    found: dict[str, list[Held]] = {}
    pid, fd, locked = 0, "", False
    for line in ran.out.splitlines():
        kind, value = line[:1], line[1:]
        if kind == "p":
            pid = int(value) if value.isdigit() else 0
        elif kind == "f":
            fd, locked = value, False
        elif kind == "l":
            locked = bool(value.strip())
        elif kind == "n" and locked:
            found.setdefault(value, []).append(Held(pid, fd, "FLOCK", pid))
    return found


def _held(ctx: Context, path: str, held: list[Held], holders: list[Proc]) -> Checked:
    procs, now = ctx.sources.table().procs, ctx.sources.now()
    owners = {one.owner for one in held if one.kind == "FLOCK"}
    inherited = bool(owners) and not owners & {one.pid for one in held}
    offenders = [naming.offender(proc, now, _kin(proc, procs)) for proc in _unique(holders)]
    oldest = min(proc.started for proc in holders)
    age = max(0.0, now - oldest)
    evidence = {"path": path, "state": "held-live", "locks": [list(one) for one in held]}
    task = path in places.tasks(ctx)
    if inherited:
        dead = min(owners)
        gone = "which has ended" if dead not in procs else "which does not have it open any more"
        heir = f"{offenders[0].name} (pid {offenders[0].pid})"
        words = f"{path} was locked by process {dead}, {gone}; {heir} inherited it"
        return CHECK.say(
            "fail" if task else "warn", words, offenders=offenders,
            evidence=evidence | {"state": "held-by-inheritance", "owner": dead},
            hint=f"kill {offenders[0].pid}, and close the descriptor in children (9>&- in a shell)",
        )  # fmt: skip
    words = f"{path} is held by {offenders[0].name} (pid {offenders[0].pid}, {format_seconds(age)} old)"
    if age <= figures.LOCK_OLD or not task:  # who serves holds its lock as long as it lives
        return CHECK.say("pass", words, offenders=offenders, evidence=evidence)
    orphan = any(proc.ppid == 1 for proc in holders)
    hint = f"midwatch why {offenders[0].pid}" if not orphan else f"kill {offenders[0].pid} if nobody needs it"
    return CHECK.say("warn", words, offenders=offenders, evidence=evidence, hint=hint)


def _kin(proc: Proc, procs: dict[int, Proc]) -> str:
    parent = procs.get(proc.ppid)
    return "its parent has ended" if parent is None or proc.ppid == 1 else f"child of {parent.name}"


def _unique(holders: list[Proc]) -> list[Proc]:
    return list({proc.pid: proc for proc in holders}.values())


def _index(ctx: Context, path: str) -> Checked | None:
    """git's index.lock: its mere existence is the lock, so without a git at work it blocks for ever."""
    now = ctx.sources.now()
    try:
        _, mtime = ctx.sources.size(path)
    except OSError:
        return None
    gits = [proc for proc in ctx.sources.table().procs.values() if proc.name.startswith("git")]
    if gits or ctx.sources.table().hidden or now - mtime < figures.LOCK_FRESH:
        return None
    age = format_seconds(max(0.0, now - mtime))
    words = f"{path} has been there for {age} and no git runs: every commit in that folder fails"
    return CHECK.say("fail", words, offenders=[Offender("file", path)], hint=_remove(path), fix=("rm", path))


def _pid_file(ctx: Context, path: str) -> Checked | None:
    """A pid file of a process that has ended, or whose number went to a younger one."""
    try:
        data, (_, mtime) = ctx.sources.read(path, 4096), ctx.sources.size(path)
    except OSError:
        return None
    match = _PID.search(data)
    pid = int(match[1] or match[2]) if match else 0
    if pid <= 1:
        return None
    proc = ctx.sources.table().procs.get(pid)
    evidence = {"path": path, "pid": pid, "written": mtime}
    if proc is None:
        if ctx.sources.table().hidden or mtime > ctx.sources.table().at:
            return None  # it may be there and not be shown to us, or have begun since we looked
        words = f"{path} names process {pid}, which has ended; a program that only looks at the file will not start"
        return _stale("warn", path, words, evidence)
    if proc.started <= mtime + figures.PID_SLACK or _named(path, proc):
        return None
    words = (
        f"{path} names process {pid}, but that is {naming.short(proc, 40)} now, which started after the file"
    )
    return _stale("fail", path, words + ": it blocks the start of whoever wrote it", evidence)


def _named(path: str, proc: Proc) -> bool:
    """Is it called like its file? Then the clock was set after the file was written, and it is no stranger."""
    stem = path.rpartition("/")[2].partition(".")[0].lower()
    words = [proc.name, *(word.rpartition("/")[2] for word in proc.argv[:3])]
    return len(stem) > 2 and any(word.lower().startswith(stem) for word in words)


def _remove(path: str) -> str:
    return shlex.join(("rm", path))


def _stale(status: str, path: str, words: str, evidence: dict[str, object]) -> Checked:
    return CHECK.say(
        "fail" if status == "fail" else "warn", words, offenders=[Offender("file", path)], evidence=evidence,
        hint=_remove(path), fix=("rm", path),
    )  # fmt: skip


CHECK = Check(
    id="DOC-11",
    category="locks",
    title="stale locks",
    about=(
        "Lock files of uv, cargo, apt, dpkg, git and others, and pid files, in /run, the home's dot folders "
        "and the folders given. A file nobody holds is free. An installer's lock held for over ten minutes "
        "warns; a lock held by a process that inherited it from one that has ended warns, of an installer it "
        "fails; a pid file of an ended process warns, of a recycled pid fails."
    ),
    run=_run,
)
