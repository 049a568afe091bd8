"""DOC-23: SQLite's write-ahead logs that somebody has open: too large, deleted under their writer, on a network disk.

By stat and descriptors alone: no database is opened. A large log that does not grow does no harm until the disk is
full; leaving WAL mode is never proposed. Size and number of connections are separate facts (WAL-6).
Tests: tests/inspect/doctor/test_wal.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from midwatch.inspect.doctor.check import Check, Context
from midwatch.inspect.doctor.parts import descriptors, naming
from midwatch.inspect.look.forecast_files import wal_state
from midwatch.model.look import Checked, Offender
from midwatch.model.units import format_bytes
from midwatch.policy import defaults_inspect as figures

_GONE = " (deleted)"
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "fuse.sshfs", "afpfs", "smbfs", "webdav"}


def _run(ctx: Context) -> Iterable[Checked]:
    held, partial = _held(ctx)
    networks = _networks(ctx)
    bad = 0
    for path, holders in sorted(held.items()):
        for found in _one(ctx, path, holders, networks):
            bad += 1
            yield found
    if not bad:
        words = f"{naming.count(len(held), 'write-ahead log')} in use, none too large"
        yield CHECK.say("pass", words + (f"; {partial}" if partial else ""))


def _held(ctx: Context) -> tuple[dict[str, Counter[int]], str]:
    """Log -> pid -> connections; on a Mac one a process."""
    found: dict[str, Counter[int]] = {}
    wanted = set(_pids(ctx))
    if not ctx.linux:
        scan = descriptors.counted(ctx)
        for path, pids in scan.wals.items():
            found[path] = Counter(pid for pid in pids if not wanted or pid in wanted)
        return found, "it took too long: not all were read" if scan.cut else ""
    seen = descriptors.scan(ctx)
    for pid, files in seen.open.items():
        for target in files.values():
            if target.removesuffix(_GONE).endswith("-wal") and (not wanted or pid in wanted):
                found.setdefault(target, Counter())[pid] += 1
    return found, seen.partial


def _pids(ctx: Context) -> Iterable[int]:
    for service in ctx.services:
        if ctx.name == service.id:
            yield from (*service.pids, *([service.pid] if service.pid else []))


def _one(ctx: Context, path: str, holders: Counter[int], networks: list[str]) -> Iterable[Checked]:
    if not holders:
        return
    procs, now = ctx.sources.table().procs, ctx.sources.now()
    named = [
        naming.offender(procs[pid], now, naming.count(number, "connection"))
        for pid, number in holders.most_common()
        if pid in procs
    ]
    who = ", ".join(f"{one.name} (pid {one.pid})" for one in named[:2]) or "a process that has just ended"
    evidence = {"path": path, "connections": sum(holders.values()), "holders": dict(holders)}
    if path.endswith(_GONE):
        words = (
            f"{who} writes to {path.removesuffix(_GONE)}, which is deleted: what it commits is lost with it"
        )
        yield CHECK.say(
            "fail",
            words,
            offenders=named,
            evidence=evidence,
            hint="restart it, and find who deletes the file",
        )
        return
    base = path.removesuffix("-wal")
    if network := next((kind for kind in networks if path.startswith(kind.partition(" ")[2] + "/")), ""):
        words = f"{base} is in WAL mode on {network.partition(' ')[0]}: shared memory does not work there, it can break"
        yield CHECK.say(
            "fail", words, offenders=named, evidence=evidence, hint="move the database to a local disk"
        )
    try:
        size, db, free = ctx.sources.size(path)[0], ctx.sources.size(base)[0], _free(ctx, path)
    except OSError:
        return
    state = wal_state(size, db, free)
    if state == "calm":
        return
    words = f"the write-ahead log of {base} holds {format_bytes(size)}, the database {format_bytes(db)}"
    words += f"; open in {who}; not truncated, which does no harm until the disk is full"
    yield CHECK.say(
        "fail" if state == "danger" else "warn", words,
        offenders=[*named, Offender("file", path)], evidence=evidence | {"wal_bytes": size, "db_bytes": db},
        hint="end the oldest reader, or close connections after use; then PRAGMA wal_checkpoint(TRUNCATE)",
    )  # fmt: skip


def _free(ctx: Context, path: str) -> int | None:
    try:
        return ctx.sources.space(path.rpartition("/")[0])[1]
    except OSError:
        return None


def _networks(ctx: Context) -> list[str]:
    """ "KIND MOUNTPOINT" of file systems that lie elsewhere, the deepest first."""
    try:
        rows = [line.split() for line in ctx.text("/proc/mounts").splitlines()[: figures.MOUNTS]]
    except OSError:
        return []
    found = [f"{row[2]} {row[1]}" for row in rows if len(row) > 2 and row[2] in _NETWORK]
    return sorted(found, key=len, reverse=True)


CHECK = Check(
    id="DOC-23",
    category="disk",
    title="SQLite logs",
    about=(
        "Write-ahead logs in use: 64 MiB, or a quarter of the database, warns; 1 GiB, half of the database "
        "and 256 MiB, or a tenth of the free disk fails; a deleted log with a writer, or WAL mode on a "
        "network disk, fails. Nothing is opened."
    ),
    run=_run,
    services=True,
)
