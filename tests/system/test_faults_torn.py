"""Torn and garbage files of ours: no second copy, no lost service, said once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.system.conftest import Instance, alive, kill, wait_for

SLEEP = '[service.{name}]\ncommand = ["sleep", "1000"]\n'


TORN = (b"", b"\0" * 300, b'{"run": "p.a.1", "servi', b"\xff\xfe\x00garbage", b"[" * 100_000)


def restart_engine(instance: Instance) -> None:
    """Kill the engine and wait for its successor."""
    old = instance.daemon()["pid"]
    kill(old)
    wait_for(lambda: instance.daemon()["pid"] != old, "a new engine answers")


def kill_both(instance: Instance) -> None:
    daemon = instance.daemon()
    for pid in (daemon["keeper_pid"], daemon["pid"]):
        kill(pid)
    wait_for(lambda: not alive(daemon["keeper_pid"]) and not alive(daemon["pid"]), "both are gone")


@pytest.mark.parametrize("content", TORN, ids=["empty", "zeros", "cut", "binary", "deep"])
def test_a_torn_run_record_leads_to_no_second_copy(instance: Instance, content: bytes) -> None:
    """Keeper and engine killed, the record of a living run unreadable: it is found by its marker or cgroup, and
    never are there two; said by state.damaged with the path."""
    instance.up(SLEEP.format(name="a") + SLEEP.format(name="b"))
    before = instance.ps()
    record = instance.home / "runs" / f"{before['a']['run_id']}.json"
    kill_both(instance)
    record.write_bytes(content)
    instance.ok("up", "-d")
    rows = instance.until(lambda r: all(row["state"] == "up" for row in r.values()), "both are up")
    for name in "ab":
        assert [pid for pid in {before[name]["pid"], rows[name]["pid"]} if alive(pid)] == [rows[name]["pid"]]
    assert [line["path"] for line in instance.journal("state.damaged")] == [str(record)]
    restart_engine(instance)
    assert len(instance.journal("state.damaged")) == 1, "a damage is told once"


@pytest.mark.parametrize("content", TORN[1:4], ids=["zeros", "cut", "binary"])
def test_torn_specs_under_a_living_engine_lose_no_service(instance: Instance, content: bytes) -> None:
    """specs.json is damaged from outside and the engine dies: its successor knows the services all the same."""
    instance.up(SLEEP.format(name="a"))
    before = instance.ps()["a"]["pid"]
    specs = instance.home / "specs.json"
    specs.write_bytes(content)
    restart_engine(instance)
    assert instance.ps()["a"]["pid"] == before
    assert alive(before)
    assert [line["path"] for line in instance.journal("state.damaged")] == [str(specs)]
    restart_engine(instance)
    assert instance.ps()["a"]["pid"] == before
    assert len(instance.journal("state.damaged")) == 1, "it was repaired"


def test_torn_specs_at_start_are_said_and_replaced(instance: Instance) -> None:
    """A new daemon on damaged specs: it starts, says so, and `up` puts the services into force."""
    instance.up(SLEEP.format(name="a"))
    instance.ok("down", "--all")
    (instance.home / "specs.json").write_bytes(b"\xff\xfe{")
    instance.ok("up", "-d")
    assert instance.until(lambda r: r["a"]["state"] == "up", "it is up")
    assert len(instance.journal("state.damaged")) == 1


def newest_journal(instance: Instance) -> Path:
    return max((instance.home / "journal").glob("*.jsonl"))


def test_a_torn_journal_costs_its_torn_lines_only(instance: Instance) -> None:
    """Garbage in the middle and half a line at the end: the new engine has the budgets from the lines before and
    after, the service its pid, and `events` shows the rest."""
    cycle = "test -e once && exec sleep 1000; touch once; exit 3"
    instance.up(f"[service.a]\ncommand = [\"sh\", \"-c\", '{cycle}']\nbackoff = {{ first = \"10ms\" }}\n")
    before = instance.until(lambda r: r["a"]["restarts"] == {"crash": 1} and r["a"]["pid"], "it has crashed once")["a"]
    with newest_journal(instance).open("ab") as file:
        file.write(b'garbage \xff\xfe\x00 not a line\n{"event": 5}\n[1]\n\n' + b"[" * 5000 + b"\n" + b'{"ts":"202')
    restart_engine(instance)
    after = instance.ps()["a"]
    assert (after["pid"], after["restarts"]) == (before["pid"], {"crash": 1})
    shown = [json.loads(line)["event"] for line in instance.ok("events", "--json", "-n", "1000").splitlines()]
    assert "run.exited" in shown
    assert "service.resumed" in shown


def test_a_lost_journal_loses_no_service(instance: Instance) -> None:
    """The whole journal is gone and the engine dies: budgets start afresh, the service lives on and is supervised."""
    instance.up(SLEEP.format(name="a"))
    before = instance.ps()["a"]["pid"]
    for path in (instance.home / "journal").glob("*.jsonl"):
        path.unlink()
    restart_engine(instance)
    rows = instance.ps()
    assert (rows["a"]["pid"], rows["a"]["state"]) == (before, "up")
    kill(before)
    instance.until(lambda r: r["a"]["pid"] not in (None, before), "it is restarted")


def test_a_torn_request_and_history_do_not_stop_a_start(instance: Instance) -> None:
    """Leftovers of an interrupted launch, and a history that is no database: the daemon starts."""
    (instance.home / "history.db").write_bytes(b"not a database" * 1000)
    (instance.home / "request.json").write_bytes(b"\xff\xfe{")
    (instance.home / "keeper.json").write_bytes(b"{")
    instance.up(SLEEP.format(name="a"))
    kill(instance.ps()["a"]["pid"])
    instance.until(lambda r: r["a"]["restarts"] == {"killed": 1} and r["a"]["pid"], "it is supervised")
    restart_engine(instance)
    (instance.home / "request.json").write_bytes(b"\xff\xfe{")
    restart_engine(instance)
    assert instance.ps()["a"]["restarts"] == {"killed": 1}
