"""What the services of a file need of each other: names to ids, the state each has to reach, no cycle, no
nonsense.

A name with `instances` means all of them; "project/name" means a service of another project, which nobody
can check here. Must not decide who starts when (policy/fleet.py).
"""

from __future__ import annotations

import msgspec

from midwatch.config.build import Draft
from midwatch.config.problems import Report, nearest, quoted
from midwatch.config.tables import Path
from midwatch.model.service import Need, ServiceSpec


def settle(report: Report, project: str, drafts: list[Draft]) -> list[ServiceSpec]:
    """The specs of all drafts with their needs; duplicates, unknown needs and cycles are reported."""
    owners: dict[str, Draft] = {}
    for draft in drafts:
        for spec in draft.specs:
            if spec.name in owners:
                other = owners[spec.name]
                message = f"the instance {quoted(spec.name)} has the name of another service"
                place = report.place(other.base)[0]
                report.error(draft.base, message, f"the other is at line {place}; rename one")
            owners.setdefault(spec.name, draft)
    groups = {draft.name: [spec.name for spec in draft.specs] for draft in drafts}
    names = {name: [name] for name in owners} | groups
    edges: dict[str, dict[str, Path]] = {}
    specs = []
    for draft in drafts:
        needs, edges[draft.name] = _needs(report, project, draft, names, owners)
        specs += [
            msgspec.structs.replace(spec, rules=msgspec.structs.replace(spec.rules, needs=needs))
            for spec in draft.specs
        ]
    _cycles(report, edges)
    return specs


def _needs(
    report: Report, project: str, draft: Draft, names: dict[str, list[str]], owners: dict[str, Draft]
) -> tuple[dict[str, Need], dict[str, Path]]:
    """Service id -> state, and which service of this file is needed where (for the search of cycles)."""
    needs: dict[str, Need] = {}
    edges: dict[str, Path] = {}
    for at, (name, state) in enumerate((draft.values["needs"] or {}).items()):
        path = _place(report, draft, name, at)
        if "/" in name and not name.startswith(f"{project}/"):
            if name.count("/") != 1 or name.startswith("/") or name.endswith("/"):
                report.error(
                    path,
                    f"{quoted(name)} is not a service",
                    "write NAME, or PROJECT/NAME for another project",
                )
            needs[name] = (
                state or "ready"
            )  # without a probe it is ready at once, so this waits for no more than it must
            continue
        local = name.removeprefix(f"{project}/")
        if local not in names:
            close = nearest(local, sorted(names))
            known = ", ".join(sorted(names)[:10])
            report.error(
                path,
                f"there is no service {quoted(name)}",
                f"did you mean {close}?" if close else f"known: {known}",
            )
            continue
        needed = owners[names[local][0]]
        _check(report, path, needed, local, state)
        edges.setdefault(needed.name, path)
        for each in names[local]:
            needs[f"{project}/{each}"] = state or _usual(needed)
    return needs, edges


def _place(report: Report, draft: Draft, name: str, at: int) -> Path:
    """Where one need is written: in the list or in the table."""
    base = draft.values.path("needs")
    return (*base, name) if (*base, name) in report.places else (*base, at)


def _usual(needed: Draft) -> Need:
    """What is waited for when nothing is said."""
    rules = needed.specs[0].rules
    if rules.oneshot:
        return "completed"
    return "ready" if rules.ready else "started"


def _check(report: Report, path: Path, needed: Draft, name: str, state: str | None) -> None:
    rules = needed.specs[0].rules
    if rules.schedule:
        hint = "need something that runs all the time"
        report.error(path, f"{name} runs at its times only and is never there for others", hint)
        return
    if state == "completed" and not rules.oneshot and rules.on_clean == "restart":
        hint = f"make {name} a oneshot, or wait for started or ready"
        report.error(path, f"{name} never completes: it is restarted when it exits", hint)
    if state == "ready" and rules.oneshot and not rules.ready:
        report.warn(
            path, f"{name} is a oneshot: it may have ended before anybody sees it ready", "wait for completed"
        )
    if not needed.values["autostart"]:
        report.warn(path, f"{name} has autostart = false", "this service waits until somebody starts it")


def _cycles(report: Report, edges: dict[str, dict[str, Path]]) -> None:
    """Report a circle with its whole path, at the need that closes it. Iterative: chains may be long."""
    done: set[str] = set()
    for root, first in edges.items():
        trail: list[str] = []
        stack = [(root, iter(first))] if root not in done else []
        trail += [root] if stack else []
        while stack:
            name, rest = stack[-1]
            step = next(rest, None)
            if step is None:
                stack.pop()
                done.add(trail.pop())
            elif step in trail:
                circle = [*trail[trail.index(step) :], step]
                report.error(
                    edges[name][step],
                    f"the services wait for each other: {' -> '.join(circle)}",
                    "remove one of these needs",
                )
            elif step not in done and step in edges:
                trail.append(step)
                stack.append((step, iter(edges[step])))
