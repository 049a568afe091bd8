"""The daemon behind `midwatch up`: gates that are being made, two projects, the death of keeper and engine."""

from __future__ import annotations

import time

import pytest
from tests.system.conftest import Instance, alive, kill, wait_for
from tests.system.watching import call, events, finished, job, rows, shell, until, words

SLEEP = 'command = ["sleep", "1000"]\n'


def test_a_restart_while_the_next_gate_is_being_made_costs_nothing(instance: Instance) -> None:
    """D6, B1: half a second after a start the next gate is prepared; a stop in that moment is not a failed spawn."""
    instance.up("".join(f"[service.{name}]\n{SLEEP}" for name in "abcdefgh"))
    for late in (0.47, 0.49, 0.5, 0.505, 0.51, 0.52):
        began = until(instance, lambda r: all(row["pid"] for row in r.values()), "all are up")
        time.sleep(late)
        assert finished(instance, job(instance, "restart", *"abcdefgh"))["state"] == "done"
        after = rows(instance)
        assert [name for name in began if after[name]["run_id"] == began[name]["run_id"]] == []
        assert [pid for row in began.values() if alive(pid := row["pid"])] == []
    assert events(instance, "run.spawn_failed") == []
    assert {name: row["restarts"] for name, row in rows(instance).items()} == {
        name: {"requested": 6} for name in "abcdefgh"
    }
    pid = rows(instance)["a"]["pid"]
    kill(pid)  # the exits of such runs are still heard
    until(instance, lambda r: r["a"]["pid"] not in (None, pid), "it is started again")


def test_two_projects_in_one_daemon(instance: Instance) -> None:
    """7: `up` adds a project to the running daemon; `down` of one leaves the other, and its pid, alone."""
    instance.up(f"[service.a]\n{SLEEP}")
    keeper = call(instance, "ping")["keeper_pid"]
    other = instance.home / "q"
    other.mkdir()
    (other / "midwatch.toml").write_text(f"[service.a]\n{SLEEP}[service.b]\n{SLEEP}")
    instance.ok("up", "-d", "-f", str(other / "midwatch.toml"))
    before = {(r["project"], r["name"]): r["pid"] for r in call(instance, "ps")["services"]}
    assert set(before) == {("p", "a"), ("q", "a"), ("q", "b")}
    instance.ok("down")
    after = {(r["project"], r["name"]): r["pid"] for r in call(instance, "ps")["services"]}
    assert after == {key: pid for key, pid in before.items() if key[0] == "q"}
    assert not alive(before["p", "a"])
    assert call(instance, "ping")["keeper_pid"] == keeper
    instance.ok("down", "--all")
    wait_for(lambda: not alive(keeper), "the daemon is gone")
    assert [pid for pid in before.values() if alive(pid)] == []


WITNESS = """\
for p in $(cat pids 2>/dev/null); do
  if [ -e /proc/$p/status ] && ! grep -q "^State:.*[ZX] (" /proc/$p/status; then echo $p >> doubled; fi
done
echo $$ >> pids
exec sleep 1000
"""


def crash_daemon(instance: Instance) -> None:
    """Kill keeper and engine together."""
    daemon = call(instance, "ping")
    for pid in (daemon["keeper_pid"], daemon["pid"]):
        try:
            kill(pid)
        except ProcessLookupError:
            continue  # an engine without its keeper leaves by itself
    wait_for(lambda: not alive(daemon["keeper_pid"]) and not alive(daemon["pid"]), "both are gone")


@pytest.mark.parametrize("contain", ["auto", "none"])
def test_d9_after_both_are_killed_the_run_is_taken_back_and_never_doubled(
    instance: Instance, contain: str
) -> None:
    """D9: kill -9 of keeper and engine; the next start adopts the run, whose next end is judged as ever: never two."""
    text = shell("a", WITNESS, f'contain = "{contain}"')
    instance.up(text)
    wait_for(lambda: words(instance.folder / "pids"), "it runs")
    [first] = [int(word) for word in words(instance.folder / "pids")]
    crash_daemon(instance)
    assert alive(first)  # our death is not the service's
    instance.up(text)
    [adopted] = events(instance, "run.adopted")
    assert (adopted["service"], adopted["pid"]) == ("p/a", first)
    assert rows(instance)["a"]["pid"] == first
    kill(first)
    wait_for(lambda: len(words(instance.folder / "pids")) == 2, "the successor runs")
    assert words(instance.folder / "doubled") == []
    [line] = events(instance, "run.exited")
    assert (line["cause"], line["signal"]) == ("killed", "SIGKILL")
    assert rows(instance)["a"]["crash_count"] == 0


def test_after_both_are_killed_a_waiting_gate_is_not_in_the_way(instance: Instance) -> None:
    """D9: the dead daemon's warm gate leaves no FIFO behind that its successor's first start would stumble over."""
    instance.up(f"[service.a]\n{SLEEP}")
    wait_for(lambda: list((instance.home / "run" / "fifo").glob("p.a.2.*")) or not _gates(instance), "a gate waits")
    crash_daemon(instance)
    instance.ok("up", "-d")
    instance.until(lambda rows: rows["a"]["state"] == "up", "it is up again")
    assert instance.journal("run.spawn_failed") == []
    assert instance.ps()["a"]["crash_count"] == 0


def _gates(instance: Instance) -> bool:
    """Does this machine give services a cgroup, and so a gate?"""
    return bool(instance.ps()["a"]["contained_by"] == "cgroup")


def test_reload_leaves_alone_what_was_stopped_by_hand(instance: Instance) -> None:
    """3: the operator's last word holds until `start` or `up`."""
    instance.up(f"[service.a]\n{SLEEP}[service.b]\n{SLEEP}")
    instance.ok("stop", "a")
    instance.ok("reload")
    assert instance.ps()["a"]["state"] == "stopped"
    instance.ok("up")
    instance.until(lambda rows: rows["a"]["state"] == "up", "`up` wants it again")
