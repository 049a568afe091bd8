"""Which compose stacks do nothing: no container of the project used CPU worth naming between two looks.

Pure. A stack whose use cannot be told is not idle. Must not stop anything. Tests:
tests/inspect/containers/test_stop.py.
"""

from __future__ import annotations

from midwatch.inspect.containers.stop import Stack, Target
from midwatch.inspect.containers.values import Container, Picture, Seen
from midwatch.policy import defaults_inspect as figures

_DATA = ("postgres", "mysql", "mariadb", "mongo", "redis", "elastic", "minio", "rabbit", "kafka", "clickhouse",
         "cassandra", "influx", "timescale", "-db", "database")  # fmt: skip


def projects(picture: Picture) -> dict[str, list[Container]]:
    """Running containers by compose project."""
    found: dict[str, list[Container]] = {}
    for one in picture.running():
        if one.project:
            found.setdefault(one.project, []).append(one)
    return found


def keeps_data(container: Container) -> bool:
    """Does its image or service look like a store of data?"""
    text = f"{container.image} {container.service} {container.name}".lower()
    return container.service in {"db", "data"} or any(word in text for word in _DATA)


def stacks(before: Seen, after: Seen, now: float, seconds: float) -> list[Stack]:
    """Those that are idle by both looks, `seconds` or more apart; the largest first, data last."""
    found = []
    earlier = {(p.engine.endpoint, i): u.cpu for p in before.pictures for i, u in p.usage.items()}
    for picture in after.pictures:
        for project, members in projects(picture).items():
            shares = [_share(picture, one, earlier, now, seconds) for one in members]
            if any(share is None or share > figures.STACK_IDLE_CPU for share in shares):
                continue
            targets = tuple(Target(one.id, one.name, one.started, picture.engine.endpoint) for one in members)
            held = sum(picture.usage[one.id].used for one in members)
            worst = max(share for share in shares if share is not None)
            why = f"{len(members)} containers, none used more than {worst:.1%} of a core"
            data = any(keeps_data(one) for one in members)
            found.append(Stack(project, picture.engine.kind, targets, held, data, why))
    return sorted(found, key=lambda stack: (stack.datastore, -stack.held))


def _share(
    picture: Picture, one: Container, earlier: dict[tuple[str, str], float | None], now: float, seconds: float
) -> float | None:
    """The larger of its use since the first look and its mean use since it began; None: not known, or too young."""
    usage = picture.usage.get(one.id)
    first = earlier.get((picture.engine.endpoint, one.id))
    if usage is None or usage.cpu is None or first is None or one.started is None:
        return None
    age = now - one.started
    if age < figures.STACK_IDLE_AGE:
        return None
    return max((usage.cpu - first) / max(0.1, seconds), usage.cpu / age)
