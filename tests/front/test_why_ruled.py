"""`why`, every cause with every confidence: the words, what is ruled out, what stays open. Never "None", no number
that nobody measured."""

from __future__ import annotations

import re
import signal
from typing import Any, NamedTuple

import msgspec
import pytest
from tests.front.conftest import row

from midwatch.config import load
from midwatch.front.cli import ruled, story
from midwatch.front.cli.whyscreen import screen
from midwatch.model.exit import Cause, ExitFacts
from midwatch.model.service import Rules
from midwatch.policy.classify import RULES, classify

NOW = 1780367480.0  # 2026-06-02T02:31:20Z
RUN = "shop.web.4"
NOT_US = "midwatch: no stop was asked, and no guard and no probe acted on this run"
COUNTER = "the kernel's OOM killer: its counter for this run stayed 0"
MIB = 1 << 20


class Death(NamedTuple):
    """An end as the engine knows it, and what `why` has to say about it."""

    cause: Cause
    sure: float
    facts: ExitFacts
    said: str  # in the headline
    out: tuple[str, ...] = ()  # ruled out
    still: tuple[str, ...] = ()  # could not be
    why: Any = None
    led: tuple[dict[str, Any], ...] = ()


def left(code: int, **more: Any) -> ExitFacts:
    return ExitFacts(code << 8, 12.0, **more)


def by(signum: int, **more: Any) -> ExitFacts:
    return ExitFacts(signum, 12.0, **more)


def guard(level: str, **more: Any) -> dict[str, Any]:
    return {"event": "guard.tripped", "guard": "memory", "level": level, "held_bytes": 530 * MIB,
            "line_bytes": 512 * MIB, "quality": "exact", **more}  # fmt: skip


STOP = {"event": "stop.begin", "reason": "requested", "by": "me", "signal": "SIGTERM", "grace_ms": 10000}
COUNTED = ("oom-counter",)
HARD_DO = ({**guard("hard"), "action": "kill"}, {"event": "stop.begin", "reason": "memory_guard"})
DEATHS = (
    Death("requested", 1.0, by(15), "somebody asked for it", ("the stop was written down before it ended",), (),
          "requested", (STOP,)),
    Death("unhealthy", 1.0, by(9, checked=COUNTED), "did not answer its probe",
          (COUNTER, "it lived until midwatch stopped it"),
          (), "unhealthy", ({"event": "health.failed", "detail": "connection refused", "count": 3},)),
    Death("oom", 0.7, ExitFacts(None, 12.0, oom_kills=1, unseen=3.0), "the kernel killed it", ("somebody's kill",)),
    Death("oom", 0.95, by(9, oom_kills=1, checked=COUNTED), "the kernel killed it because memory ran out",
          ("somebody's kill: the kernel counted this one", NOT_US)),
    Death("oom", 0.8, left(137, oom_kills=1, checked=COUNTED), "the kernel killed it", (NOT_US,)),
    Death("oom", 0.95, by(9, kernel_oom="Killed process 4004 (web)"), "the kernel killed it", (NOT_US,)),
    Death("lost", 0.5, ExitFacts(None, 12.0, unseen=4.0), "nobody could see how", ("as long as it looked",),
          ("the kernel's OOM killer",)),
    Death("drain", 1.0, left(12), "exit code it declares", ("exit code 12 is one that it gave itself",)),
    Death("port-conflict", 0.85, ExitFacts(1 << 8, 0.5, port_owner="pid 7 (nginx)", port=80), "has its port",
          ("exit code 1 is one that it gave itself",)),
    Death("permanent", 1.0, left(78), "trying again cannot help", ("exit code 78 is one that it gave itself",)),
    Death("clean", 1.0, left(0), "by itself with exit code 0", ("exit code 0 is one that it gave itself",)),
    Death("segfault", 1.0, by(int(signal.SIGSEGV)), "memory it does not own",
          ("that sends SIGKILL, and this was signal SIGSEGV", NOT_US)),
    Death("abort", 1.0, by(int(signal.SIGABRT)), "aborted itself", ("this was signal SIGABRT", NOT_US)),
    Death("killed", 0.9, by(15), "it was not midwatch", ("this was signal SIGTERM", NOT_US)),
    Death("killed", 0.9, by(9, checked=COUNTED), "it was not midwatch", (COUNTER, NOT_US)),
    Death("killed", 0.9, by(9, checked=("kernel-log",)), "it was not midwatch", ("the kernel's log names no process",)),
    Death("killed", 0.9, by(9), "it was not midwatch", (NOT_US,), ("the run had no memory group with a counter",)),
    Death("killed", 0.9, by(9, checked=("oomd",)), "it was not midwatch", ("systemd-oomd: it left no mark",)),
    Death("crash", 1.0, left(3), "it failed", ("exit code 3 is one that it gave itself", NOT_US)),
    Death("crash", 0.85, left(137), "it failed", (NOT_US,), ("the kernel's OOM killer",)),
    Death("memory-guard", 1.0, by(9, checked=COUNTED), "at its hard line, or about to cross it, and midwatch",
          (COUNTER, "written down before it did it", "it lived until midwatch stopped"), (), "memory-guard", HARD_DO),
    Death("memory-guard", 1.0, by(10), "the signal that asked ended it", (), (), "drain",
          (guard("soft", action="drain"),)),
    Death("drain", 1.0, left(0), "its soft line, midwatch asked it to finish and leave, and it left",
          ("exit code 0 is one that it gave itself",), (), "drain", (guard("soft", action="drain"),)),
    Death("fd-guard", 1.0, by(15), "it had too many files open", ("written down before it did it",), (), "fd-guard",
          (guard("hard", guard="fds"),)),
    Death("crash", 1.0, left(1), "it failed", (), ("it had acted on this run before (guard.tripped)",), None,
          (guard("soft"),)),
)  # fmt: skip


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    """The defaults, with a drain code."""
    file = tmp_path_factory.mktemp("rules") / "midwatch.toml"
    file.write_text('[midwatch]\nproject = "shop"\n[service.web]\ncommand = ["true"]\nrestart = { drain_code = 12 }\n'
                    'drain = { signal = "USR1" }\n')
    return load(file, environ={"PATH": "/bin"}).specs[0].rules


def told(death: Death, rules: Rules, *daemon: dict[str, Any], samples: dict[str, Any] | None = None) -> dict[str, Any]:
    """The document of `why` about this death, from the lines that the policy and the engine would have written."""
    verdict = classify(death.facts, rules, death.why, "me" if death.why else "")
    assert (verdict.cause, round(verdict.confidence, 2)) == (death.cause, death.sure)
    code, signum = death.facts.code, death.facts.signal
    end = {
        "event": "run.exited", "code": code, "signal": signal.Signals(signum).name if signum else None,
        "cause": verdict.cause, "confidence": verdict.confidence, "because": list(verdict.because),
        "against": list(verdict.against), "do": list(verdict.do), "duration_ms": round(death.facts.duration * 1000),
        "pid": 4004, "input": {"e": "exited", "run": RUN, "facts": msgspec.to_builtins(death.facts)},
    }  # fmt: skip
    return document([{"event": "run.spawned", "pid": 4004}, *death.led, end], daemon, samples)


def document(
    lines: list[dict[str, Any]], daemon: tuple[dict[str, Any], ...] = (), samples: dict[str, Any] | None = None
) -> dict[str, Any]:
    dated = [
        {"ts": f"2026-06-02T02:31:{n:02}.000Z", "service": "shop/web", "run_id": RUN, **x} for n, x in enumerate(lines)
    ]
    own = [{"ts": "2026-06-02T02:30:59.000Z", **line} for line in daemon]
    end = story.runs_of(dated)[-1]
    return story.answer("shop/web", dated, end, row("web", "backoff"), story.Around(own, [], samples))


@pytest.mark.parametrize("death", DEATHS, ids=lambda d: f"{d.cause}-{d.sure}")
def test_every_cause_with_every_confidence_has_its_words(death: Death, rules: Rules) -> None:
    """Headline, what it was not, what is not known; no "None" anywhere, and the confidence in a word."""
    found = told(death, rules)
    text = " ".join("\n".join(screen(found, 100, NOW)).split())
    assert death.said in text
    assert f"Cause: {death.cause} (" in text
    assert f"confidence {death.sure:.2f} ({story.sure(death.sure)})" in text
    for words in death.out:
        assert any(words in said for said in found["ruled_out"]), found["ruled_out"]
    for words in death.still:
        assert any(words in said for said in found["not_ruled_out"]), found["not_ruled_out"]
    assert all(said.startswith("not ") for said in found["ruled_out"])
    assert not re.search(r"\bNone\b|\bnull\b|\bnan\b", text), text


def test_no_rule_of_the_policy_is_without_words() -> None:
    """The table above has every (cause, confidence) that the policy can give to an exit."""
    possible = {(rule.cause, rule.sure) for rule in RULES}
    missing = possible - {(death.cause, death.sure) for death in DEATHS}
    assert not missing


LINES = (
    ("memory-guard", "SIGKILL", guard("hard"), "its memory was at its hard line, or about to cross it"),
    ("memory-guard", "SIGTERM", guard("hard", action="stop"), "or about to cross it, and midwatch stopped it"),
    ("memory-guard", "SIGUSR1", guard("soft"), "midwatch asked it to finish and leave, and the signal that asked"),
    ("memory-guard", "SIGTERM", guard("hard", guard="host"), "the machine, or all services together, needed"),
    ("memory-guard", "SIGTERM", {"event": "guard.drain", "outcome": "late"}, "did not in time, and midwatch stopped"),
    ("fd-guard", "SIGTERM", guard("hard", guard="fds"), "it had too many files open and midwatch stopped it"),
)  # fmt: skip


@pytest.mark.parametrize(("cause", "signum", "led", "said"), LINES)
def test_our_own_lines_read_differently(cause: str, signum: str, led: dict[str, Any], said: str) -> None:
    """Soft line, hard line, the machine's need and descriptors: what was written before the signal says which."""
    end = {"event": "run.exited", "code": None, "signal": signum, "cause": cause, "confidence": 1.0, "pid": 4004,
           "because": ["530 MiB held, line 512 MiB"], "duration_ms": 9000,
           "input": {"e": "exited", "facts": {"status": 9, "duration": 9.0, "checked": ["oom-counter"]}}}  # fmt: skip
    found = document([{"event": "run.spawned", "pid": 4004}, led, end])
    assert said in found["meaning"]
    assert f"not {COUNTER}" in found["ruled_out"]
    assert led["event"] == "guard.drain" or any("written down before it did it" in w for w in found["ruled_out"])


def test_a_guard_that_only_warned_has_not_acted(rules: Rules) -> None:
    """A warning is no intervention: midwatch stays ruled out."""
    warned = guard("soft", action="warn")
    found = told(Death("crash", 1.0, left(1), "", led=(warned,)), rules)
    assert f"not {NOT_US}" in found["ruled_out"]
    assert found["meaning"] == "it failed"


def test_six_ways_to_run_out_of_memory_never_read_alike(rules: Rules) -> None:
    """The kernel (whose limit, if it says), systemd-oomd, our hard line, a kill from outside: different sentences."""
    kernel = told(DEATHS[3], rules)["meaning"]
    outside = told(Death("killed", 0.9, by(9, checked=COUNTED), ""), rules)["meaning"]
    ours = LINES[0][3]
    marked = {"event": "run.exited", "cause": "oom", "input": {"facts": {"oom_by": "systemd-oomd"}}}
    oomd = story.meaning(marked, [])
    assert "systemd-oomd" in oomd
    limits = []
    for where in (f"memory group /midwatch-1/{RUN}", "the whole machine"):
        logged = {"kernel_oom": f"Killed process 4 [out of memory: {where}, python asked for more]"}
        limits.append(story.meaning({"run_id": RUN, "cause": "oom", "input": {"facts": logged}}, []))
    assert "at the memory line that midwatch had set" in limits[0]
    assert "the whole machine ran out of memory" in limits[1]
    assert len({kernel, outside, ours, oomd, *limits}) == 6


def test_what_cannot_start_is_no_crash() -> None:
    """The program never ran: that is what is ruled out, and no confidence is made up."""
    end = {"event": "run.spawn_failed", "errno": "ENOENT", "phase": "lookup", "error": "command 'pg' does not exist",
           "cause": "spawn-failed", "decision": "held"}  # fmt: skip
    found = document([end])
    assert found["ruled_out"] == ["not a crash: the program never ran (it failed at: lookup)"]
    assert found["confidence"] is None
    assert "None" not in "\n".join(screen(found, 80, NOW))


def test_a_manager_above_us_is_not_ruled_out(rules: Rules) -> None:
    """Nothing above us: ruled out. systemd above us: it may have sent it. Nobody knows: nothing is said."""
    killed = DEATHS[13]
    started = {"event": "daemon.started", "pid": 1}
    above = {"event": "outer.detected", "manager": "systemd", "confidence": "strong"}
    assert any("another manager" in words for words in told(killed, rules, started)["ruled_out"])
    assert any("systemd, which runs midwatch" in w for w in told(killed, rules, started, above)["not_ruled_out"])
    nobody = told(killed, rules)
    assert not any("manager" in words for words in (*nobody["ruled_out"], *nobody["not_ruled_out"]))


def test_what_the_machine_went_through_stands_before_the_end(rules: Rules) -> None:
    """Pressure and a full disk during the run; what was before it began is not told."""
    old, new = "2026-06-02T02:30:00.000Z", "2026-06-02T02:31:00.500Z"
    lines = [{"event": "disk.low", "ts": old}, {"event": "host.pressure", "level": "warn", "ts": new}]
    found = told(DEATHS[18], rules, *lines)
    assert [line["event"] for line in found["evidence"]["journal"]] == ["host.pressure"]


def test_sleep_and_a_full_disk_stay_open(rules: Rules) -> None:
    """What the machine went through just before is named, not concluded from."""
    crash = DEATHS[18]
    low = {"event": "disk.low", "ts": "2026-06-02T02:31:00.500Z"}
    slept = {"event": "clock.gap", "slept_ms": 3_600_000, "paused_ms": 0, "ts": "2026-06-02T02:31:00.600Z"}
    still = told(crash, rules, low, slept)["not_ruled_out"]
    assert any("the disk: it was nearly full" in words for words in still)
    assert any("a sleep of the machine (1h)" in words for words in still)
    better = told(crash, rules, low, {"event": "disk.ok", "ts": "2026-06-02T02:31:00.700Z"})["not_ruled_out"]
    assert not any("disk" in words for words in better)


def test_measured_numbers_rule_out_only_what_was_measured(rules: Rules) -> None:
    """Below its line: not the line. No line or no samples: not a word about it."""
    crash = DEATHS[18]
    seen = {"peak_bytes": 100 * MIB, "line_bytes": 512 * MIB, "fds": 12, "fd_limit": 1024, "quality": "exact",
            "last_bytes": 90 * MIB, "last_at": NOW, "seconds": 60, "count": 30}  # fmt: skip
    out = told(crash, rules, samples=seen)["ruled_out"]
    assert "not its memory line: the most that was measured is 100M, the line is 512M" in out
    assert "not its descriptors: 12 of 1024 were open at the last look" in out
    full = told(crash, rules, samples={**seen, "line_bytes": None, "fds": 1000})
    assert not any("memory line" in words for words in full["ruled_out"])
    assert "its descriptors: 1000 of 1024 were open at the last look" in full["not_ruled_out"]


def test_a_record_that_begins_too_late_rules_out_less() -> None:
    """Without the run's own start in the record nobody can say that nobody asked for a stop."""
    end = {"event": "run.exited", "cause": "killed", "code": None, "signal": "SIGTERM", "confidence": 0.9}
    found = document([end])
    assert "midwatch itself: the record begins later than this run" in found["not_ruled_out"]


def test_lines_of_another_version_say_less() -> None:
    """Without recorded facts no counter is read as zero."""
    assert ruled.facts({"event": "run.exited"}) == {}
    end = {"event": "run.exited", "cause": "killed", "code": None, "signal": "SIGKILL", "confidence": 0.9}
    found = document([{"event": "run.spawned"}, end])
    assert not any("OOM" in words for words in (*found["ruled_out"], *found["not_ruled_out"]))
