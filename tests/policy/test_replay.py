"""Replay: recorded inputs through the rules again, with the same and with other rules."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from midwatch.model.event import Probed, Tripped
from midwatch.model.service import DrainRules, MemoryLines, Probe, Window
from midwatch.policy.replay import NOT_RECORDED, replay


def recorded(w: Any, start: int = 0) -> list[dict[str, Any]]:
    """The journal lines of a world, as record/ gives them back: JSON values, the input on the first line it caused."""
    lines: list[dict[str, Any]] = []
    for event, at, notes in w.inputs[start:]:
        for number, note in enumerate(notes):
            line = {"ts": f"t{at}", "event": note.event, "service": w.state.id, **note.fields}
            if number == 0:
                line |= {"input": msgspec.to_builtins(event), "awake": at}
            lines.append(line)
    return msgspec.json.decode(msgspec.json.encode(lines))  # type: ignore[no-any-return]


def snapshot(*states: Any) -> dict[str, Any]:
    return {"now": {}, "states": [msgspec.json.decode(msgspec.json.encode(s)) for s in states]}


LIVES = [(1, 1.0), (0, 0.1), (1, 1.0), (12, 30.0), (1, 1.0), (0, 400.0)] * 4


def test_the_same_rules_give_the_same_decisions(world: Any) -> None:
    """Every recorded input of a long history is decided as it was."""
    w = world(drain_code=12)
    first = snapshot(w.state)
    w.lives(*LIVES).come_up()
    w.ask("stop", "s")
    w.exit(0, strays=1)
    w.tree_gone()
    found = replay(first, recorded(w))
    assert len(found) == len(w.inputs)
    assert [c for c in found if not c.same] == []
    assert found[-1].cause == "tree_gone"


def test_a_snapshot_in_the_middle_is_enough(world: Any) -> None:
    """From the newest snapshot on, without what came before."""
    w = world().lives(*[(1, 1.0)] * 4)
    middle, start = snapshot(w.state), len(w.inputs)
    w.lives(*[(0, 1.0)] * 4)
    found = replay(middle, recorded(w, start))
    assert found
    assert all(c.same for c in found)


def test_without_a_snapshot_it_says_not_recorded(world: Any) -> None:
    """What cannot be known is not guessed."""
    w = world().lives((1, 1.0))
    found = replay(None, recorded(w))
    assert {c.remark for c in found} == {NOT_RECORDED}
    assert not any(c.same for c in found)


def test_a_gap_ends_what_is_known_and_a_snapshot_begins_it_again(world: Any) -> None:
    """After journal.gap nothing is known until the next journal.opened."""
    w = world()
    first = snapshot(w.state)
    w.lives((1, 1.0))
    half, cut = snapshot(w.state), len(w.inputs)
    w.lives((0, 1.0), (0, 1.0))
    lines = recorded(w)
    before = recorded(w)[: sum(len(notes) for _, _, notes in w.inputs[:cut])]
    after = lines[len(before) :]
    gap = {"ts": "", "event": "journal.gap", "lines": 3}
    opened = {"ts": "", "event": "journal.opened", "snapshot": half}
    lost = replay(first, [*before, gap, *after])
    assert [c.remark for c in lost[-2:]] == [NOT_RECORDED] * 2
    assert all(c.same for c in replay(first, [*before, gap, opened, *after]))


def test_other_rules_show_other_decisions(world: Any) -> None:
    """Back-test: with a ceiling of 2 the third crash would never have been; the exits are taken from the record."""
    w = world()
    first = snapshot(w.state)
    w.lives(*[(1, 1.0)] * 4)
    rules = replace(w.rules, budgets=replace(w.rules.budgets, crash_hard=2))
    found = replay(first, recorded(w), {"p/web": rules})
    exits = [c for c in found if c.cause == "exited"]
    assert [c.same for c in exits] == [True, False, False, False]
    assert exits[1].replayed[-1][0] == "supervision.gave_up"
    assert exits[3].replayed[0][1]["crash_count"] == 4


def test_other_rules_survive_snapshots_reloads_and_failed_spawns(world: Any) -> None:
    """Recorded reloads do not undo the rules that are being tried; each exit is judged in its place."""
    from midwatch.model.event import NewRules, SpawnFailed

    w = world()
    first = snapshot(w.state)
    w.lives((0, 1.0))
    w.feed(SpawnFailed("p.web.2", "EAGAIN", "fork", "no", lasting=False))
    w.feed(NewRules(w.rules, respawn=False))
    w.lives(*[(0, 1.0)] * 3)
    rules = replace(w.rules, budgets=replace(w.rules.budgets, clean=Window(1, 60.0), crash_hard=1))
    lines = recorded(w)
    lines.insert(6, {"ts": "", "event": "journal.opened", "snapshot": first})
    lines.insert(3, {"ts": "", "event": "output.dropped", "service": "p/web", "bytes": 1})
    lines.insert(0, {"ts": "", "event": "run.spawned", "service": "p/web", "pid": 1})
    found = replay(first, lines, {"p/web": rules})
    delays = [dict(c.replayed).get("backoff", {}).get("ms") for c in found if c.cause == "exited"]
    assert delays == [0, 1000, 2000, 4000]


def test_other_rules_take_exits_of_runs_that_were_not_ready(world: Any) -> None:
    """A run that ended before it was ready is judged too, although the other rules had given up before."""
    w = world(ready=Probe(tcp="x:1"))
    first = snapshot(w.state)
    w.lives(*[(1, 1.0)] * 3)
    rules = replace(w.rules, budgets=replace(w.rules.budgets, crash_hard=1))
    exits = [c for c in replay(first, recorded(w), {"p/web": rules}) if c.cause == "exited"]
    assert [c.replayed[-1][0] for c in exits] == ["supervision.gave_up"] * 3


def guarded(world: Any, hard: int) -> tuple[Any, dict[str, Any]]:
    """A run that a guard ended at `hard`, its stop, its end, and the next one's crash; with the snapshot before."""
    w = world(memory=MemoryLines(hard=hard))
    first = snapshot(w.state)
    w.come_up()
    w.feed(Tripped(str(w.state.run), "memory", "hard", 530, hard, words="530 B held", polite=5.0), 10.0)
    w.exit(0, 1.0, signal=15)
    w.tree_gone()
    w.lives((1, 1.0))
    return w, first


def test_a_journal_with_guards_is_decided_the_same(world: Any) -> None:
    """What guards proposed is an input like any other."""
    w, first = guarded(world, 512)
    found = replay(first, recorded(w))
    assert "tripped" in [c.cause for c in found]
    assert [c for c in found if not c.same] == []


def test_under_a_higher_line_what_the_run_would_have_done_is_not_recorded(world: Any) -> None:
    """The line would not have been reached: no stop, and the recorded end came of one. Later runs are judged again."""
    w, first = guarded(world, 512)
    for memory, words in ((MemoryLines(hard=1 << 30), "under the hard line of 1 GiB"), (None, "no hard line then")):
        found = replay(first, recorded(w), {"p/web": replace(w.rules, memory=memory)})
        unknown = [c for c in found if c.remark.startswith(NOT_RECORDED)]
        assert [c.cause for c in unknown] == ["tripped", "exited", "tree_gone", "tick"]
        assert [c.cause for c in found if not c.same and c not in unknown] == []
        assert words in unknown[0].remark
        assert "it was asked to leave, and would not have been" in unknown[1].remark
        last = [c for c in found if c.cause == "exited"][-1]
        assert dict(last.replayed)["run.exited"]["cause"] == "crash"


def test_under_the_same_or_a_lower_line_the_guard_decides_again(world: Any) -> None:
    """Also where its speed had lowered the line a little: 530 of 560."""
    w, first = guarded(world, 512)
    for hard in (500, 512, 560, "auto"):
        found = replay(first, recorded(w), {"p/web": replace(w.rules, memory=MemoryLines(hard=hard))})
        assert [c for c in found if not c.same] == []


def test_a_drain_that_would_not_have_been_asked_has_no_recorded_end(world: Any) -> None:
    """It left because it was asked at the soft line; under a higher one nobody would have asked."""
    w = world(memory=MemoryLines(soft=512), drain=DrainRules(signal=10), drain_code=12)
    first = snapshot(w.state)
    w.come_up()
    w.feed(Tripped(str(w.state.run), "memory", "soft", 530, 512, words="530 B held"), 10.0)
    w.exit(12, 1.0)
    w.lives((1, 1.0))
    assert [c for c in replay(first, recorded(w)) if not c.same] == []
    found = replay(first, recorded(w), {"p/web": replace(w.rules, memory=MemoryLines(soft=1024))})
    unknown = [c.cause for c in found if c.remark.startswith(NOT_RECORDED)]
    assert unknown == ["tripped", "exited", "tick"]
    assert [c.cause for c in found if not c.same and not c.remark] == []
    assert replay(first, recorded(w), {"p/web": w.rules})[-1].same, "the same rules in other hands"


def test_what_the_other_rules_had_stopped_before_has_no_recorded_end(world: Any) -> None:
    """Stopped for its health now, not then: how it would have ended is nowhere to be read."""
    probe = Probe(tcp="x:1", failures=3)
    w = world(health=probe)
    first = snapshot(w.state)
    w.come_up()
    for _ in range(2):
        w.feed(Probed(str(w.state.run), "health", False, "refused"), 1.0)
    w.exit(3, 60.0)
    strict = replace(w.rules, health=replace(probe, failures=1))
    found = replay(first, recorded(w), {"p/web": strict})
    assert "stop.begin" in [event for event, _ in next(c for c in found if c.cause == "probed").replayed]
    assert "it would have been stopped before" in found[-1].remark
