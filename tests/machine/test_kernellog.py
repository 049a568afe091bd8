"""The kernel's story of an OOM kill: victim, limit and the one that asked, told apart."""

from __future__ import annotations

from midwatch.machine.linux.kernellog import KernelLog, Story, limit

MEMCG = (
    b"4,1030,99887001,-;worker invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
    b"6,1031,99887002,-;memory: usage 65536kB, limit 65536kB, failcnt 83",
    (b"6,1032,99887003,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,"
    b"oom_memcg=/app/p.web.4,task_memcg=/app/p.web.4/inner,task=python3,pid=4242,uid=0"),
    b"3,1033,99888000,-;Memory cgroup out of memory: Killed process 4242 (python3) total-vm:70000kB, anon-rss:60000kB",
)
GLOBAL = (
    b"4,1,5000000,-;cc1plus invoked oom-killer: gfp_mask=0x0, order=0, oom_score_adj=0\n SUBSYSTEM=x",
    (b"6,2,5000001,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,"
    b"task_memcg=/a,task=java,pid=7,uid=0"),
    b"3,3,5000002,-;Out of memory: Killed process 7 (java) total-vm:1kB",
)


def told(*records: bytes) -> list[str]:
    story = Story()
    return [kill.text for record in records if (kill := story.hear(record))]


def test_a_groups_limit_and_the_asker_are_named() -> None:
    """CONSTRAINT_MEMCG: which group; the asker is not the victim."""
    [text] = told(*MEMCG)
    assert text.startswith("Memory cgroup out of memory: Killed process 4242 (python3)")
    assert text.endswith("[out of memory: memory group /app/p.web.4, worker asked for more]")


def test_the_whole_machine() -> None:
    """CONSTRAINT_NONE is global: no limit of ours was reached."""
    [text] = told(*GLOBAL)
    assert text.endswith("[out of memory: the whole machine, cc1plus asked for more]")


def test_one_story_does_not_colour_the_next() -> None:
    """A kill without its constraint line says what its own words say."""
    texts = told(*MEMCG, GLOBAL[0], GLOBAL[2])
    assert texts[1].endswith("[out of memory: the whole machine, cc1plus asked for more]")
    assert told(MEMCG[3])[0].endswith("[out of memory: a memory group]")


def test_a_group_that_dies_as_a_whole_has_one_story() -> None:
    """memory.oom.group: several victims of one constraint."""
    texts = told(*MEMCG, MEMCG[3].replace(b"4242", b"4243"))
    assert [("4242" in text, "4243" in text) for text in texts] == [(True, False), (False, True)]
    assert all("/app/p.web.4" in text for text in texts)


def test_a_program_cannot_tell_the_story() -> None:
    """Facility 1 and above is written through /dev/kmsg by anybody who may."""
    assert told(*(record.replace(b"4,", b"12,", 1).replace(b"3,", b"11,", 1) for record in MEMCG)) == []
    [text] = told(b"12,1,5,-;evil invoked oom-killer: x", MEMCG[3])
    assert "evil" not in text


def test_other_constraints() -> None:
    """A cpuset; nonsense."""
    assert limit("oom-kill:constraint=CONSTRAINT_CPUSET,x") == "the memory nodes it may use"
    assert limit("oom-kill:,,,=") == "the whole machine"


def test_a_log_that_cannot_be_read_is_silence() -> None:
    """Not None by mistake: no line, no exception."""
    assert KernelLog("/nonexistent/kmsg").oom({1}, 0.0) is None
