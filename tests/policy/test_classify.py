"""What exits are called: A1-A7, A10 and the causes of the closed set, as a table of facts and verdicts."""

from __future__ import annotations

from signal import SIGABRT, SIGBUS, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSEGV, SIGTERM, SIGUSR1
from typing import Any, get_args

import pytest
from msgspec.structs import replace
from tests.plain import default_rules

from midwatch.model.exit import Cause, ExitFacts
from midwatch.policy.classify import COSTS, classify, cost, reported_signal, signal_name

RULES = replace(default_rules(), drain_code=12, permanent_codes=(78, 90))
KERNEL = "Memory cgroup out of memory: Killed process 77 (python3)"

TABLE: list[tuple[str, dict[str, Any], str]] = [
    ("A1: code 0", {"status": 0}, "clean"),
    ("A2: code 1", {"status": 1 << 8}, "crash"),
    ("A5: SIGKILL without evidence", {"status": SIGKILL}, "killed"),
    ("A6: 137 as a code", {"status": 137 << 8}, "crash"),
    ("A7: the declared drain code", {"status": 12 << 8}, "drain"),
    ("A10: an outside SIGTERM", {"status": SIGTERM}, "killed"),
    ("an outside SIGINT", {"status": SIGINT}, "killed"),
    ("an outside SIGHUP", {"status": SIGHUP}, "killed"),
    ("an outside SIGQUIT with a core", {"status": SIGQUIT | 0x80}, "killed"),
    ("SIGKILL and the cgroup counted", {"status": SIGKILL, "oom_kills": 1}, "oom"),
    ("SIGKILL and the kernel log", {"status": SIGKILL, "kernel_oom": KERNEL}, "oom"),
    ("SIGKILL and a user-space OOM killer's mark", {"status": SIGKILL, "oom_by": "systemd-oomd"}, "oom"),
    ("SIGKILL, counted, and a log that names another process of the run",
     {"status": SIGKILL, "oom_kills": 1, "checked": ("oom-counter", "kernel-log")}, "killed"),
    ("137 through a shell, counted: the log names the child",
     {"status": 137 << 8, "oom_kills": 1, "checked": ("oom-counter", "kernel-log")}, "oom"),
    ("137 through a shell and the cgroup counted", {"status": 137 << 8, "oom_kills": 1}, "oom"),
    ("a child was killed for memory, the main process noticed", {"status": 1 << 8, "oom_kills": 2}, "crash"),
    ("SIGTERM is never oom", {"status": SIGTERM, "oom_kills": 1}, "killed"),
    ("SIGSEGV", {"status": SIGSEGV}, "segfault"),
    ("SIGBUS", {"status": SIGBUS}, "segfault"),
    ("SIGABRT", {"status": SIGABRT}, "abort"),
    ("another signal", {"status": SIGUSR1}, "crash"),
    ("a signal without a name", {"status": 42}, "crash"),
    ("139 through a shell", {"status": 139 << 8}, "crash"),
    ("78", {"status": 78 << 8}, "permanent"),
    ("a configured permanent code", {"status": 90 << 8}, "permanent"),
    ("127", {"status": 127 << 8}, "crash"),
    ("no status", {"status": None}, "lost"),
    ("no status, and its own group counted an out-of-memory kill", {"status": None, "oom_kills": 1}, "oom"),
    ("no status, and the kernel log names it", {"status": None, "kernel_oom": KERNEL}, "oom"),
    ("75: a planned restart (SVC-4)", {"status": 75 << 8}, "clean"),
    ("a code while somebody else has the port (ORP-6)", {"status": 1 << 8, "port_owner": "nginx"}, "port-conflict"),
    ("78 while somebody else has the port", {"status": 78 << 8, "port_owner": "nginx", "port": 80}, "port-conflict"),
    ("0 while somebody else has the port", {"status": 0, "port_owner": "nginx"}, "clean"),
    ("a signal while somebody else has the port", {"status": 11, "port_owner": "nginx"}, "segfault"),
]


@pytest.mark.parametrize(("claim", "facts", "cause"), TABLE, ids=[row[0] for row in TABLE])
def test_each_end_has_its_cause(claim: str, facts: dict[str, Any], cause: str) -> None:
    """The cause follows from facts alone, with reasons in words, and the raw status stays as it was."""
    given = ExitFacts(duration=2.0, **facts)
    verdict = classify(given, RULES)
    assert verdict.cause == cause
    assert 0.0 < verdict.confidence <= 1.0
    assert all(verdict.because)
    assert verdict.because
    assert given.status == facts["status"]


@pytest.mark.parametrize("facts", [row[1] for row in TABLE], ids=[row[0] for row in TABLE])
def test_our_own_stop_is_never_blamed_on_something_else(facts: dict[str, Any]) -> None:
    """While we stop it, every end is `requested` or `unhealthy`, whatever the status."""
    given = ExitFacts(duration=2.0, **facts)
    assert classify(given, RULES, "requested", "ann").cause == "requested"
    assert classify(given, RULES, "unhealthy", "", "connection refused").cause == "unhealthy"


def test_a_code_128_plus_n_is_reported_not_received() -> None:
    """A6: 137 stays a crash and says that a wrapper reported the signal."""
    verdict = classify(ExitFacts(137 << 8, 1.0), RULES)
    assert verdict.reported_signal == 9
    assert "reported, not received" in verdict.against[0]
    assert verdict.confidence < 1.0
    assert [reported_signal(code) for code in (None, 0, 128, 129, 192, 193)] == [None, None, None, 1, 64, None]


def test_oom_names_its_evidence() -> None:
    """An oom verdict shows the counter, the kernel's line and the size."""
    verdict = classify(ExitFacts(9, 1.0, oom_kills=2, kernel_oom=KERNEL, max_rss_bytes=512 << 20), RULES)
    text = " ".join(verdict.because)
    assert "2 out-of-memory" in text
    assert KERNEL in text
    assert "512 MiB" in text
    assert verdict.do


def test_killed_says_that_the_sender_is_unknown() -> None:
    """A5: "killed, sender unknown" is an answer; for SIGKILL the missing oom evidence is said too."""
    assert classify(ExitFacts(SIGTERM, 1.0), RULES).against == ("who sent it is not known",)
    assert len(classify(ExitFacts(SIGKILL, 1.0), RULES).against) == 2


def test_words_of_our_own_stop() -> None:
    """Who asked and how it ended; a kill after the grace is told apart."""
    assert classify(ExitFacts(0, 1.0), RULES, "requested", "ann").because[0] == "asked to stop by ann"
    assert "within 10 s" in classify(ExitFacts(9, 1.0), RULES, "requested").because[1]
    assert "unknown status" in classify(ExitFacts(None, 1.0), RULES, "requested").because[1]
    assert classify(ExitFacts(0, 1.0), RULES, "unhealthy", "", "no answer").because[1] == "no answer"


def test_shell_codes_and_lost_memory_are_explained() -> None:
    """126 and 127 get their usual meaning; an oom-killed child is mentioned in a crash."""
    assert "command not found" in classify(ExitFacts(127 << 8, 1.0), RULES).because[1]
    assert "not executable" in classify(ExitFacts(126 << 8, 1.0), RULES).because[1]
    assert "lack of memory" in classify(ExitFacts(1 << 8, 1.0, oom_kills=1), RULES).because[1]


def test_every_cause_has_a_cost_and_unknown_ones_are_crashes() -> None:
    """The cost table covers the closed set; H6: a cause of the future is a crash."""
    assert set(COSTS) == set(get_args(Cause))
    assert [cost("panic"), cost(None, 1), cost(None, None), cost(None, 0)] == ["crash", "crash", "crash", "clean"]
    assert cost("killed") == "killed"


def test_who_died_unseen_gets_both_times() -> None:
    """D9: no status and no code, but the two times between which it died."""
    assert classify(ExitFacts(None, 300.0, unseen=120.0), RULES).because == (
        "it died between 3 m and 5 m after its start, while nobody looked",
    )
    assert "nobody could read" in classify(ExitFacts(None, 300.0), RULES).because[0]


def test_a_conflict_is_only_one_that_a_start_meets() -> None:
    """A run that has lived longer than a start had its port: its end is a crash, whoever has the port now."""
    early, late = (classify(ExitFacts(1 << 8, life, port_owner="x", port=80), RULES) for life in (10.0, 10.1))
    assert (early.cause, late.cause) == ("port-conflict", "crash")
    assert "port 80 was held by x" in early.because[1]
    assert early.against
    assert early.do


def test_code_75_can_be_permanent_when_the_config_says_so() -> None:
    """SVC-4: what the service declares wins."""
    assert classify(ExitFacts(75 << 8, 1.0), replace(RULES, permanent_codes=(75,))).cause == "permanent"
    assert classify(ExitFacts(75 << 8, 1.0), replace(RULES, drain_code=75)).cause == "drain"


def test_signal_names() -> None:
    assert signal_name(15) == "SIGTERM"
    assert signal_name(200) == "signal 200"
