"""DOC-8: compose stacks that nobody meant to run: several at once, the same from two folders, one whose folder is gone.

And volumes that no container uses. One project made of several files is one stack. Tests:
tests/inspect/doctor/containers/test_stacks.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from midwatch.inspect.containers import Picture, Seen
from midwatch.inspect.containers.idle import projects
from midwatch.inspect.doctor.check import Check, Context
from midwatch.inspect.doctor.containers import common
from midwatch.model.look import Checked, Offender
from midwatch.model.units import format_bytes
from midwatch.policy import defaults_inspect as figures


def _run(ctx: Context) -> Iterable[Checked]:
    found = common.seen(ctx)
    told = [
        (picture, name, members) for picture in found.pictures for name, members in projects(picture).items()
    ]
    bad = [_offender(name, folder, words) for picture, name, members in told
           for folder, words in _wrong(ctx, picture, {one.folder for one in members})]  # fmt: skip
    if len(told) > 1:
        named = [
            _offender(name, members[0].folder, f"{len(members)} containers") for _, name, members in told
        ]
        words = f"{len(told)} compose stacks run at once: {', '.join(sorted(name for _, name, _ in told))}"
        yield CHECK.say("warn", words, offenders=[*named, *bad], hint=_down(told[-1][1]))
    elif bad:
        yield CHECK.say(
            "warn", f"the stack {bad[0].name} {bad[0].detail}", offenders=bad, hint=_down(bad[0].name)
        )
    else:
        yield CHECK.say("pass", f"one compose stack runs: {told[0][1]}" if told else "no compose stack runs")
    yield from _volumes(found)


def _wrong(ctx: Context, picture: Picture, folders: set[str]) -> Iterable[tuple[str, str]]:
    known = sorted(folder for folder in folders if folder)
    if len(known) > 1:
        yield known[0], f"was started from several folders: {', '.join(known)}"
    ours = (picture.engine.here or picture.engine.desktop) and not ctx.sources.recorded  # a recording has few folders
    for folder in known if ours else ():
        try:
            ctx.sources.names(folder, 1)
        except FileNotFoundError:
            yield folder, f"runs, but its folder {folder} is gone"
        except OSError:
            continue


def _offender(name: str, folder: str, words: str) -> Offender:
    return Offender(
        "service", name, detail=f"{words}{f' ({folder})' if folder and folder not in words else ''}"
    )


def _down(project: str) -> str:
    return f"docker compose -p {project} stop (keeps its data), for the one that is not needed"


def _volumes(found: Seen) -> Iterable[Checked]:
    for picture in found.pictures:
        volumes = picture.volumes
        if volumes is None or not volumes.names:
            continue
        room = f", {format_bytes(volumes.held)}" if volumes.held is not None else ", their size is not known"
        many = (volumes.held or 0) >= figures.VOLUMES_HELD
        yield CHECK.say(
            "warn" if many else "pass",
            f"{len(volumes.names)} volumes that no container uses{room}",
            offenders=[Offender("volume", name) for name in volumes.names[:20]],
            evidence={"count": len(volumes.names), "held_bytes": volumes.held},
            hint=f"look first: {picture.engine.kind} volume ls -f dangling=true" if many else "",
        )


CHECK = Check(
    id="DOC-8",
    category="containers",
    title="compose stacks and volumes",
    about=(
        "Two or more compose projects that run at once warn, with their names; so does one that was started from two "
        "folders or whose folder is gone. Volumes that no container uses are counted; from 5 GB on they warn."
    ),
    run=_run,
)
