"""The steps of a recovery one by one: what each would do, to whom, for how much. A word instead of a step: why not.

Every target carries what must be unchanged when it is acted upon. Must not act. Tests: tests/inspect/test_recover.py.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

from midwatch.inspect.leftovers.kinds import AGENT
from midwatch.inspect.recover.plan import Aim, Step
from midwatch.inspect.sources import Sources, Table
from midwatch.model.look import Leftover
from midwatch.policy.defaults_inspect import RECOVER_CACHE, RECOVER_WAL

if TYPE_CHECKING:
    from midwatch.inspect.recover.order import Facts, Service

_LOOPING = ("backoff", "degraded")
_STOPPED = ("stopped", "done", "gave_up", "held")
_CACHES = (  # folder below the home (Linux, macOS), what prunes it
    (".cache/uv", "Library/Caches/uv", "uv cache prune"),
    (".npm", ".npm", "npm cache clean --force"),
    (".cache/pip", "Library/Caches/pip", "pip cache purge"),
    (".cache/ms-playwright", "Library/Caches/ms-playwright", "npx playwright uninstall --all"),
    (".cache/puppeteer", ".cache/puppeteer", "npx puppeteer browsers clear"),
    (".cache/huggingface", ".cache/huggingface", "hf cache prune"),
)


def snapshot(folder: str) -> Step | str:
    """0: what it looked like, before anything is touched."""
    if not folder:
        return "there is no folder for a record"
    return Step(
        "snapshot", "write down what it looks like", "midwatch doctor --json", (Aim("folder", folder, "new file"),),
        "what was before cannot be asked afterwards", "nothing is changed", "none", gain=0,
    )  # fmt: skip


def services(known: Iterable[Service], protected: tuple[str, ...] = ()) -> Step | str:
    """1: services of ours that only start and die."""
    loops = [one for one in known if one.state in _LOOPING and one.id not in protected]
    if not loops:
        return "no service of midwatch is in a crash loop (protected ones are left alone)"
    names = " ".join(one.id for one in loops)
    return Step(
        "services", "stop services of midwatch that only crash", f"midwatch stop {names}",
        tuple(Aim("service", one.id, one.state, held=one.held, detail=one.words) for one in loops),
        "each start takes memory and time and gives nothing", f"midwatch start {names}", "low",
        gain=sum(one.held or 0 for one in loops),
    )  # fmt: skip


def leftovers(lost: list[Leftover]) -> Step | str:
    """2: what nobody owns."""
    if not lost:
        return "there are no leftovers"
    return Step(
        "leftovers", "end leftovers: TERM, 5 s, KILL", "midwatch sweep --yes", _processes(lost),
        "nobody owns them; each with its proof in 'midwatch sweep'", "the undo list has the commands", "low",
        gain=_held(lost),
    )  # fmt: skip


def copies(lost: list[Leftover]) -> Step | str:
    """2: duplicate helpers below parents that live. Somebody else's, so only when it is named."""
    if not lost:
        return "no server runs in many copies"
    return Step(
        "copies", "end old copies of servers below living parents", "midwatch sweep --pile-ups --yes", _processes(lost),
        "many copies of the same server; the newest of each stays", "their parents start them again when needed",
        "medium", gain=_held(lost), asks=True,
    )  # fmt: skip


def _processes(lost: list[Leftover]) -> tuple[Aim, ...]:
    return tuple(
        Aim("process", one.group, str(one.proc.start), one.proc.pid, one.proc.held, one.reason)
        for one in lost
    )


def _held(lost: list[Leftover]) -> int:
    return sum(one.proc.held or 0 for one in lost)


def stacks(sources: Sources, facts: Facts) -> Step | str:
    """3: compose stacks that do nothing."""
    from midwatch.inspect.containers import NoEngine, idle_stacks

    if facts.stacks is None:
        try:
            facts.stacks = idle_stacks(sources)
        except NoEngine as none:
            return f"not looked at: {none.why}; {none.how}"
    found = facts.stacks
    if not found:
        return "no idle compose stack runs"
    aims = tuple(
        Aim("container", target.name, str(target.started), detail=f"{one.project}: {one.why}")
        for one in found
        for target in one.targets
    )
    return Step(
        "stacks", "stop idle compose stacks (not down, volumes stay; those with data last)",
        "; ".join(f"docker compose -p {shlex.quote(one.project)} stop -t 30" for one in found), aims,
        "they did nothing while they were watched", "docker compose start, by project", "medium",
        gain=sum(one.held for one in found),
    )  # fmt: skip


def vm(sources: Sources) -> Step | str:
    """4: the containers' virtual machine, when DOC-7 says that it holds far more than its containers."""
    from midwatch.inspect.containers import vm as machines
    from midwatch.inspect.doctor.check import Context
    from midwatch.inspect.doctor.containers.vmhigh import CHECK

    if sources.platform not in CHECK.platforms:
        return "containers here run without a virtual machine"
    bad = [told for told in CHECK.run(Context(sources)) if told.status == "fail"]
    if not bad:
        return "no virtual machine holds far more than its containers"
    told = max(bad, key=lambda one: int(one.evidence.get("excess_bytes", 0)))
    who = told.offenders[0]
    machine = next((one for one in machines.find(sources) if one.proc.pid == who.pid), None)
    restart = shlex.join(machine.restart) if machine is not None and machine.restart else ""
    return Step(
        "vm", f"restart {who.name}'s virtual machine",
        restart or f"quit {who.name}, wait until it is gone, start it again",
        (Aim("app", who.name, str(who.start), who.pid, int(told.evidence.get("vm_bytes", 0)), told.message),),
        "its memory does not shrink by itself; a restart of the host is never needed for that",
        "its containers stop; those with a restart policy come back", "medium",
        gain=int(told.evidence.get("excess_bytes", 0)),
    )  # fmt: skip


def sessions(sources: Sources, table: Table, facts: Facts) -> Step | str:
    """5: agents and browsers, listed and never closed."""
    from midwatch.inspect.agents import load
    from midwatch.inspect.look.sessions import sessions as known
    from midwatch.inspect.look.trees import grow

    found = [one for one in known(sources, grow(table, load(), facts.ours), {}) if one.agent.role in AGENT]
    idle = [one for one in found if one.activity == "idle"]
    if not idle:
        return "no idle agent session was seen"
    return Step(
        "sessions", "close idle agent sessions yourself", "type exit in them",
        tuple(
            Aim("process", one.agent.title, str(one.root.start), one.root.pid, one.tree.held,
                f"idle for {round(one.idle_s / 60)} min at {one.root.tty}" if one.idle_s else "")
            for one in idle
        ),
        "midwatch never closes a session: only you know what is in it", "agents can resume", "none",
        gain=sum(one.tree.held or 0 for one in idle), acts=False,
    )  # fmt: skip


def logs(sources: Sources, known: Iterable[Service]) -> Step | str:
    """6: write-ahead logs of services that are stopped."""
    aims = []
    for one in known:
        for path in one.databases if one.state in _STOPPED else ():
            try:
                size = sources.size(f"{path}-wal")[0]
            except OSError:
                continue
            if size >= RECOVER_WAL:
                aims.append(Aim("file", path, str(size), detail=f"of {one.id}, which is {one.state}"))
    if not aims:
        return "no stopped service has a large write-ahead log"
    return Step(
        "wal", "truncate write-ahead logs of stopped services", "; ".join(
            f"sqlite3 {shlex.quote(aim.name)} 'PRAGMA wal_checkpoint(TRUNCATE)'" for aim in aims),
        tuple(aims), "disk: their content goes into the database, and the log's file shrinks",
        "not needed: no data is lost", "low", gain=0, disk=sum(int(aim.mark) for aim in aims), asks=True,
    )  # fmt: skip


def caches(sources: Sources) -> Step | str:
    """7: caches that their own tools can prune; suggestions."""
    aims, commands = [], []
    for linux, mac, command in _CACHES:
        path = os.path.join(sources.home, mac if sources.platform == "darwin" else linux)
        try:
            entries = len(sources.names(path, 10_000))
        except OSError:
            continue
        if entries >= RECOVER_CACHE:
            aims.append(Aim("folder", path, f"{entries} entries"))
            commands.append(command)
    if not aims:
        return "no known cache was found"
    return Step(
        "caches", "prune caches yourself (disk, not memory)", "; ".join(commands), tuple(aims),
        "their tools fetch again what is needed", "fetched again when needed", "low", gain=0, acts=False,
    )  # fmt: skip
