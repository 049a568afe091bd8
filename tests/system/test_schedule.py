"""Schedules with real processes and the real clock: one full minute is the shortest there is. Issue 3, item 5."""

from __future__ import annotations

import time

import pytest
from tests.system.conftest import Instance, kill, wait_for

PATIENCE = 75.0  # a minute and a start


def minute(instance: Instance, met: object, what: str) -> object:
    """`wait_for`, with the patience that a cron minute needs."""
    deadline = time.monotonic() + PATIENCE
    while not (found := met()):  # type: ignore[operator]
        assert time.monotonic() < deadline, f"waited in vain until {what}: {instance.ps()}"
        time.sleep(0.2)
    return found


def test_ps_shows_when_it_comes_start_runs_it_now_and_bad_ones_are_refused(instance: Instance) -> None:
    """`up` only arms it; `start` runs it out of turn; exit 0 arms it again; a stop disarms it."""
    job = "[service.job]\ncommand = ['sh', '-c', 'echo ran >> out']\nschedule = "
    instance.up(job + "{ cron = '0 0 1 1 *', zone = 'UTC' }\n")
    row = instance.ps()["job"]
    assert row["state"] == "scheduled"
    assert time.gmtime(row["next_at"])[1:6] == (1, 1, 0, 0, 0)
    shown = f"{time.gmtime(row['next_at']).tm_year}-01-01 00:00 UTC (in "
    assert f"next {shown}" in instance.ok("ps")
    assert f"next time {shown}" in instance.ok("why", "job")
    instance.ok("start", "job")
    wait_for((instance.folder / "out").exists, "it ran")
    instance.until(lambda rows: rows["job"]["state"] == "scheduled", "it waits for its time again")
    assert (instance.folder / "out").read_text() == "ran\n"
    instance.ok("stop", "job")
    assert instance.ps()["job"]["next_at"] is None
    (instance.folder / "midwatch.toml").write_text(job + "'0 0 31 2 *'\n")
    refused = instance.cli("reload")
    assert refused.returncode == 78
    assert 'midwatch.toml:3: service.job.schedule.cron: "0 0 31 2 *" never comes' in refused.stderr


@pytest.mark.slow
@pytest.mark.root("it waits for whole minutes: once a CI run is enough")
@pytest.mark.timeout(240)
def test_its_minute_starts_it_and_a_dead_daemon_is_made_up_for_once(instance: Instance) -> None:
    """Real time: in the slot's own second; then both are killed over the next slot, and one run makes up for it."""
    text = "[service.job]\ncommand = ['sh', '-c', 'date +%s >> out; exit 0']\nschedule = '* * * * *'\n"
    instance.up(text + "[service.idle]\ncommand = ['sleep', '1000']\n")
    out = instance.folder / "out"
    minute(instance, out.exists, "its time has come")
    (line,) = instance.journal("schedule.due")
    assert line["slot"] % 60 == 0
    assert 0 <= int(out.read_text()) - line["slot"] <= 20
    daemon = instance.daemon()
    kill(daemon["keeper_pid"])
    kill(daemon["pid"])
    next_slot = line["slot"] + 60
    time.sleep(max(0.0, next_slot + 1 - time.time()))
    instance.ok("up", "-d")
    due = wait_for(lambda: instance.journal("schedule.due")[1:], "what was missed is made up for")
    assert due[0]["slot"] >= next_slot
    wait_for(lambda: len(out.read_text().split()) == 2, "it ran once more")
    slots = [entry["slot"] for entry in instance.journal("schedule.due")]
    assert len(slots) == len(set(slots))
