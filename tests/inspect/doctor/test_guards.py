"""DOC-21: our own rungs: what works here, and what would make the rest work."""

from __future__ import annotations

from tests.inspect.doctor.machines import Machine, ctx

from midwatch.inspect.doctor import guards
from midwatch.inspect.doctor.run import run
from midwatch.inspect.sources.live import Live


def test_the_daemons_rungs_are_told(machine: Machine) -> None:
    """A rung that weakens a guard warns with its cure; a small one is only said."""
    rungs = {
        "pidfd": "yes",
        "memory limit": "the memory controller is not delegated",
        "tracing": "not permitted",
    }
    found = run(ctx(machine, rungs=rungs), [guards.CHECK])
    assert [one.status for one in found] == ["pass", "warn", "pass"]
    assert found[1].message == "memory limit: the memory controller is not delegated"
    assert found[1].hint.startswith("give it a cgroup")
    assert [one.message for one in run(ctx(machine, rungs={"pidfd": "yes"}), [guards.CHECK])] == [
        "all 1 guards work here"
    ]


def test_cures_are_about_the_reason(machine: Machine) -> None:
    """The same rung lacks for different reasons: each has its own cure, or none."""
    rungs = {
        "cgroup.kill": "/x is not writable for uid 5 (not delegated)",
        "cgroup": "no cgroup v2 hierarchy is mounted",
    }
    hints = {
        one.message.partition(":")[0]: one.hint for one in run(ctx(machine, rungs=rungs), [guards.CHECK])
    }
    assert hints["cgroup.kill"].startswith("run midwatch as root")
    assert hints["cgroup"].startswith("boot with cgroup v2")


def test_without_a_daemon_the_machine_is_looked_at() -> None:
    """A fresh look at this very machine; nothing is tried."""
    found = run(ctx(Live()), [guards.CHECK])
    assert found[0].evidence["from"] == "a fresh look"
    assert "pidfd" in found[0].evidence["rungs"]


def test_a_recording_cannot_tell(machine: Machine) -> None:
    """GEN-7."""
    machine.recorded = True
    assert [one.status for one in run(ctx(machine), [guards.CHECK])] == ["skip"]
