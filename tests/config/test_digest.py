"""What a reload restarts: only what has other spawn facts (design 7)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from midwatch.config.digest import Difference, difference, spawn_digest
from midwatch.config.loading import load
from midwatch.model.service import ServiceSpec

if TYPE_CHECKING:
    from tests.config.conftest import Read

TEXT = "[service.web]\ncommand = ['true']\n"
A, B = {"PATH": "/bin", "TERM": "xterm", "X": "1"}, {"PATH": "/usr/bin", "LANG": "C", "X": "2"}


@pytest.mark.parametrize(
    "more",
    [
        "command = ['false']",
        "cwd = 'x'",
        "env = { A = 'b' }",
        "user = 'nobody'",
        "umask = '027'",
        "nice = 1",
        "oom_score_adj = 1",
        "rlimits = { nofile = 9 }",
        "contain = 'none'",
        "output = { stderr = 'own' }",
        "pty = true",
        "trace = true",
        "port = 80",
    ],
)
def test_another_spawn_fact_restarts(read: Read, more: str) -> None:
    old = read(TEXT).specs
    new = read((TEXT if "command" not in more else "[service.web]\n") + more).specs
    assert difference(old, new) == Difference(restarted=("shop/web",))
    assert spawn_digest(old[0]) != spawn_digest(new[0])


@pytest.mark.parametrize(
    "more",
    [
        "stop = { grace = '1s' }",
        "restart = { crash = 2 }",
        "ready = { notify = true }",
        "health = { tcp = 'h:1' }",
        "needs = ['other/x']",
        "output = { files = 2 }",
        "autostart = false",
        "oneshot = true",
    ],
)
def test_everything_else_applies_live(read: Read, more: str) -> None:
    old, new = read(TEXT).specs, read(TEXT + more).specs
    assert difference(old, new) == Difference(changed=("shop/web",))
    assert spawn_digest(old[0]) == spawn_digest(new[0])


def test_nothing_new(read: Read) -> None:
    """Another line, another comment, a default written down: nothing happens."""
    new = read("# moved\n\n" + TEXT + "stop = { grace = '10s' }\n").specs
    assert difference(read(TEXT).specs, new) == Difference(unchanged=("shop/web",))


def test_another_shell_restarts_nothing(read: Read) -> None:
    """`up` from cron or another terminal: PATH, TERM and LANG of the caller are no spawn facts; granted ones are."""
    assert difference(read(TEXT, A).specs, read(TEXT, B).specs) == Difference(unchanged=("shop/web",))
    granted = TEXT + "env_pass = ['X']"
    assert difference(read(granted, A).specs, read(granted, B).specs) == Difference(restarted=("shop/web",))
    own = TEXT + "env = { PATH = '%s' }"
    assert difference(read(own % "/a").specs, read(own % "/b").specs).restarted


def test_services_come_and_go(read: Read) -> None:
    old = read(TEXT + "[service.a]\ncommand = 'true'\n[service.b]\ncommand = 'true'\n").specs
    new = read(TEXT + "[service.c]\ncommand = 'true'\n[service.b]\ncommand = 'false'\n").specs
    assert difference(old, new) == Difference(("shop/c",), ("shop/a",), ("shop/b",), (), ("shop/web",))


def test_more_instances_start_only_the_new_ones(read: Read) -> None:
    text = "[service.w]\ncommand = 'true'\ninstances = %d"
    found = difference(read(text % 2).specs, read(text % 3).specs)
    assert found == Difference(added=("shop/w-3",), unchanged=("shop/w-1", "shop/w-2"))


def test_another_executable_restarts(read: Read) -> None:
    """The fingerprint of what the command resolves to; unknown on either side counts as equal."""
    specs = read(TEXT).specs
    then, now = {"shop/web": "1"}, {"shop/web": "2"}
    assert difference(specs, specs, fingerprints_then=then, fingerprints_now=now).restarted == ("shop/web",)
    assert difference(specs, specs, fingerprints_then=then, fingerprints_now=then).unchanged
    assert difference(specs, specs, fingerprints_then=then).unchanged
    assert spawn_digest(specs[0], "1") != spawn_digest(specs[0], "2")


def test_an_env_file_counts_by_its_contents(tmp_path: Path) -> None:
    """Other contents restart; the same contents in another file do not."""

    def specs(name: str, content: str) -> tuple[ServiceSpec, ...]:
        (tmp_path / name).write_text(content)
        (tmp_path / "midwatch.toml").write_text(TEXT + f"env_files = ['{name}']")
        return load(tmp_path / "midwatch.toml", environ={}).specs

    first = specs("a.env", "A=1\n")
    assert difference(first, specs("a.env", "A=2\n")).restarted
    assert not difference(first, specs("b.env", "# x\nA=1\n")).restarted


def test_a_digest_shows_no_value_and_survives_the_wire(read: Read) -> None:
    """The same after the spec has travelled as JSON; a short hexadecimal word."""
    (spec,) = read(TEXT + "env = { TOKEN = 'hunter2' }\nrlimits = { nofile = 9 }").specs
    digest = spawn_digest(spec)
    assert digest == spawn_digest(msgspec.json.decode(msgspec.json.encode(spec), type=ServiceSpec))
    assert len(digest) == 32
    assert "hunter2" not in digest


def test_the_engines_part_is_lean() -> None:
    """Importing it loads no part of the reader (in a fresh interpreter)."""
    import subprocess
    import sys

    code = "import sys, midwatch.config.digest\nprint([m for m in sys.modules if m.startswith('midwatch.config.')])"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "['midwatch.config.digest']"
