"""`midwatch sweep`: remove what nobody owns, each with its proof. A dry run unless told otherwise.

Shows first, asks on a terminal, acts with --yes. Pile-ups below a living parent, and orphans that may still be of use,
are offered apart and never swept unasked. Must not judge who is a leftover. Tests: tests/front/test_sweep.py.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from midwatch.engine.client import ClientError
from midwatch.engine.layout import Layout
from midwatch.front.cli import instances
from midwatch.front.cli.declare import JSON, Arg, Failure, Opt, Usage, Verb
from midwatch.front.cli.jobs import seconds
from midwatch.front.cli.owning import gather
from midwatch.front.cli.render import plain, say_json, size, width
from midwatch.front.cli.sweep_screen import done_lines, found_lines, row
from midwatch.inspect.leftovers import kinds as leftovers_kinds
from midwatch.inspect.leftovers.find import find, why_not
from midwatch.inspect.ours import Ours, lineage
from midwatch.inspect.recover.measure import measure
from midwatch.inspect.sources import Sources, Table
from midwatch.inspect.sources.live import Live
from midwatch.inspect.sweep.ending import Ended, Sweep, hands
from midwatch.inspect.sweep.undo import entries, write
from midwatch.model.look import Leftover


class Seen(NamedTuple):
    """One look."""

    sources: Sources
    table: Table
    found: list[Leftover]


def ours() -> Ours:
    """What is ours; a daemon that does not answer is told by its records."""
    try:
        return gather(instances.look())
    except ClientError:
        return gather(instances.look(record_only=True))


def look(known: Ours) -> Seen:
    """This machine now."""
    sources = Live()
    table = sources.table()
    return Seen(sources, table, find(sources, table, known))


def _run(
    pids: list[str], yes: bool, dry_run: bool, pile_ups: bool, env: str | None, grace: str | None, json: bool
) -> int:
    if yes and dry_run:
        raise Usage("--yes and --dry-run say the opposite; nothing was done")
    numbers = _numbers(pids)
    patience = seconds(grace, "--grace", -1.0)
    known = ours()
    seen = look(known)
    found = scoped(seen, env)
    chosen = choose(seen, found, known, numbers, pile_ups)
    act = yes or (not dry_run and not json and _asked(seen, found, chosen))
    if not act:
        _say_found(seen, found, chosen, json, asked=not (yes or dry_run or json) and sys.stdin.isatty())
        return 1 if found else 0
    if not chosen:
        _say_found(seen, found, chosen, json, asked=False)
        return 1 if found else 0
    before = measure(seen.sources).available
    done, undo = end(seen, chosen, known, patience)
    _say_done(done, undo, json, before, measure(Live()).available)
    return 1 if any(one.action in ("left", "kept") for one in done) else 0


def _numbers(words: list[str]) -> list[int]:
    wrong = [word for word in words if not word.isdigit()]
    if wrong:
        raise Usage(
            f"{wrong[0]!r} is no process number: leftovers are named by pid, never by name; nothing was done"
        )
    return [int(word) for word in words]


def scoped(seen: Seen, env: str | None) -> list[Leftover]:
    """Those whose environment has NAME or NAME=VALUE."""
    if env is None:
        return seen.found
    name, equals, value = env.partition("=")
    kept = []
    for one in seen.found:
        try:
            variables = leftovers_kinds.environment(seen.sources.read(f"/proc/{one.proc.pid}/environ"))
        except OSError:
            continue
        if name in variables and (not equals or variables[name] == value):
            kept.append(one)
    return kept


def choose(seen: Seen, found: list[Leftover], known: Ours, pids: list[int], pile_ups: bool) -> list[Leftover]:
    """Those that would be ended. Raises Failure for a pid that is no leftover, with the reason."""
    by_pid = {one.proc.pid: one for one in found}
    for pid in pids:
        if pid not in by_pid:
            why = why_not(seen.sources, seen.table, known, pid) or "it is outside of what was asked for"
            raise Failure(f"pid {pid} is not swept: {plain(why)}; nothing was done")
    if pids:  # with what hangs below them: a wrapper's end would only orphan its server once more
        return [
            one for one in found if any(above.pid in pids for above in lineage(one.proc, seen.table.procs))
        ]
    return [one for one in found if one.certain or (pile_ups and one.respawns)]


def _asked(seen: Seen, found: list[Leftover], chosen: list[Leftover]) -> bool:
    """On a terminal: show and ask."""
    if not chosen or not sys.stdin.isatty() or not sys.stdout.isatty():
        return False
    print("\n".join(found_lines(seen.table, found, width())))
    held = sum(one.proc.held or 0 for one in chosen)
    answer = input(
        f"\nEnd these {len(chosen)} processes ({size(held)})? TERM first, KILL for who stays [y/N] "
    )
    return answer.strip().lower() in ("y", "yes")


def end(seen: Seen, chosen: list[Leftover], known: Ours, grace: float) -> tuple[list[Ended], str]:
    """Act; returns what came of each, and where the undo list is."""
    try:
        touching = hands()
    except NotImplementedError as error:
        raise Failure(str(error)) from None
    home = Layout.default().home
    written: list[str] = []

    def note(targets: list[Leftover]) -> None:
        try:
            path = write(home, "sweep", entries(seen.sources, targets), seen.sources.now())
        except OSError as error:
            why = error.strerror or error
            raise Failure(
                f"the undo list cannot be written below {home} ({why}); nothing was ended"
            ) from None
        written.append(str(path))

    def again() -> tuple[list[Leftover], Table]:
        now = look(known)
        return now.found, now.table

    options: dict[str, Any] = {} if grace < 0 else {"grace": grace}
    done = Sweep(again, touching, **options).run(chosen, note)
    return done, written[0] if written else ""


def _say_found(seen: Seen, found: list[Leftover], chosen: list[Leftover], json: bool, asked: bool) -> None:
    if json:
        picked = {one.proc.pid for one in chosen}
        rows = [row(one, "would end" if one.proc.pid in picked else "offered apart") for one in found]
        say_json({"acted": False, "leftovers": rows, "missing": list(seen.table.hidden)})
    elif asked and chosen:
        print("nothing was done")
    else:
        print("\n".join(found_lines(seen.table, found, width())))


def _say_done(done: list[Ended], undo: str, json: bool, before: int | None, after: int | None) -> None:
    if json:
        rows = [{**row(one.left, one.action), "words": one.words} for one in done]
        memory = {"available_before": before, "available_after": after}
        freed = sum(one.freed for one in done)
        say_json({"acted": True, "leftovers": rows, "freed_bytes": freed, "memory": memory, "undo": undo})
        return
    print("\n".join(done_lines(done, undo, before, after, width())))


VERB = Verb(
    name="sweep",
    help="Remove leftovers: processes that are proven to be nobody's.",
    detail=(
        "Without --yes nothing is done (on a terminal it asks). A leftover has lost its parent; is a known "
        "helper, an agent, an agent's task or of a dead run of midwatch; cannot be reached by anybody any "
        "more; and is none of the protected: whatever midwatch itself runs below, ssh, login shells, editors, "
        "multiplexers, databases, jobs of systemd, containers, other users' processes, stopped ones, what is "
        "younger than a minute, and everything of midwatch. Each is proven once more before TERM, and checked "
        "to be the same process before KILL. An undo list is written first. Copies that pile up below a "
        "living parent, and orphans that listen or work, are offered apart: only --pile-ups or their pid ends "
        "them. A pid that is no leftover is refused, with the reason. Only Linux can prove enough; elsewhere "
        "nothing is swept."
    ),
    examples=(
        "midwatch sweep",
        "midwatch sweep --yes",
        "midwatch sweep --pile-ups --yes",
        "midwatch sweep 4711 --yes",
    ),
    run=_run,
    opts=(
        Opt("yes", ("--yes",), "End them without asking."),
        Opt("dry_run", ("--dry-run",), "Only show; do not even ask."),
        Opt("pile_ups", ("--pile-ups",), "Also copies below a living parent, but the newest of each."),
        Opt(
            "env", ("--env",), "Only those with this variable, e.g. CLAUDECODE or NAME=VALUE.", "text", "NAME"
        ),
        Opt("grace", ("--grace",), "Between TERM and KILL; default 5s.", "text", "TIME"),
        JSON,
    ),
    arg=Arg("pids", "PID", "only these, of those that are shown.", many=True),
    codes="Exit codes: 0 nothing found, or all done; 1 something is left (a dry run: found); 2 usage.",
)
