"""DOC-8: compose stacks that nobody meant to run, and volumes that nobody uses."""

from __future__ import annotations

from tests.inspect.doctor.containers.seen import GIB, Box, run, seen
from tests.inspect.doctor.machines import Machine

from midwatch.inspect.containers.values import Volumes
from midwatch.inspect.doctor.containers.stacks import CHECK


def _machine(*folders: str) -> Machine:
    machine = Machine()
    for folder in folders:
        machine.put(f"{folder}/compose.yml", "")
    return machine


def test_s56_two_projects_warn_with_both_names() -> None:
    """Scenario 56: two compose projects up."""
    told = seen(Box("a-db", 1, project="a", folder="/a"), Box("b-db", 1, project="b", folder="/b"))
    (one,) = run(CHECK, told, _machine("/a", "/b"))
    assert one.status == "warn"
    assert "a, b" in one.message
    assert [who.name for who in one.offenders] == ["a", "b"]


def test_s56_one_project_of_two_files_passes() -> None:
    """Scenario 56: several services and files of one project are one stack; what runs outside compose is none."""
    told = seen(
        Box("a-db", 1, project="a", folder="/a"), Box("a-web", 1, project="a", folder="/a"), Box("solo", 1)
    )
    (one,) = run(CHECK, told, _machine("/a"))
    assert one.status == "pass"


def test_one_project_from_two_folders_or_from_none() -> None:
    """Started twice from copies, or its folder was deleted while it runs."""
    twice = seen(Box("a-db", 1, project="a", folder="/a"), Box("a-web", 1, project="a", folder="/old/a"))
    (one,) = run(CHECK, twice, _machine("/a", "/old/a"))
    assert (one.status, "/a, /old/a" in one.message) == ("warn", True)
    (two,) = run(CHECK, seen(Box("a-db", 1, project="a", folder="/a")), _machine())
    assert "its folder /a is gone" in two.message


def test_volumes_that_nobody_uses() -> None:
    """Counted with their bytes; 5 GiB and more warn; an unknown size is said and never removed by us."""
    few = run(CHECK, seen(volumes=Volumes(("v1", "v2"), 5)))[1]
    assert (few.status, "2 volumes" in few.message) == ("pass", True)
    many = run(CHECK, seen(volumes=Volumes(("v1",), 5 * GIB)))[1]
    assert many.status == "warn"
    assert "prune" not in many.hint
    assert "not known" in run(CHECK, seen(volumes=Volumes(("v1",), None)))[1].message
    assert len(run(CHECK, seen(volumes=Volumes((), 0)))) == 1
