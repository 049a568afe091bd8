"""`why` on real deaths: an outside kill, our own hard line, the kernel's OOM killer, and a living run, by pid."""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.system.conftest import Instance, kill

from midwatch.front.drill.stage import TOYS

TOY = json.dumps([sys.executable, "-I", "-S", str(TOYS), "grow", str(100 << 20)])
ONCE = "backoff = { over = '60s' }\nrestart = { memory = '1 in 1h' }\n"
CONFIG = f"""
[service.killed]
command = ["sleep", "1000"]
[service.polled]
command = {TOY}
memory = {{ hard = "64M" }}
contain = "none"
{ONCE}
[service.limited]
command = {TOY}
memory = {{ hard = "64M" }}
{ONCE}
"""


def ended(instance: Instance, name: str) -> dict[str, Any]:
    """The first end of this service, once it is in the journal."""

    def first() -> dict[str, Any] | None:
        return next((x for x in instance.journal("run.exited") if x["service"] == f"p/{name}"), None)

    instance.until(lambda _: first() is not None, f"{name} has ended")
    found = first()
    assert found is not None
    return found


def why(instance: Instance, what: object) -> dict[str, Any]:
    """`why WHAT --json`; the text for a person never says None."""
    assert "None" not in instance.ok("why", str(what))
    found: dict[str, Any] = json.loads(instance.ok("why", str(what), "--json"))
    return found


def test_real_deaths_read_differently(instance: Instance) -> None:
    """Same signal, different stories; each by the pid that died, with what followed and what it was not."""
    instance.up(CONFIG)
    first = instance.ps()["killed"]["pid"]
    kill(first)
    after = instance.until(lambda rows: rows["killed"]["pid"] not in (None, first), "it runs again")["killed"]
    deaths = {name: why(instance, ended(instance, name)["pid"]) for name in ("killed", "polled", "limited")}

    outside = deaths["killed"]
    assert (outside["cause"], outside["evidence"]["exit"]["signal"]) == ("killed", "SIGKILL")
    assert "not midwatch: no stop was asked, and no guard and no probe acted on this run" in outside["ruled_out"]
    assert outside["followed"][0].startswith("p.killed.2 was started ")
    assert str(after["pid"]) in outside["followed"][0]

    ours = deaths["polled"]
    assert ours["cause"] == "memory-guard"
    assert "at its hard line, or about to cross it, and midwatch killed it" in ours["meaning"]
    assert any("written down before it did it" in words for words in ours["ruled_out"])
    assert ours["evidence"]["bundles"][-1]["state"] == "done"
    assert ours["evidence"]["samples"]["peak_bytes"] > 32 << 20
    tripped = next(x for x in ours["evidence"]["journal"] if x["event"] == "guard.tripped" and x["level"] == "hard")
    assert tripped["held_bytes"] > 32 << 20

    limited = deaths["limited"]  # the kernel at our line where there is a cgroup, else our guard
    assert limited["cause"] in ("oom", "memory-guard")
    if limited["cause"] == "oom":
        assert "the kernel killed it" in limited["meaning"]
        assert any("not midwatch" in words for words in limited["ruled_out"])
    assert len({death["meaning"] for death in deaths.values()}) >= 2

    living = why(instance, after["pid"])
    assert (living["cause"], living["run_id"]) == (None, "p.killed.2")
    assert living["came"][0].startswith("it came after p.killed.1, which ended: killed")


def test_a_grandchild_is_named_as_such(instance: Instance) -> None:
    """Only main processes are recorded: a living child names its run, and what to ask instead."""
    told = instance.folder / "child"
    script = f"sleep 1000 & echo $! > {told}.new && mv {told}.new {told}; wait"
    instance.up(f"[service.parent]\ncommand = ['sh', '-c', '{script}']\n")
    instance.until(lambda _: told.exists(), "the child is there")
    done = instance.cli("why", told.read_text().strip())
    assert done.returncode == 1
    assert "belongs to the tree of run p.parent.1, but is not its main process" in done.stderr
    assert "'midwatch why p.parent.1'" in done.stderr
