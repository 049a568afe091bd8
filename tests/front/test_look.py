"""`midwatch` alone and `midwatch look`: read-only, in 80 columns, JSON, exit code, what it keeps, a stuck daemon."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.front.conftest import Daemon, Done, row

from midwatch.engine.layout import Layout
from midwatch.front.cli import look as verb
from midwatch.inspect.look.past import NAME
from midwatch.inspect.look.picture import Given
from midwatch.policy import defaults_inspect as figures

Cli = Callable[..., Done]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """These are about what is shown: on a loaded machine no part may be late."""
    for name in ("LOOK_FIRST", "LOOK_PART", "LOOK_SAVE", "TABLE_STALL"):
        monkeypatch.setattr(figures, name, 30.0)


@pytest.mark.parametrize("words", [(), ("look",)])
def test_the_screen(words: tuple[str, ...], cli: Cli, daemon: Daemon) -> None:
    """Both are the same; at most 80 columns; only the status was asked."""
    done = cli(*words)
    assert done.code in {0, 1, 2}
    assert done.err == ""
    assert "nothing was changed" in done.out.replace("\n", " ")
    assert "2 services" in done.out
    assert "MEMORY" in done.out
    assert "SERVICES  1 backoff, 1 up; 'midwatch ps' shows them" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert {method for method, _ in daemon.asked} == {"ps"}


def test_json(cli: Cli, daemon: Daemon) -> None:
    """Design 6: the fields that scripts may rely on, the exit code, and what to type next."""
    for words in (("--json",), ("look", "--json")):
        done = cli(*words)
        document = done.json
        assert set(document) >= {
            *("schema_version", "host", "trees", "leftovers", "forecasts", "loops", "deaths", "containers"),
            *("missing", "state", "exit_code", "next"),
        }
        assert done.code == document["exit_code"]
        assert document["services"] == 2


def test_our_own_trouble_is_a_loop_with_its_why(cli: Cli, daemon: Daemon) -> None:
    """A service of ours in back-off is told, and `why` is the next command."""
    daemon.services(row("web"), row("worker", "held", decision="code 78; edit it"))
    done = cli()
    assert done.code in {1, 2}
    assert "shop/worker" in done.out
    assert "midwatch why shop/worker" in done.out


def test_a_few_numbers_are_kept_for_the_next_look(cli: Cli, home: Path) -> None:
    """In the instance's folder, 0600, and nothing else; the second look compares."""
    assert cli("--json").json["first_look"] is True
    assert os.listdir(home) == [NAME]
    assert os.stat(home / NAME).st_mode & 0o777 == 0o600
    assert cli("--json").json["first_look"] is False


def test_a_daemon_that_fails_leaves_a_screen(cli: Cli, daemon: Daemon) -> None:
    """What it would have said is named; the machine is shown."""
    daemon.answers["ps"] = {"error": {"code": -32002, "message": "broken inside"}}
    done = cli()
    assert "MEMORY" in done.out
    assert "our own daemon" in " ".join(done.out.split())


def test_own_packs_are_read_and_a_bad_one_is_named(cli: Cli, home: Path) -> None:
    (home / "packs").mkdir()
    (home / "packs" / "x.toml").write_text("schema = 1\nnonsense = 1\n")
    assert "x.toml:" in " ".join(cli().out.split())


def test_no_secret_of_a_stranger(cli: Cli) -> None:
    """H8: a token in another program's arguments does not appear; the numbers carry what they are."""
    code = "x = bytearray(64 << 20); print('ready', flush=True); input()"
    words = [sys.executable, "-c", code, "--token", "s3cretvalue"]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        document = cli("--json").json
        child.communicate(b"\n", timeout=20)
    assert "s3cretvalue" not in str(document)
    me = [tree for tree in document["trees"] if tree["pid"] == child.pid]
    if me and os.path.exists("/proc/self/status"):
        assert me[0]["held_bytes"] > 60 << 20
        assert me[0]["quality"] in {"exact", "approximate"}


def test_no_terminal_no_colour(cli: Cli) -> None:
    assert "\x1b" not in cli().out


def test_given_knows_the_record(layout: Layout, daemon: Daemon) -> None:
    """Rows, journals and what is ours come from the instances; the folders stay those of the caller."""
    found = verb.given(Given(keep="/k", packs="/p"))
    assert [one["name"] for one in found.rows] == ["web", "worker"]
    assert str(layout.journal) in found.journals
    assert found.ours.services == ("shop/web", "shop/worker")
    assert (found.keep, found.packs) == ("/k", "/p")
