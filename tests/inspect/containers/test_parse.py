"""What engines and their command print is read as it is, and what is missing is not known (F-09 to F-11)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.inspect.containers import parse
from midwatch.inspect.containers.values import Engine, Picture, Usage

GIB = 1 << 30
ID = "a" * 64


@pytest.mark.parametrize(
    ("text", "size"),
    [("0B", 0), ("900kB", 900_000), ("1KiB", 1024), ("6.1GiB", int(6.1 * GIB)), ("15.6GB", 15_600_000_000),
     ("512m", 512 << 20),
     ("1g", GIB), ("1.5MB", 1_500_000), ("7", 7), ("", None), ("GiB", None), ("1 parsec", None)],
)  # fmt: skip
def test_sizes_in_every_unit_of_the_command(text: str, size: int | None) -> None:
    """F-09: B, kB, KiB, MB, MiB, GB, GiB; and compose's short forms."""
    assert parse.size(text) == size


def test_times_of_engines() -> None:
    """Nine digits of a second, offsets, and the year 1 that means never."""
    assert parse.when("2026-03-02T08:14:05.123456789Z") == pytest.approx(1772439245.123456)
    assert parse.when("2026-03-02T09:14:05.5+01:00") == pytest.approx(1772439245.5)
    assert parse.when("0001-01-01T00:00:00Z") is None
    assert parse.when(None) is None
    assert parse.when("yesterday") is None


def test_one_object_of_inspect() -> None:
    """F-11: limits, state, policy, health and compose's labels."""
    told = {
        "Id": ID, "Name": "/shop-db-1", "RestartCount": 3,
        "HostConfig": {"Memory": 5 * GIB, "PidsLimit": 100, "RestartPolicy": {"Name": "unless-stopped"}},
        "State": {"Status": "running", "Pid": 77, "OOMKilled": False, "ExitCode": 0,
                  "StartedAt": "2026-03-02T08:14:05Z", "FinishedAt": "0001-01-01T00:00:00Z",
                  "Health": {"Status": "unhealthy", "FailingStreak": 4}},
        "Config": {"Image": "postgres:16", "Labels": {"com.docker.compose.project": "shop", "midwatch.spike": "8g",
                   "com.docker.compose.service": "db", "com.docker.compose.project.working_dir": "/srv/shop"}},
    }  # fmt: skip
    one = parse.container(told)
    assert (one.name, one.memory, one.pids, one.restart, one.restarts) == (
        "shop-db-1",
        5 * GIB,
        100,
        "unless-stopped",
        3,
    )
    assert (one.health, one.failing, one.project, one.service, one.folder) == (
        "unhealthy",
        4,
        "shop",
        "db",
        "/srv/shop",
    )
    assert (one.running, one.pid, one.oom_killed, one.finished, one.spike) == (True, 77, False, None, 8 * GIB)


def test_podman_leaves_other_things_empty() -> None:
    """No health check is "" with podman and absent with docker; both are none; podman-compose has its own label."""
    labels = {"io.podman.compose.project": "shop"}
    podman = parse.container({"Id": ID, "State": {"Health": {"Status": ""}}, "Config": {"Labels": labels}})
    docker = parse.container({"Id": ID, "State": {}, "Config": {"Labels": None}})
    assert podman.health == docker.health == ""
    assert podman.project == "shop"
    assert docker.memory is None
    assert docker.oom_killed is None


def test_s48_file_pages_that_can_be_dropped_are_no_use() -> None:
    """Scenario 48: 900 MiB with 500 MiB of inactive file pages of 1 GiB is 39 %, not 88 %; v1 names it otherwise."""
    for name in ("inactive_file", "total_inactive_file"):
        told = {
            "memory_stats": {"usage": 900 << 20, "limit": GIB, "stats": {name: 500 << 20}},
            "pids_stats": {"current": 3},
        }
        one = parse.stats(told, 16 * GIB)
        assert one is not None
        assert round(100 * one.used / GIB) == 39
        assert (one.exact, one.limit, one.pids) == (True, GIB, 3)


def test_stats_without_the_share_that_can_be_dropped_are_an_upper_bound() -> None:
    """Podman tells use and limit only; an engine without the memory controller tells nothing."""
    one = parse.stats({"memory_stats": {"usage": 5, "limit": 10}}, None)
    assert one is not None
    assert not one.exact
    assert parse.stats({"memory_stats": {}}, None) is None
    assert parse.stats({}, None) is None


def test_the_commands_lines_and_its_table_say_the_same() -> None:
    """F-09: JSON lines; the table with tabs or blanks; a limit of the whole machine is none."""
    machine = int(15.6 * GIB)
    line = '{"ID":"c1","Name":"w1","MemUsage":"6.1GiB / 15.6GiB","MemPerc":"39.10%","CPUPerc":"12.0%","PIDs":"31"}\n'
    table = "CONTAINER ID   NAME   CPU %   MEM USAGE / LIMIT   MEM %   PIDS\n"
    table += "c1   w1   12.0%   6.1GiB / 15.6GiB   39.10%   31\n"
    for text in (line, table, table.replace("   ", "\t")):
        found = parse.stats_lines(text, machine)
        assert set(found) == {"c1", "w1"}
        assert found["w1"] == Usage(int(6.1 * GIB), None, "cli", pids=31)
    assert parse.stats_lines(line.replace("15.6", "8"), machine)["c1"].limit == 8 * GIB


def test_inspect_prints_an_array_or_lines() -> None:
    """Both are read; rubbish between is skipped."""
    rows = [{"Id": "a"}, {"Id": "b"}]
    assert [one.id for one in parse.containers(json.dumps(rows))] == ["a", "b"]
    assert [one.id for one in parse.containers("\n".join(["oops", *map(json.dumps, rows), "[]", "7"]))] == [
        "a",
        "b",
    ]
    assert parse.containers("") == []


def test_the_limit_in_force_is_the_cgroups() -> None:
    """`podman update` changes the cgroup and leaves what inspect says: the cgroup is believed, in both directions."""
    told: dict[str, Any] = {"Id": ID, "HostConfig": {"Memory": GIB}, "State": {"Status": "running"}}
    one = parse.container(told)
    engine = Engine("podman", "", memory=16 * GIB)
    assert Picture(engine, (one,), {ID: Usage(1, 2 * GIB, "cgroup")}).limit(one) == 2 * GIB
    assert Picture(engine, (one,), {ID: Usage(1, None, "cgroup")}).limit(one) is None
    assert Picture(engine, (one,)).limit(one) == GIB
    free = parse.container({"Id": ID})
    assert Picture(engine, (free,), {ID: Usage(1, 16 * GIB, "engine")}).limit(free) is None


@given(st.recursive(st.none() | st.integers() | st.booleans() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["Id", "Name", "State", "HostConfig", "Config", "Labels", "Health", "Status",
                                         "Pid", "Memory", "memory_stats", "usage", "stats", "StartedAt"]), inner,
                        max_size=6), max_leaves=20))  # fmt: skip
def test_no_answer_breaks_the_reader(told: Any) -> None:
    """Whatever JSON an engine sends."""
    text = json.dumps(told)
    parse.containers(text)
    parse.stats_lines(text, 1000)
    if isinstance(told, dict):
        parse.container(told)
        parse.stats(told, None)
