"""DOC-25: one of our services: memory line, port, open files."""

from __future__ import annotations

from typing import Any

from tests.inspect.doctor.machines import Machine, ctx, proc

from midwatch.inspect.doctor import ours
from midwatch.inspect.doctor.check import Watched
from midwatch.inspect.doctor.run import run
from midwatch.model.look import Checked

MIB = 1 << 20


def web(held: int = 100, **facts: Any) -> Watched:
    row = {"state": "up", "memory": {"held_bytes": held * MIB}}
    return Watched("home/web", row, 10, (10, 11), **{"memory_hard": 200 * MIB} | facts)


def look(machine: Machine, *services: Watched, name: str = "home/web") -> list[Checked]:
    return run(ctx(machine, services=services, name=name), [ours.CHECK])


def bad(results: list[Checked]) -> list[Checked]:
    return [one for one in results if one.status in ("warn", "fail")]


def test_memory_near_its_line_and_without_one(machine: Machine) -> None:
    """Over 80 % of the hard line warns; none at all warns with a line that fits what it holds."""
    assert not bad(look(machine, web()))
    assert bad(look(machine, web(170)))[0].message == "home/web holds 170 MiB of its 200 MiB (85%)"
    (found,) = bad(look(machine, web(100, memory_hard=None)))
    assert found.hint == 'memory = { hard = "320M" }'


def test_many_without_a_line_are_one_finding(machine: Machine) -> None:
    """Three services without a line are one warning that names them, and their other findings stay."""
    free = [Watched(f"home/s{n}", {"state": "up"}, n, fds_open=240, fds_limit=256) for n in (1, 2, 3)]
    found = bad(look(machine, *free, name=""))
    assert [one.status for one in found] == ["warn", "fail", "fail", "fail"]
    assert found[0].message.startswith(
        "3 services have no memory line of their own: home/s1, home/s2, home/s3;"
    )


def test_a_stranger_on_its_port_fails(machine: Machine) -> None:
    """The port is held by somebody who is not below it; its own worker is nobody else."""
    machine.put("/proc/net/tcp", "head\n 0: 0100007F:2253 00000000:0000 0A 0:0 0:0 0 1000 0 777 1\n")
    machine.links = {"/proc/500/fd/3": "socket:[777]"}
    machine.add(proc(10, "web", start=1), proc(500, "python old.py"))
    (found,) = bad(look(machine, web(port=8787)))
    assert found.hint == "kill 500, then midwatch restart home/web"
    machine.procs[500] = proc(500, "web worker", ppid=10)
    assert not bad(look(machine, web(port=8787)))


def test_open_files_of_a_service(machine: Machine) -> None:
    """As the daemon counts them."""
    assert [one.status for one in bad(look(machine, web(fds_open=240, fds_limit=256)))] == ["fail"]


def test_one_is_asked_about(machine: Machine) -> None:
    """`doctor NAME` says of a calm one what is known; the others are left out."""
    found = look(machine, web(drain=12.0), Watched("home/other", {}, 20, memory_hard=None))
    assert [one.message for one in found] == ["home/web is up, holds 100 MiB of 200 MiB, stops within 12 s"]
    assert look(machine, name="")[0].message == "no service of midwatch runs here"
