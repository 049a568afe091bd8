"""From the values of one [service.NAME] table to its `ServiceSpec`s (several with `instances`).

Decides what belongs together and what contradicts: probe targets, timers, exit codes, environment, paths.
What a service needs is settled later, when all services are known (graph.py). Must not read the file of
the configuration itself.
"""

from __future__ import annotations

from typing import Any

import msgspec

from midwatch.config.keys import SERVICE
from midwatch.config.kind import described
from midwatch.config.kinds import NAME
from midwatch.config.launch import Around, make_launch
from midwatch.config.problems import Report, quoted
from midwatch.config.rules import make_rules
from midwatch.config.tables import Path, Values, read
from midwatch.config.timing import make_listen
from midwatch.model.service import Logs, ServiceSpec


class Draft(msgspec.Struct):
    """A service before its needs are settled: one spec for each instance."""

    name: str
    base: Path
    specs: list[ServiceSpec]
    values: Values


def draft(report: Report, name: str, table: Any, around: Around) -> Draft | None:
    """Read one service; None when there is nothing to build on."""
    base = ("service", name)
    if not isinstance(table, dict):
        report.error(
            base, f"expected a table, found {described(table)}", f"write [service.{name}] and its keys below"
        )
        return None
    values = read(report, base, table, SERVICE)
    names = _names(report, name, values)
    launch = make_launch(report, values, around)
    launch = msgspec.structs.replace(launch, listen=make_listen(report, values, around))
    rules = make_rules(report, values, around)
    logs = Logs(values["output.file"], values["output.files"], values["output.compress"])
    source = f"{report.file}:{report.place(base)[0]}"
    specs = []
    for number, each in enumerate(names, 1):
        own = launch
        if values["instances"] is not None:
            own = msgspec.structs.replace(launch, env={**launch.env, "MIDWATCH_INSTANCE": str(number)})
        specs.append(ServiceSpec(around.project, each, own, rules, logs, source, values["autostart"]))
    return Draft(name, base, specs, values)


def _names(report: Report, name: str, values: Values) -> list[str]:
    count = values["instances"]
    names = [name] if count is None else [f"{name}-{number}" for number in range(1, count + 1)]
    if not NAME.fullmatch(name):
        report.error(
            values.base, f"{quoted(name)} is not a name for a service", "letters, digits, _ and -, at most 64"
        )
    elif not NAME.fullmatch(names[-1]):
        report.error(
            values.path("instances"),
            f"{quoted(names[-1])} is longer than 64 characters",
            "use a shorter name",
        )
    passed = any(one.endswith(f":{values['port']}") for one in values["listen"] or ())
    if len(names) > 1 and values["port"] is not None and not passed:
        hint = "give each its own by $MIDWATCH_INSTANCE, or be sure that they share it (SO_REUSEPORT)"
        report.warn(values.path("port"), f"{len(names)} instances serve the same port {values['port']}", hint)
    return names
