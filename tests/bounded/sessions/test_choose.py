"""What of a session a model gets to see, decided from small columns: rules B7 and B8 as tables, no store."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.bounded.sessions.choose import Budget, Choice, choose
from midwatch.bounded.sessions.errors import TooLarge
from midwatch.bounded.sessions.shapes import plain
from midwatch.bounded.sessions.values import ROLES, Item
from midwatch.policy import defaults_sessions as d

MIB = 1 << 20
BUDGET = Budget(400, 1_572_864)


def item(
    pos: int, kind: str, size: int = 100, call: str = "", mime: str = "text/plain", covers: int | None = None
) -> Item:
    calls = tuple(call.split()) if call else ()
    return Item(
        session="s", pos=pos, kind=kind, role=ROLES[kind], size=size, wide=size, tokens=-(-size // 4), mime=mime,
        calls=calls, covers=covers,
    )  # fmt: skip


def frame(one: Item) -> int:
    return 120


def rounds(count: int, size: int = 100) -> list[Item]:
    """A prompt, a request, then uses and results."""
    found = [item(1, "system"), item(2, "user")]
    for number in range(count):
        pos = 3 + 2 * number
        found += [item(pos, "tool_use", 50, f"c{number}"), item(pos + 1, "tool_result", size, f"c{number}")]
    return found


def positions(choice: Choice) -> list[int]:
    return [one.item.pos for one in choice.shown]


def test_everything_goes_when_it_fits() -> None:
    """A small session is sent whole, in its order."""
    choice = choose(rounds(5), BUDGET, frame)
    assert positions(choice) == list(range(1, 13))
    assert all(one.whole for one in choice.shown)
    assert choice.left_out == 0


def test_s22_the_request_survives_400_rounds() -> None:
    """S22: 1 request, 400 tool rounds, at most 100 items: the request is there, <= 100 items, no orphan result."""
    choice = choose(rounds(400), Budget(100, 1_572_864), frame)
    assert len(choice.shown) <= 100
    assert {1, 2} <= set(positions(choice))
    calls = [(one.item.kind, one.item.calls[0]) for one in choice.shown if one.item.calls]
    assert {call for kind, call in calls if kind == "tool_use"} == {
        call for kind, call in calls if kind == "tool_result"
    }
    assert positions(choice)[-1] == 802


def test_s20_old_large_results_become_previews() -> None:
    """S20: 163 messages, 40 of them 2 MB results: all are there, each old one shortened, the newest with >= 4 KiB."""
    found = rounds(80)
    large = [item(one.pos, one.kind, 2 * MIB, one.calls[0]) if one.kind == "tool_result" and at % 4 == 1 else one
             for at, one in enumerate(found)]  # fmt: skip
    assert sum(one.size == 2 * MIB for one in large) == 40
    choice = choose(large, BUDGET, frame)
    assert len(choice.shown) == len(large)
    shortened = [one for one in choice.shown if one.item.size == 2 * MIB]
    assert all(not one.whole and one.room >= d.LEVELS[-1] for one in shortened)
    newest = [one for one in choice.shown if one.item.kind == "tool_result"][-1]
    assert newest.room >= d.NEWEST_LEAST


def test_s21_the_newest_result_is_shown() -> None:
    """S21: however tight the budget, the newest result keeps 4 KiB."""
    found = [*rounds(30, 30_000), item(900, "tool_use", 50, "last"), item(901, "tool_result", 5_000_000, "last")]
    choice = choose(found, Budget(400, 64 * 1024), frame)
    assert choice.shown[-1].item.pos == 901
    assert choice.shown[-1].room >= d.NEWEST_LEAST


def test_shares_shrink_before_items_go() -> None:
    """With half the bytes the shares are smaller, and still every item is there."""
    found = rounds(100, 30_000)
    wide, tight = choose(found, Budget(400, 4 * MIB), frame), choose(found, Budget(400, MIB), frame)
    assert len(wide.shown) == len(tight.shown) == len(found)
    assert wide.level > tight.level
    assert tight.level in d.LEVELS


def test_the_oldest_go_when_shares_cannot_shrink() -> None:
    """A budget for a few previews drops the oldest rounds and says how many."""
    choice = choose(rounds(100, 30_000), Budget(400, 40_000), frame)
    assert choice.left_out > 0
    kept = positions(choice)
    assert {1, 2, 201, 202} <= set(kept)
    assert kept[2:] == list(range(kept[2], 203))


def test_a_summary_stands_for_what_it_covers() -> None:
    """Behind a summary only the prompt and the first request are left of what was before; `covers` moves its place."""
    found = [*rounds(10), item(23, "summary"), item(24, "user"), item(25, "assistant")]
    assert positions(choose(found, BUDGET, frame)) == [1, 2, 23, 24, 25]
    found[-3] = item(23, "summary", covers=20)
    assert positions(choose(found, BUDGET, frame)) == [1, 2, 23, 21, 22, 24, 25]


def test_only_the_last_summary_counts() -> None:
    """An earlier summary is covered by a later one."""
    found = [item(1, "user"), item(2, "summary"), item(3, "assistant"), item(4, "summary"), item(5, "user")]
    assert positions(choose(found, BUDGET, frame)) == [1, 4, 5]


def test_halves_of_a_call_are_left_out() -> None:
    """A use without its result and a result without its use would be refused by providers: neither is sent."""
    found = [item(1, "user"), item(2, "tool_use", 10, "a"), item(3, "tool_result", 10, "b"), item(4, "assistant")]
    assert positions(choose(found, BUDGET, frame)) == [1, 4]


def test_several_calls_of_one_answer_stay_together() -> None:
    """An assistant's item with two calls goes with both results or not at all."""
    found = [
        item(1, "user"),
        item(2, "assistant", 10, "a b"),
        item(3, "tool_result", 10, "a"),
        item(4, "tool_result", 10, "b"),
    ]
    assert positions(choose(found, BUDGET, frame)) == [1, 2, 3, 4]
    assert positions(choose(found, Budget(3, MIB), frame)) == [1]
    assert positions(choose(found[:3], BUDGET, frame)) == [1]


def test_ids_may_come_again() -> None:
    """Some providers count calls from 0 in every turn."""
    found = [item(1, "user")]
    for pos in (2, 4, 6):
        found += [item(pos, "tool_use", 10, "call_0"), item(pos + 1, "tool_result", 10, "call_0")]
    assert positions(choose(found, BUDGET, frame)) == [1, 2, 3, 4, 5, 6, 7]


def test_notes_are_never_sent() -> None:
    """A note is for people."""
    assert positions(choose([item(1, "user"), item(2, "note")], BUDGET, frame)) == [1]


def test_the_system_prompt_is_always_there() -> None:
    """A prompt of 200 KiB is whole beside a megabyte of results."""
    found = [item(1, "system", 200 * 1024), *rounds(100, 10_000)[1:]]
    first = choose(found, Budget(400, MIB), frame).shown[0]
    assert first.item.kind == "system"
    assert first.whole


def test_b8_old_pictures_become_references() -> None:
    """B8: a picture older than three turns, or larger than half the context, is a reference; a new one is sent
    whole."""
    picture = item(1, "user", 100_000, mime="image/png")
    assert choose([picture, item(2, "user"), item(3, "user")], BUDGET, frame).shown[0].whole
    old = choose([picture, *(item(pos, "user") for pos in range(2, 5))], BUDGET, frame).shown[0]
    assert old.gone == "an older picture"
    assert not choose([item(1, "user", MIB, mime="image/png")], BUDGET, frame).shown[0].whole


def test_tokens_are_a_bound_of_their_own() -> None:
    """20,000 tokens of a megabyte."""
    choice = choose(rounds(100, 10_000), Budget(400, 1_572_864, 20_000), frame)
    assert sum(one.tokens + 30 for one in choice.shown) <= 20_000
    assert 2 in positions(choice)


def test_a_budget_for_nothing_is_refused() -> None:
    """It says how much is needed at least."""
    with pytest.raises(TooLarge, match="at least"):
        choose([item(1, "system", 100_000), item(2, "user", 100_000)], Budget(400, 3000), frame)


def test_the_notice_is_counted() -> None:
    """The longest notice that an id of 100 bytes makes is not longer than what is kept for it."""
    from midwatch.bounded.sessions.showing import HOW

    call = HOW.format(ref="x" * 100 + "/" + "9" * 9, offset=10**12)
    assert len(f"\n[{10**12:,} of {10**12:,} bytes not shown here. Read on: {call}]\n") + 8 <= d.NOTICE_BYTES


KINDS = st.sampled_from(["user", "assistant", "tool_use", "tool_result", "note", "summary", "system"])


@given(
    st.lists(st.tuples(KINDS, st.integers(0, 200_000), st.sampled_from("abcdef")), max_size=60),
    st.integers(12, 60),
    st.integers(20_000, MIB),
)
def test_no_bound_is_ever_passed(rows: list[tuple[str, int, str]], most: int, bytes_: int) -> None:
    """Whatever the session: items and bytes are within the budget, and no half of a call is sent; or it is refused."""
    found = [
        item(pos, kind, size, call if kind.startswith("tool") else "")
        for pos, (kind, size, call) in enumerate(rows, 1)
    ]

    def exact(one: Item) -> int:
        before, behind = plain(one, one.picture)
        return len(before) + len(behind) + 1

    try:
        choice = choose(found, Budget(most, bytes_), exact)
    except TooLarge:
        return
    assert len(choice.shown) <= most
    assert sum(one.room + exact(one.item) for one in choice.shown) + 2 <= bytes_
    uses = sum(one.item.kind == "tool_use" for one in choice.shown)
    assert uses == sum(one.item.kind == "tool_result" for one in choice.shown)
    assert json.dumps(positions(choice))
