"""Who runs this command: asked once by `run` and `up`, and what `run --exec` leaves to him.

Detection is host/'s; here it becomes a line for a person, a refusal, or the program itself. Must not supervise.
Tests: tests/front/test_managed.py, tests/system/test_exec.py.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from midwatch.front.cli.declare import Failure, Usage

if TYPE_CHECKING:
    from midwatch.host.outer import Outer

# What an outer manager has instead, by the options that cannot work once nobody is left to do it.
_NOBODY_RESTARTS = "nobody is left to start it again; its manager does that"
_NOBODY_ASKS = "nobody is left to ask it"
_INSTEAD = {
    **dict.fromkeys(("keep", "permanent", "crash", "crash_hard", "stable_after", "drain_code"), _NOBODY_RESTARTS),
    **dict.fromkeys(("signal", "grace"), "its manager stops it, in its own way"),
    **dict.fromkeys(("memory", "contain"), "a cgroup of ours would take it out of its manager's; set the limit there"),
    **dict.fromkeys(("pty", "stderr"), "it has the terminal and the streams that we have"),
    "name": "nothing is recorded under a name",
    "json": "nobody is left to tell",
    "pass_manager": "it is told all that we are told",
}
_STAYS = frozenset({"env", "env_file", "rlimit", "rlimits", "cwd", "umask", "nice", "oom_score_adj", "user", "port"})


def look() -> Outer:
    """Who started this process."""
    from midwatch.host.detect import detect
    from midwatch.host.facts import collect
    from midwatch.host.outer import outer

    facts = collect(os.environ)
    return outer(detect(facts), facts)


def hint(found: Outer) -> Outer:
    """Say the one line that weak evidence is worth (SVC-5)."""
    if found.hint:
        print(f"midwatch: {found.hint}", file=sys.stderr)
    return found


def refuse_detach(found: Outer) -> None:
    """SVC-2: a manager takes the end of the process that it started for the end of the service."""
    manager = found.manager
    if not manager.strong:
        return
    who = "a manager" if manager.name == "explicit" else "a container" if manager.name == "container" else manager.name
    raise Failure(
        f"-d: this process was started by {who} ({'; '.join(manager.reasons)}), which would take a daemon in the "
        "background for one that has ended; nothing was started; leave out -d, or add --force",
        78,
    )


def check_options(given: dict[str, Any]) -> None:
    """`run --exec` with an option that means nothing there. Raises Usage."""
    for name, value in given.items():
        if name in _STAYS or value is None or value is False or value == []:
            continue
        flag = "--" + name.replace("pass_manager", "pass").replace("_", "-")
        raise Usage(f"{flag} cannot work with --exec: {_INSTEAD.get(name, _NOBODY_ASKS)}; nothing was started")


def become(spec: Any) -> NoReturn:
    """This process is the program from now on. Raises CannotExec."""
    from midwatch.config.environment import in_place
    from midwatch.config.kind import passable
    from midwatch.host import execute

    left = not_in_force(spec)
    if left:
        _say(f"with --exec these are left to the manager: {', '.join(left)}")
    odd = {name: value for name, value in os.environ.items() if not passable(name + value)}
    whole = odd if spec.project == "run" else {}  # a command gets every byte of the caller's
    execute.become(spec.launch, whole | in_place(os.environ, spec.launch.env), _say)


def not_in_force(spec: Any) -> list[str]:
    """What stands in a service's table and needs somebody who stays."""
    launch, rules = spec.launch, spec.rules
    present = {
        "memory.soft": rules.memory and rules.memory.soft, "memory.hard": rules.memory and rules.memory.hard,
        "drain": rules.drain, "fds": rules.fds, "contain": launch.contain == "cgroup", "pty": launch.pty,
        "listen": launch.listen, "ready": rules.ready, "health": rules.health, "deep": rules.deep,
        "watchdog": rules.watchdog, "schedule": rules.schedule, "watch": rules.file_watch,
    }  # fmt: skip
    return [name for name, value in present.items() if value]


def _say(words: str) -> None:
    print(f"midwatch run: {words}", file=sys.stderr)
