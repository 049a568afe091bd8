"""What `midwatch check` says about a valid configuration: each service in a few lines, and every default
filled in.

Names of variables are shown, never their values. Must not read anything but `Loaded`.
"""

from __future__ import annotations

from midwatch.config.keys import MIDWATCH, SERVICE
from midwatch.config.problems import Loaded
from midwatch.model import units
from midwatch.model.service import Probe, Rules, Schedule, ServiceSpec

MEANINGS = {key.path: key.meaning for key in MIDWATCH + SERVICE}


def explain(loaded: Loaded) -> str:
    """The text, without a final newline."""
    count = len(loaded.specs)
    lines = [f"{loaded.path}: valid, project {loaded.project}, {count} service{'s' if count != 1 else ''}"]
    for spec in loaded.specs:
        lines += ["", *_service(spec)]
    return "\n".join([*lines, *_defaults(loaded)])


def _defaults(loaded: Loaded) -> list[str]:
    """Each default once, under the services that it was filled in for."""
    everywhere = "every service"
    users: dict[str, list[str]] = {}
    for line in loaded.filled:
        scope, _, rest = line.partition(".")
        owner, _, rest = rest.partition(".") if scope == "service" else ("[midwatch]", "", rest)
        users.setdefault(rest, []).append(owner)
    services = {line.split(".")[1] for line in loaded.filled if line.startswith("service.")}
    groups: dict[str, list[str]] = {}
    for rest, owners in users.items():
        group = everywhere if len(services) > 1 and len(owners) == len(services) else ", ".join(owners)
        meaning = MEANINGS.get(rest.split(" = ")[0])
        groups.setdefault(group, []).append(f"  {rest}" + (f"  # {meaning}" if meaning else ""))
    lines = []
    for group in sorted(groups, key=lambda name: (name != "[midwatch]", name == everywhere, name)):
        lines += ["", f"Defaults filled in for {group}:", *groups[group]]
    return lines


def _service(spec: ServiceSpec) -> list[str]:
    launch, rules = spec.launch, spec.rules
    kind = "a oneshot" if rules.oneshot else "a service"
    lines = [
        f"{spec.name} ({spec.source}): {kind}" + ("" if spec.autostart else ", not started by `up`"),
        f"  runs        {_command(launch.argv)}",
        f"  in          {launch.cwd}" + (f" as {launch.user}" if launch.user else ""),
        f"  variables   {', '.join(launch.env) or 'none'}",
    ]
    if rules.needs:
        lines.append(f"  needs       {', '.join(f'{name} {state}' for name, state in rules.needs.items())}")
    for word, probe in (("ready", rules.ready), ("healthy", rules.health)):
        if probe:
            lines.append(f"  {word:<11} {_probe(probe)}")
    if rules.schedule:
        lines.append(f"  comes       {_schedule(rules.schedule)}")
    if rules.file_watch:
        quiet = units.format_seconds(rules.file_watch.debounce)
        lines.append(f"  follows     {', '.join(rules.file_watch.paths)}; restarted after {quiet} without a change")
    if launch.listen:
        lines.append(f"  is given    {', '.join(launch.listen)} (LISTEN_FDS), open through restarts")
    lines += [f"  {word:<11} {text}" for word, text in _guards(rules)]
    return [*lines, f"  ends        {_ends(spec)}", f"  stops       {_stop(spec)}"]


def _guards(rules: Rules) -> list[tuple[str, str]]:
    """What it may use, and what follows when it uses more."""
    found = []
    if rules.memory and rules.memory.hard:
        hard = rules.memory.hard
        what = "its share of all services' memory" if hard == "auto" else units.exact_bytes(hard)
        found.append(("memory", f"at most {what}"))
    if rules.memory and rules.memory.soft:
        then = "asked to drain" if rules.drain else "said"
        found.append(("", f"{then} at {units.exact_bytes(rules.memory.soft)}"))
    if rules.drain:
        import signal

        drain = rules.drain
        how = signal.Signals(drain.signal).name if drain.signal else "command " + _command(drain.command or ())
        found.append(("drains", f"by {how}, {units.format_seconds(drain.within)} to leave"))
    if rules.fds and rules.fds.action == "restart":
        found.append(("files", f"restarted at {rules.fds.act:.0%} of its open-file limit"))
    if rules.priority != "normal":
        found.append(("priority", f"{rules.priority} when the machine runs out of memory"))
    return found


def _command(argv: tuple[str, ...]) -> str:
    import shlex

    text = shlex.join(argv)
    return text if len(text) <= 200 else text[:197] + "..."


def _probe(probe: Probe) -> str:
    if probe.notify:
        return "when it says READY=1"
    if probe.log:
        return f"when a line of its output matches {probe.log}"
    targets = {"http": probe.http, "tcp": probe.tcp, "file": probe.file}
    if probe.command:
        targets["command"] = _command(probe.command)
    shown = next(f"{word} {target}" for word, target in targets.items() if target)
    return f"by {shown}, asked every {units.format_seconds(probe.every)}"


def _schedule(schedule: Schedule) -> str:
    zone = schedule.zone or "the machine's time zone"
    limit = f", at most {units.format_seconds(schedule.deadline)} a run" if schedule.deadline else ""
    missed = "one run makes up for missed ones" if schedule.catch_up else "missed ones are left out"
    return f"at {schedule.cron} ({zone}){limit}; {missed}"


def _ends(spec: ServiceSpec) -> str:
    rules = spec.rules
    budgets = rules.budgets
    hard = f", given up after {budgets.crash_hard}" if budgets.crash_hard else ", then slower, for ever"
    over = rules.oneshot or rules.on_clean == "stop"
    clean = "done until its next time" if rules.schedule else "done" if over else "restarted"
    crashes = f"{budgets.crash} crashes in a row are tried{hard}"
    permanent = ", ".join(map(str, rules.permanent_codes))
    return f"exit 0: {clean}; {crashes}" + (f"; held on exit {permanent}" if permanent else "")


def _stop(spec: ServiceSpec) -> str:
    import signal

    stop = spec.rules.stop
    name = signal.Signals(stop.signal).name
    grace, verify = units.format_seconds(stop.grace), units.format_seconds(stop.verify)
    return f"{name}, {grace} to leave, then killed and verified for up to {verify}"
