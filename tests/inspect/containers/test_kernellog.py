"""The kernel's log proves which container lost a process, and when its silence means nothing."""

from __future__ import annotations

from tests.inspect.doctor.machines import NOW, Machine

from midwatch.inspect.containers import kernellog

ID, OTHER = "a" * 64, "b" * 64
POD = f"/libpod_parent/libpod-{ID}"
TEXT = f"""[    0.000000] Linux version
[  900.100000] tail invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
[  900.200000] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg={POD},task_memcg={POD},task=tail,pid=20457
[  900.300000] Memory cgroup out of memory: Killed process 20457 (tail) total-vm:26312kB
[  950.000000] oom-kill:constraint=CONSTRAINT_NONE,global_oom,task_memcg=/system.slice/docker-{OTHER}.scope,task=java
"""


def _machine(text: str = TEXT, code: int = 0) -> Machine:
    machine = Machine()
    machine.put("/proc/uptime", "1000.00 1.0\n")
    machine.says("dmesg", text, code)
    return machine


def test_a_kill_is_found_by_the_containers_id() -> None:
    """F-05: its own limit and the whole machine's shortage are told apart; the time is the wall's."""
    log = kernellog.read(_machine())
    (one,) = log.of(ID, NOW - 200)
    assert (one.name, one.pid, one.whole, round(one.at - NOW)) == ("tail", 20457, False, -100)
    assert log.of(OTHER, NOW - 200)[0].whole
    assert log.of("c" * 64, None) == []


def test_an_earlier_life_is_not_this_one() -> None:
    """A container that was started anew since has lost nothing."""
    assert kernellog.read(_machine()).of(ID, NOW - 50) == []


def test_silence_means_something_only_as_far_as_the_log_goes() -> None:
    """A ring that begins after the container, a log that may not be read: nothing is ruled out."""
    assert kernellog.read(_machine()).covers(NOW - 500)
    late = kernellog.read(_machine("[  800.0] first\n"))
    assert not late.covers(NOW - 500)
    assert late.covers(NOW - 100)
    refused = kernellog.read(_machine("", code=1))
    assert not refused.covers(NOW)
    assert "sudo dmesg" in refused.why


def test_the_journal_stands_in() -> None:
    """dmesg refused, journalctl allowed: the same lines with more in front."""
    machine = _machine("", code=1)
    text = TEXT.replace("] ", "] host kernel: ")
    machine.says("journalctl -k -b -o short-monotonic --no-pager -n 8000", text)
    assert kernellog.read(machine).of(ID, None)[0].pid == 20457
