"""A watchdog for cron or a timer (UNI-5): at most ten lines of POSIX shell that restart through the manager.

It asks the manager for the main process (the first hit of a pgrep may be an editor), counts descriptors by
their numbers, acts at most once in a quarter of an hour, and closes its lock for what it starts: a service
that inherited it would block every later look. Midwatch's own guards make it unnecessary where the daemon
runs; it is for the other shapes. Must not read a configuration. Tests: tests/host/units/test_cron.py.
"""

from __future__ import annotations

from shlex import join, quote

from midwatch.host.units import figures
from midwatch.host.units.common import Facts, UnitError, single_line, stamped
from midwatch.host.units.launchd import label

MANAGERS = ("midwatch", "systemd", "launchd", "supervisord")
MOST_LINES = 10


def make(facts: Facts) -> str:
    """The whole script, stamped."""
    if facts.manager not in MANAGERS:
        raise UnitError(f"there is no manager {facts.manager!r}; one of {', '.join(MANAGERS)}")
    lines = _daemon(facts) if not facts.name else _service(facts)
    assert len(lines) <= MOST_LINES
    text = "#!/bin/sh\n" + "".join(f"# {line}\n" for line in _opening(facts)) + "".join(f"{line}\n" for line in lines)
    return stamped(text, facts, after=1)


def _opening(facts: Facts) -> list[str]:
    if not facts.name:
        what = "brings the daemon back when it does not run, also after `midwatch down --all`"
    elif facts.health_url:
        what = f"restarts {facts.title} when {facts.health_url} does not answer well within {figures.CRON_PROBE} s"
    else:
        what = f"restarts {facts.title} at {figures.CRON_SHARE} % of its limit of open files"
    return [
        f"Made by: {single_line('the command', facts.again)}",
        f"It {what}, at most every {figures.CRON_PAUSE // 60} minutes.",
    ]


def _service(facts: Facts) -> list[str]:
    ask, restart = _manager(facts)
    return [
        *_alone(facts, facts.name),
        f'pid=$({{ {ask}; }} 9>&-) && [ "${{pid:-0}}" -gt 0 ] 2>/dev/null || exit 0  # it is not meant to run',
        *(_http(facts) if facts.health_url else _descriptors(facts)),
        *_act(facts, restart),
    ]


def _daemon(facts: Facts) -> list[str]:
    ps, up = join((*facts.midwatch, "ps")), join((*facts.midwatch, "up", "-d", "-f", facts.file))
    return [
        *_alone(facts, "midwatch"),
        f"{ps} >/dev/null 2>&1 9>&- && exit 0",
        "why='it does not answer'",
        *_act(facts, up),
    ]


def _alone(facts: Facts, name: str) -> list[str]:
    """The environment cron does not give, the lock, the pause."""
    home = f"MIDWATCH_HOME={quote(facts.home)} " if facts.home is not None else ""
    minutes = figures.CRON_PAUSE // 60
    export = "export PATH MIDWATCH_HOME" if home else "export PATH"
    return [
        f"PATH={quote(facts.path)} {home}d={quote(facts.state)} n={quote(name)}; {export}",
        'umask 077; mkdir -p "$d" && exec 9>"$d/watchdog.$n.lock" || exit 1',
        "{ ! command -v flock >/dev/null || flock -n 9; } || exit 0",
        f'[ -z "$(find "$d/watchdog.$n.acted" -mmin -{minutes} 2>/dev/null)" ] || exit 0',
    ]


def _descriptors(facts: Facts) -> list[str]:
    if facts.manager == "launchd":  # no /proc there; lsof also lists what has no descriptor number
        count = "lsof -n -P -a -p \"$pid\" 9>&- | awk 'NR > 1 && $4 ~ /^[0-9]/' | grep -c ."
        limit = str(facts.files[0])
    else:
        count = "ls \"/proc/$pid/fd\" 9>&- | grep -c '^[0-9][0-9]*$'"
        limit = "$(awk '/^Max open files/ { print $4 }' \"/proc/$pid/limits\" 9>&-)"
    return [
        f'used=$({count}) limit={limit} why="$used of $limit open files"',
        f"[ $((used * 100)) -ge $((limit * {figures.CRON_SHARE})) ] 2>/dev/null || exit 0  # unlimited: never",
    ]


def _http(facts: Facts) -> list[str]:
    url = quote(single_line("the URL", facts.health_url or ""))
    probe = f"curl -fgsS --noproxy '*' --max-time {figures.CRON_PROBE} -o /dev/null {url}"
    return [f"why=$({probe} 2>&1 9>&-) && exit 0"]


def _act(facts: Facts, command: str) -> list[str]:
    log = f"{facts.name or 'midwatch'}${{pid:+ (pid $pid)}}: $why; starting it again"
    return [
        f': >"$d/watchdog.$n.acted"; log="{log}"; echo "$log"; logger -t midwatch-watchdog "$log" 2>/dev/null 9>&-',
        f"exec {command} 9>&-",
    ]


def _manager(facts: Facts) -> tuple[str, str]:
    """How to ask for the main process, and how to restart it."""
    name, unit = quote(facts.name), quote(f"{facts.unit}.service")
    if facts.manager == "systemd":
        ctl = "systemctl --user" if facts.user_manager else "systemctl"
        return f"{ctl} show -p MainPID --value {unit}", f"{ctl} restart {unit}"
    if facts.manager == "launchd":
        job = quote(f"gui/{facts.uid}/{label(facts)}" if facts.user_manager else f"system/{label(facts)}")
        return f"launchctl print {job} | awk '/^\\tpid = / {{ print $3 }}'", f"launchctl kickstart -k {job}"
    if facts.manager == "supervisord":
        return f"supervisorctl pid {name}", f"supervisorctl restart {name}"
    ours = join(facts.midwatch)
    service = quote(f"{facts.project}/{facts.name}")
    pick = 's/.*"services": *\\[{[^}]*"pid": *\\([0-9][0-9]*\\).*/\\1/p'
    return f"{ours} ps {service} --json 2>/dev/null | sed -n '{pick}'", f"{ours} restart {service}"


def install_commands(facts: Facts, path: str | None = None) -> list[str]:
    """What a person types; the line is for `crontab -e`. `path`: where it was written already."""
    path = path or f"{facts.state}/watchdog.{facts.name or 'midwatch'}"
    return [f"{facts.again} -o {path}", f"*/{figures.CRON_MINUTES} * * * * {quote(path)}"]


def findings(text: str, stop: float | None = None) -> list[str]:  # noqa: ARG001  as of the other formats
    """What is wrong with a watchdog, ours or anybody's."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = []
    if "pgrep" in text or "pidof" in text:
        found.append("it looks for a name: the first hit may be an editor; ask the manager for its main process")
    if "flock" in text and "9>&-" not in text and "-o" not in text:
        found.append("what it starts inherits its lock, and every later look finds it taken: close it, 9>&-")
    if any(word in text for word in ("kill -9", "kill -KILL", "pkill", "killall")):
        found.append("it kills by itself: the manager takes that for a crash; restart through the manager")
    if len(lines) > MOST_LINES:
        found.append(f"it has {len(lines)} lines; what needs more than {MOST_LINES} belongs into a supervisor")
    return found
