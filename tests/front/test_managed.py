"""What a manager's presence does to a command line: the refusal's words, what --exec leaves out, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.front.conftest import Done

from midwatch.config.command import OPTIONS, for_command
from midwatch.front.cli import managed
from midwatch.front.cli.declare import Failure, Usage
from midwatch.front.cli.run import VERB
from midwatch.host.detect import Facts, Manager
from midwatch.host.outer import outer

Cli = Callable[..., Done]


@pytest.mark.parametrize(
    ("name", "who"),
    [("systemd", "systemd"), ("launchd", "launchd"), ("explicit", "a manager"), ("container", "a container")],
)
def test_detaching_is_refused_by_name(name: Any, who: str) -> None:
    """SVC-2: 78, who it is, why we think so, and both ways out."""
    with pytest.raises(Failure, match=f"started by {who} \\(because\\).*leave out -d, or add --force") as refused:
        managed.refuse_detach(outer(Manager(name, "strong", ("because",)), Facts(pid=7)))
    assert refused.value.code == 78


@pytest.mark.parametrize("confidence", ["weak", "none"])
def test_only_strong_evidence_refuses(confidence: Any) -> None:
    """SVC-5."""
    managed.refuse_detach(outer(Manager("systemd", confidence, ("because",)), Facts(pid=7)))


def test_every_option_of_run_stays_or_is_refused() -> None:
    """A new option has to be thought about: what it means for a program that takes our place."""
    for opt in VERB.opts:
        if opt.dest in ("in_place", "file"):
            continue
        value: object = {"flag": True, "many": ["x"]}.get(opt.kind, "x")
        if opt.dest in managed._STAYS:
            managed.check_options({opt.dest: value})
            continue
        with pytest.raises(Usage) as refused:
            managed.check_options({opt.dest: value})
        assert opt.flags[-1] in refused.value.text
        probe = opt.dest.startswith(("ready", "health", "deep"))
        assert probe or opt.dest in managed._INSTEAD, f"say what {opt.dest} means with --exec"
    assert managed._STAYS - {"env", "rlimit"} <= OPTIONS.keys()


def test_options_that_were_not_given_are_no_reason() -> None:
    managed.check_options({"keep": False, "memory": None, "permanent": [], "cwd": "/x"})


def test_what_is_left_to_the_manager_is_named() -> None:
    spec = for_command(["true"], environ={}, memory="64M", health_tcp="127.0.0.1:1", pty=True)
    assert managed.not_in_force(spec) == ["memory.hard", "pty", "health"]
    guarded = for_command(["true"], environ={}, memory_soft="64M", drain_signal="USR1", fds_action="restart")
    assert managed.not_in_force(guarded) == ["memory.soft", "drain", "fds"]
    assert managed.not_in_force(for_command(["true"], environ={})) == []


def test_force_is_part_of_up(cli: Cli) -> None:
    assert "--force" in cli("up", "-h").out
