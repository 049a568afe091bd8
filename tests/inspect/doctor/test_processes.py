"""DOC-13: copies of one package, from values and from real trees (scenario 54)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.inspect.doctor.machines import Machine, ctx, proc

from midwatch.inspect.doctor import duplicates
from midwatch.inspect.doctor.run import run
from midwatch.inspect.sources.live import Live

MB = 10**6


def _copies(machine: Machine, count: int, each: int) -> None:
    for n in range(count):
        machine.add(
            proc(100 + n, "uvx some-mcp@1.2", held=88 * MB, ppid=10),
            proc(200 + n, "/home/me/.cache/uv/x/bin/python /x/some-mcp", held=each - 88 * MB, ppid=100 + n),
        )


def test_four_copies_of_a_server_warn(machine: Machine) -> None:
    """Scenario 54: 4 trees of 220 MB are 880 MB and a warning; the advice claims no shared memory by installing."""
    _copies(machine, 4, 220 * MB)
    (found,) = run(ctx(machine), [duplicates.CHECK])
    assert found.status == "warn"
    assert (found.evidence["copies"], found.evidence["held_bytes"]) == (4, 880 * MB)
    assert found.message.startswith("some-mcp runs 4 times, 839.2 MiB together")
    assert "HTTP" in found.hint
    assert "share" not in found.hint
    _copies(machine, 10, 220 * MB)
    assert [one.status for one in run(ctx(machine), [duplicates.CHECK])] == ["fail"]


def test_a_chain_of_wrappers_is_one_copy(machine: Machine) -> None:
    """npm exec -> sh -> node, uvx -> uv tool uvx: the topmost counts, once; two different packages are no copies."""
    machine.add(
        proc(1, "init", ppid=0),
        proc(10, "npm exec @scope/mcp@latest"), proc(11, "sh -c mcp", ppid=10), proc(12, "node /x/mcp", ppid=11),
        proc(20, "uvx other"), proc(21, "uv tool uvx other", ppid=20), proc(30, "uv run server.py"),
        proc(31, "uv run server.py"),
    )  # fmt: skip
    (found,) = run(ctx(machine), [duplicates.CHECK])
    assert (found.status, found.message) == (
        "pass", "2 packages started by uvx or npx, none of them twice",
    )  # fmt: skip


def test_a_prompt_that_names_uvx_is_no_wrapper(machine: Machine) -> None:
    """Trap 18: the word in an argument is no program."""
    machine.add(*(proc(n, "claude -p run uvx some-mcp for me") for n in (10, 11)))
    assert [one.status for one in run(ctx(machine), [duplicates.CHECK])] == ["pass"]


@pytest.fixture
def four() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Four real processes that call themselves uvx, each with a child."""
    code = "import subprocess; print('up', flush=True); subprocess.run(['sleep', '60'])"
    script = f'exec -a uvx {sys.executable} -c "$1" toy-mcp-of-the-test'  # what follows -c and its value is the package
    command = ["bash", "-c", script, "x", code]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) for _ in range(4)]
    yield started
    for one in started:
        os.killpg(one.pid, 9)
        one.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="argv of real processes")
def test_real_trees_are_counted(four: list[subprocess.Popen[bytes]]) -> None:
    """Four real trees whose command line is uvx's: counted with their children, by pid."""
    for one in four:
        assert one.stdout
        one.stdout.readline()
    name = "toy-mcp-of-the-test"
    found = [one for one in run(ctx(Live()), [duplicates.CHECK]) if one.evidence.get("package") == name]
    assert [one.status for one in found] == ["pass"]  # small ones
    assert {who.pid for who in found[0].offenders} == {one.pid for one in four}
    assert found[0].evidence["processes"] >= 4
    assert found[0].evidence["held_bytes"] > 0
