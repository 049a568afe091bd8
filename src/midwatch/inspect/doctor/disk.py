"""DOC-17: how full are the disks that matter here: where one works, our state, containers, /tmp, caches.

A disk is told once, by the first folder that is on it. Small file systems have small absolute lines: a quarter and a
twentieth of themselves. Tests: tests/inspect/doctor/test_disk.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from midwatch.inspect.doctor.check import Check, Context, Missing
from midwatch.model.look import Checked, Offender, Status
from midwatch.model.units import format_bytes
from midwatch.policy import defaults_inspect as figures


def _run(ctx: Context) -> Iterable[Checked]:
    seen: set[tuple[int, int, int]] = set()
    unread: list[str] = []
    for path in folders(ctx):
        try:
            total, free, inodes, left = ctx.sources.space(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            unread.append(f"{path}: {error.strerror}")
            continue
        if not total or (total, inodes, free >> 24) in seen:
            continue
        seen.add((total, inodes, free >> 24))
        yield _disk(ctx, path, total, free, inodes, left)
    for words in unread:
        yield CHECK.say("skip", f"cannot be looked at: {words}", hint=f"df {words.partition(':')[0]}")
    if not seen and not unread:
        raise Missing("no folder's disk can be told", "df -h")


def folders(ctx: Context) -> list[str]:
    """Whose disks matter, the most telling first."""
    home = ctx.sources.home
    state = f"{home}/.local/state" if ctx.linux else f"{home}/Library/Application Support"
    docker = "/var/lib/docker" if ctx.linux else f"{home}/Library/Containers/com.docker.docker"
    return list(dict.fromkeys(["/", home, *ctx.paths, state, f"{home}/.cache", "/tmp", docker]))


def _disk(ctx: Context, path: str, total: int, free: int, inodes: int, left: int) -> Checked:
    worst = _line(free, total, figures.DISK_LEFT)
    share = free / total
    words = f"{format_bytes(free)} of {format_bytes(total)} free on the disk of {path} ({share:.0%})"
    status: Status = worst
    if inodes:
        kind = (
            "fail"
            if left / inodes < figures.DISK_SHARE[1]
            else "warn"
            if left / inodes < figures.DISK_SHARE[0]
            else ""
        )
        if kind == "fail" or (kind == "warn" and status == "pass"):
            status = "fail" if kind == "fail" else "warn"
            words = f"{left:,} of {inodes:,} inodes free on the disk of {path} ({left / inodes:.1%}); {words}"
    evidence = {"path": path, "total_bytes": total, "free_bytes": free, "inodes": inodes, "inodes_free": left}
    if status == "pass":
        return CHECK.say("pass", words, evidence=evidence)
    growers = grown(ctx)
    hint = growers[0].detail if growers else f"du -xh -d1 {path} | sort -h | tail"
    return CHECK.say(status, words, offenders=growers, evidence=evidence, hint=hint)


def _line(free: int, total: int, absolute: tuple[int, int]) -> Status:
    warn = max(figures.DISK_SHARE[0] * total, min(absolute[0], total / 4))
    fail = max(figures.DISK_SHARE[1] * total, min(absolute[1], total / 20))
    return "fail" if free < fail else "warn" if free < warn else "pass"


def grown(ctx: Context) -> list[Offender]:
    """Single files and folders that are known to grow, the largest first; `detail` is what makes them smaller."""
    home = ctx.sources.home
    known = {
        f"{home}/Library/Containers/com.docker.docker/Data/vms/0/data/Docker.raw": "docker system prune",
        f"{home}/.orbstack/data/data.img": "docker system prune",
        "/var/log/syslog": "sudo journalctl --vacuum-size=500M",
        "/var/log/kern.log": "sudo logrotate -f /etc/logrotate.conf",
    }
    folders_known = {
        f"{home}/.cache/uv/archive-v0": "uv cache prune",
        f"{home}/.npm/_cacache/content-v2": "npm cache verify",
    }
    found: list[tuple[int, Offender]] = []
    for path, cure in known.items():
        try:
            size = ctx.sources.size(path)[0]
        except OSError:
            continue
        if size >= figures.GROWER:
            found.append((size, Offender("file", f"{path}: {format_bytes(size)}", detail=cure)))
    for path, cure in folders_known.items():
        try:
            entries = len(ctx.sources.names(path))
        except OSError:
            continue
        if entries >= figures.GROWER_ENTRIES:
            found.append((entries, Offender("file", f"{path}: {entries:,} entries", detail=cure)))
    return [one for _, one in sorted(found, key=lambda pair: -pair[0])]


CHECK = Check(
    id="DOC-17",
    category="disk",
    title="disk space",
    about=(
        "Free space and inodes of the disks of /, the home, the folders given, our state, containers, caches "
        "and /tmp: under 10 % or 10 GiB warns, under 5 % or 2 GiB fails (small disks: a quarter, a twentieth "
        "of them); inodes by the same shares. Names what is known to grow."
    ),
    run=_run,
)
