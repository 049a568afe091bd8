"""The daemon's unit under a real systemd: ready, reloaded, killed, hung, stopped; its services outlive it.

ORP-9, D11, UNI-3, UNI-7, scenario 45. Timings of the generated unit are shortened by a drop-in where a test would wait.
"""

from __future__ import annotations

import pytest
from tests.real.conftest import Place

pytestmark = pytest.mark.timeout(120)

TWO = """
[service.db]
command = ["sh", "-c", "trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.1; done"]
stop = { grace = "5s" }
[service.web]
command = ["sleep", "1000"]
needs = ["db"]
stop = { grace = "5s" }
"""


def started(place: Place, **settings: str) -> tuple[str, dict[str, int]]:
    """The unit, up, and the pids of its services."""
    place.configure(TWO)
    unit = place.unit(RestartSec="0.2", **settings)
    place.nested.run("systemctl", "start", unit)
    rows = place.until(lambda ps: ps["web"]["state"] == "up", "both are up")
    return unit, {name: rows[name]["pid"] for name in ("db", "web")}


def test_start_reload_and_stop(place: Place) -> None:
    """UNI-3, D11: `start` returns at READY with a status, `reload` applies the difference, `stop` ends everything in
    dependency order, inside TimeoutStopSec, and is a success."""
    unit, pids = started(place)
    shown = place.nested.show(unit)
    assert (shown["ActiveState"], shown["SubState"]) == ("active", "running")
    assert int(shown["MainPID"]) == place.ps()["daemon"]["keeper_pid"]
    shown = place.nested.until(unit, lambda shown: "2 of 2 up" in shown["StatusText"], "the status says so")

    place.configure(TWO + '[service.more]\ncommand = ["sleep", "1000"]\n')
    place.nested.run("systemctl", "reload", unit)
    rows = place.until(lambda ps: ps.get("more", {}).get("state") == "up", "the new service is up")
    assert {name: rows[name]["pid"] for name in pids} == pids
    assert place.nested.show(unit)["ActiveState"] == "active"

    took = place.nested.stopwatch("systemctl", "stop", unit)
    shown = place.nested.show(unit)
    assert (shown["ActiveState"], shown["Result"]) == ("inactive", "success"), place.nested.journal(unit)
    assert took < 30  # two groups of 5 s grace, 5 s verification, 2 s margin; and 5 s to spare
    assert not [pid for pid in (*pids.values(), rows["more"]["pid"]) if place.inside(pid)]
    ended = [line["service"] for line in place.events("stop.done") if line["service"].rpartition("/")[2] in pids]
    assert [name.rpartition("/")[2] for name in ended] == ["web", "db"]
    assert "Failed" not in place.nested.journal(unit)


def test_a_killed_daemon_is_started_again_and_its_services_have_not_noticed(place: Place) -> None:
    """ORP-9, scenario 22: kill -9 of keeper and engine; systemd starts the next daemon, which adopts: same pids."""
    unit, pids = started(place)
    daemon = place.ps()["daemon"]
    place.nested.run("kill", "-9", str(daemon["pid"]), str(daemon["keeper_pid"]))
    place.nested.until(
        unit, lambda shown: shown["NRestarts"] == "1" and shown["ActiveState"] == "active", "it is started again"
    )
    rows = place.until(lambda ps: ps["web"]["state"] == "up" and ps["web"]["pid"], "the next daemon answers")
    assert {name: rows[name]["pid"] for name in pids} == pids
    assert sorted(line["pid"] for line in place.events("run.adopted")) == sorted(pids.values())
    assert len(place.events("run.spawned")) == 2


def test_a_killed_keeper_alone(place: Place) -> None:
    """ORP-9: without its keeper the engine leaves by itself; the next daemon adopts; nothing was stopped in between."""
    unit, pids = started(place)
    place.nested.run("kill", "-9", place.nested.show(unit)["MainPID"])
    place.nested.until(
        unit, lambda shown: shown["NRestarts"] == "1" and shown["ActiveState"] == "active", "it is started again"
    )
    rows = place.until(lambda ps: ps["daemon"] and ps["web"]["state"] == "up", "the next daemon answers")
    assert {name: rows[name]["pid"] for name in pids} == pids
    assert not place.events("stop.begin")


@pytest.mark.parametrize("who", ["pid", "keeper_pid"], ids=["engine", "keeper"])
def test_a_hang_ends_by_the_watchdog_and_the_services_live_on(place: Place, who: str) -> None:
    """UNI-3: SIGSTOP: the pings stop, systemd kills and restarts the unit; services are adopted; no corpse stays."""
    unit, pids = started(place, WatchdogSec="3")
    daemon = place.ps()["daemon"]
    place.nested.run("kill", "-STOP", str(daemon[who]))
    place.nested.until(
        unit, lambda shown: shown["NRestarts"] == "1" and shown["ActiveState"] == "active", "the watchdog has bitten"
    )
    assert "Watchdog timeout" in place.nested.journal(unit)
    rows = place.until(lambda ps: ps["daemon"] and ps["web"]["state"] == "up", "the next daemon answers")
    assert {name: rows[name]["pid"] for name in pids} == pids
    assert not place.inside(daemon["pid"])
    assert not place.inside(daemon["keeper_pid"])
