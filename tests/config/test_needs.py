"""What services need of each other: states by default, instances, other projects, cycles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.config.conftest import Read, Refused

OTHERS = """
[service.plain]
command = "true"
[service.server]
command = "true"
ready = { notify = true }
[service.job]
command = "true"
oneshot = true
[service.pool]
command = "true"
instances = 2
[service.web]
command = "true"
"""


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ("['plain']", {"shop/plain": "started"}),
        ("['server']", {"shop/server": "ready"}),
        ("['job']", {"shop/job": "completed"}),
        ("['pool']", {"shop/pool-1": "started", "shop/pool-2": "started"}),
        ("['pool-2']", {"shop/pool-2": "started"}),
        ("['shop/plain']", {"shop/plain": "started"}),
        ("['infra/db']", {"infra/db": "ready"}),
        ("{ plain = 'ready', 'infra/db' = 'completed' }", {"shop/plain": "ready", "infra/db": "completed"}),
        ("[]", {}),
    ],
)
def test_what_is_waited_for(read: Read, needs: str, expected: dict[str, str]) -> None:
    """ready if it has a ready probe, completed if it is a oneshot, else started; another project's: ready."""
    specs = {spec.name: spec for spec in read(OTHERS + f"needs = {needs}").specs}
    assert specs["web"].rules.needs == expected


def test_every_instance_needs_the_same(read: Read) -> None:
    specs = read(
        "[service.a]\ncommand = 'true'\n[service.b]\ncommand = 'true'\ninstances = 2\nneeds = ['a']"
    ).specs
    assert [spec.rules.needs for spec in specs] == [{}, {"shop/a": "started"}, {"shop/a": "started"}]


def chain(*edges: str) -> str:
    """Services from "a: b c" (a needs b and c)."""
    text = ""
    for edge in edges:
        name, _, needs = edge.partition(":")
        text += f"[service.{name}]\ncommand = 'true'\nneeds = [{', '.join(repr(need) for need in needs.split())}]\n"
    return text


@pytest.mark.parametrize(
    ("edges", "line", "path"),
    [
        (("a: a",), 3, "a -> a"),
        (("a: b", "b: a"), 6, "a -> b -> a"),
        (("a: b", "b: c", "c: d b", "d:"), 9, "b -> c -> b"),
        (("a:", "b: a c", "c: b"), 9, "b -> c -> b"),
    ],
)
def test_a_cycle_is_an_error_with_its_path(
    refused: Refused, edges: tuple[str, ...], line: int, path: str
) -> None:
    """At the line of the need that closes it."""
    (problem,) = refused(chain(*edges))
    assert (problem.line, problem.message) == (line, f"the services wait for each other: {path}")


def test_two_cycles_are_both_told(refused: Refused) -> None:
    assert len(refused(chain("a: b", "b: a", "c: d", "d: c"))) == 2


def test_a_diamond_is_no_cycle(read: Read) -> None:
    assert len(read(chain("a: b c", "b: d", "c: d", "d:")).specs) == 4


def test_a_long_chain_is_no_trouble(read: Read) -> None:
    """900 services in a row, each needing the next."""
    edges = [f"s{number}: s{number + 1}" for number in range(900)]
    assert len(read(chain(*edges, "s900:")).specs) == 901


def test_a_cycle_through_an_instance(refused: Refused) -> None:
    """A name with its number is the same service."""
    text = "[service.a]\ncommand = 'true'\ninstances = 2\nneeds = ['b']\n[service.b]\ncommand = 'true'\nneeds = ['a-2']"
    assert "a -> b -> a" in refused(text)[0].message


def test_what_never_completes_is_an_error(refused: Refused, read: Read) -> None:
    """Waiting for it would be waiting for ever."""
    text = "[service.a]\ncommand = 'true'\nneeds = { b = 'completed' }\n[service.b]\ncommand = 'true'\n"
    (problem,) = refused(text)
    assert (problem.line, problem.key) == (3, "service.a.needs.b")
    assert "never completes" in problem.message
    assert read(text + "restart = { on_clean = 'stop' }").specs


def test_an_instance_may_not_take_a_name(refused: Refused) -> None:
    """pool-1 of `pool` and a service called pool-1."""
    text = "[service.pool]\ncommand = 'true'\ninstances = 2\n[service.pool-1]\ncommand = 'true'\n"
    (problem,) = refused(text)
    assert (problem.line, problem.hint) == (4, "the other is at line 1; rename one")


@pytest.mark.parametrize(
    ("more", "state", "message"),
    [
        ("oneshot = true", "ready", "may have ended"),
        ("autostart = false", "started", "has autostart = false"),
    ],
)
def test_doubtful_needs_are_warned_about(read: Read, more: str, state: str, message: str) -> None:
    text = (
        f"[service.a]\ncommand = 'true'\nneeds = {{ b = '{state}' }}\n[service.b]\ncommand = 'true'\n{more}\n"
    )
    assert any(message in found.message and found.line == 3 for found in read(text).warnings)
