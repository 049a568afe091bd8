"""Structural signs: S1 to S7 of guards 9.2; expected against observed, low limits (FDW-4, 5, 7, 8, 12)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.machine.linux.fds import KINDS
from midwatch.model.finding import FdSnapshot, Sign
from midwatch.policy import defaults as d
from midwatch.policy.leaks import signs as module
from midwatch.policy.leaks.signs import base, half_closed_since, headroom, low_limit, ratio, signs, tier_of

DB = "/srv/state.db"


def look(
    *targets: tuple[str, str, int], pools: dict[str, int] | None = None, growing: tuple[str, ...] = ()
) -> list[tuple[str, str]]:
    return [(sign.rule, sign.level) for sign in signs(FdSnapshot(0.0, targets), {}, pools, growing)]


def closing(count: int, at: float = 0.0, local: str = "10.0.0.1:50000", peer: str = "10.0.0.2:443") -> FdSnapshot:
    return FdSnapshot(at, (), half_closed=dict.fromkeys(range(count), (local, peer)))


def test_the_figures_of_the_signs() -> None:
    """Guards 9.2 and FDW-4, 5, 8, 12."""
    assert (d.FD_SAME, d.FD_HALF_AGE, d.FD_HALF, d.FD_HALF_OWN, d.FD_HALF_KEPT) == ((8, 16), 600.0, 10, 20, 1024)
    assert (d.FD_DELETED, d.FD_NULL, d.FD_MANY) == (100 << 20, 16, 16)
    assert (d.FD_ROOM, d.FD_LEFT, d.FD_ROOM_LOOKS, d.FD_LOW) == ((0.7, 0.85), 64, 3, 256)
    assert (d.FD_RATIO, d.FD_BASE) == (2.0, (60.0, 300.0))


def test_the_kinds_are_those_of_the_machine() -> None:
    """No rule waits for a kind that is never delivered."""
    assert {*module._SAME, *module._QUEUES} <= set(KINDS)
    sockets = {kind for kind in KINDS if tier_of(kind) is d.LEAK_SOCKETS}
    assert sockets == {kind for kind in KINDS if kind.startswith(("tcp", "udp")) or "socket" in kind}
    assert tier_of("total") is d.LEAK_SOCKETS


@pytest.mark.parametrize(
    ("count", "level"), [(7, None), (8, "note"), (15, "note"), (16, "warn"), (400, "warn")]
)
@pytest.mark.parametrize("kind", ["regular", "deleted file", "sqlite-main", "sqlite-wal", "sqlite-journal"])
def test_s1_the_same_file_many_times(kind: str, count: int, level: str | None) -> None:
    """Eight are a note, sixteen a warning (guards test 10); what many may share is none."""
    assert look(("/srv/x-wal", kind, count)) == ([("S1", level)] if level else [])
    assert look(("/srv/x", "sqlite-shm", count), ("/srv", "dir", count), ("a -> b", "tcp established", count)) == []


@pytest.mark.parametrize(("live", "level"), [(5, None), (6, "note"), (10, "note"), (11, "warn")])
def test_s1_a_declared_pool_decides_for_databases(live: int, level: str | None) -> None:
    """FDW-7: more live connections than the pool: a note, more than twice: a warning, whatever the main file has."""
    open_ = ((DB, "sqlite-main", 40), (DB + "-wal", "sqlite-wal", live), (DB + "-shm", "sqlite-shm", 1))
    for pools in ({"state.db": 5}, {DB: 5, "state.db": 100}):
        assert look(*open_, pools=pools) == ([("S1", level)] if level else [])
    assert look(*open_, pools={"/other/state.db": 5}) == look(*open_)
    assert look(("/srv/log", "regular", 30), pools={"log": 30}) == []


def test_s1_what_was_cut_off_is_no_file() -> None:
    """A look keeps the most frequent targets; the rest comes as one row that no rule takes for a file."""
    assert look(("(others)", "regular", 4000)) == []


def test_s1_says_which_handles_are_connections() -> None:
    """48 of the database, 46 of its -wal: 46 connections, once."""
    (sign,) = signs(FdSnapshot(0.0, ((DB, "sqlite-main", 48), (DB + "-wal", "sqlite-wal", 46))), {}, {DB: 5})
    assert sign.words == (
        "/srv/state.db is open 48 times: 46 live connections, one for each open -wal; the other handles are a "
        "high-water mark; 5 are meant"
    )
    assert (sign.subject, sign.count) == (DB, 46)


@pytest.mark.parametrize(("count", "age", "found"), [(9, 700, 0), (10, 600, 0), (10, 601, 1), (12, 601, 1)])
def test_s2_half_closed_for_long(count: int, age: float, found: int) -> None:
    """12 CLOSE_WAIT older than ten minutes (guards test 10); a young one is somebody's slow answer."""
    since = half_closed_since({}, closing(count))
    now = closing(count, at=age)
    assert [sign.level for sign in signs(now, half_closed_since(since, now))] == ["warn"] * found


def test_s2_names_the_remote_ports_and_forgets_what_was_closed() -> None:
    """Ages are per inode: one that was closed and another that is new are young."""
    first = closing(12)
    since = half_closed_since({}, first)
    assert half_closed_since(since, FdSnapshot(5.0, ())) == {}
    now = FdSnapshot(700.0, (), half_closed={**first.half_closed, 5: ("10.0.0.1:2", "[2001:db8::1]:5432")})
    (sign,) = signs(now, since)
    assert sign.words == (
        "12 sockets half closed for over 10 m: the peers left, this process never closed them; remote ports 443 (11), "
        "5432 (1)"
    )
    assert signs(now, half_closed_since({}, now)) == []


def test_s2_clients_of_its_own_port() -> None:
    """FDW-8: more than twenty at once, of any age: keep-alive is missing."""
    listening = (("127.0.0.1:8080", "tcp listen", 1),)
    for count, found in ((20, 0), (21, 1)):
        half = closing(count, local="127.0.0.1:8080", peer="127.0.0.1:40000").half_closed
        assert len(signs(FdSnapshot(0.0, listening, half), {})) == found
        assert signs(FdSnapshot(0.0, (), half), {}) == []


@given(st.dictionaries(st.integers(0, 10**9), st.floats(0, 1e6), max_size=50), st.integers(0, 3000))
def test_s2_ages_are_bounded_and_the_oldest_stay(since: dict[int, float], count: int) -> None:
    """A storm of CLOSE_WAIT costs no memory and does not make the old ones young."""
    now = FdSnapshot(1e6, (), half_closed=dict.fromkeys([*since, *range(10**9, 10**9 + count)], ("a:1", "b:2")))
    kept = half_closed_since(since, now)
    assert len(kept) <= d.FD_HALF_KEPT
    assert since.items() <= kept.items()


@pytest.mark.parametrize(("held", "found"), [(None, 0), (100 << 20, 0), ((100 << 20) + 1, 1)])
def test_s3_deleted_files_hold_disk(held: int | None, found: int) -> None:
    """Over 100 MiB is a warning; unknown is not 0, and nothing is said."""
    said = signs(FdSnapshot(0.0, (), deleted_bytes=held), {})
    assert [(sign.rule, sign.level) for sign in said] == [("S3", "warn")] * found


def test_s3_a_deleted_database_comes_first() -> None:
    """Writing to nowhere: urgent, before all else."""
    said = signs(FdSnapshot(0.0, (("/x", "regular", 20),), deleted_databases=(DB,), deleted_bytes=1 << 30), {})
    assert [(sign.rule, sign.level) for sign in said] == [("S3", "act"), ("S1", "warn"), ("S3", "warn")]
    assert said[0].words == "/srv/state.db was deleted and is still open: what is written to it is lost"
    assert "hold 1 GiB of disk" in said[2].words


@pytest.mark.parametrize(
    ("target", "count", "found"), [("/dev/null", 16, 0), ("/dev/null", 17, 1), ("/dev/fuse", 99, 0)]
)
def test_s4_null_sinks(target: str, count: int, found: int) -> None:
    """More than sixteen handles of nothing: each child's start leaves one."""
    assert look((target, "device", count)) == [("S4", "note")] * found


def test_s5_pipes_without_an_end_and_queues() -> None:
    """A note at sixteen; with a finding of that kind a warning."""
    assert look(("anon_inode:inotify", "inotify", 15)) == []
    assert look(("anon_inode:inotify", "inotify", 16)) == [("S5", "note")]
    assert look(("anon_inode:[pidfd]", "pidfd", 9), ("pidfd:[1]", "pidfd", 9), growing=("pidfd",)) == [("S5", "warn")]
    (sign,) = signs(FdSnapshot(0.0, (), orphan_pipes=118), {}, growing=("pipe",))
    assert sign.words == "118 pipes have no other end in any process that can be read, and they become more"
    assert sign.level == "warn"
    assert signs(FdSnapshot(0.0, (), orphan_pipes=15), {}) == []


@pytest.mark.parametrize(
    ("totals", "soft", "level"),
    [
        ([218, 218, 218], 256, "act"), ([218, 218], 256, "warn"), ([100, 218, 218], 256, "warn"),
        ([218, 218, 100], 256, None), ([179], 256, None), ([180], 256, "warn"), ([193] * 3, 256, "act"),
        ([192] * 3, 256, "warn"), ([5] * 3, 64, None), ([3584] * 3, 4096, "act"), ([2868] * 3, 4096, "warn"),
        ([2867] * 3, 4096, None), ([], 256, None), ([5], None, None), ([70], 64, "warn"), ([9] * 3, 0, None),
    ],
)  # fmt: skip
def test_s6_head_room(totals: list[int], soft: int | None, level: str | None) -> None:
    """Scenario 35: 218 of 256 three times is act, twice is not; under 64 left counts above 70 % only."""
    said = headroom(totals, soft)
    assert (said.level if said else None) == level


def test_s6_a_service_may_have_shares_of_its_own() -> None:
    """fds.warn and fds.act of the configuration."""
    assert headroom([100] * 3, 256, (0.5, 0.9)) is None
    assert headroom([140] * 3, 256, (0.5, 0.9)) == Sign(
        "S6", "warn", "limit", 140, "140 of 256 descriptors (55%), 116 left"
    )


def test_s6_counts_the_newest_looks_and_says_what_comes() -> None:
    said = headroom([1, 218, 220, 230], 256)
    assert said == Sign(
        "S6",
        "act",
        "limit",
        230,
        "230 of 256 descriptors (90%), 26 left, 3 looks in a row: the next burst fails with EMFILE",
    )


def test_s7_children_that_inherited() -> None:
    """One note a child, with what it holds."""
    held = (("worker (812)", "socket:[77]"), ("worker (812)", "pipe:[78]"), ("sh (900)", "socket:[77]"))
    said = signs(FdSnapshot(0.0, (), inherited=held), {})
    assert [(sign.rule, sign.level, sign.subject, sign.count) for sign in said] == [
        ("S7", "note", "worker (812)", 2),
        ("S7", "note", "sh (900)", 1),
    ]
    assert "socket:[77] for one" in said[0].words


@pytest.mark.parametrize(("soft", "found"), [(256, True), (257, False), (None, False)])
def test_a_low_soft_limit_is_a_warning(soft: int | None, found: bool) -> None:
    """FDW-12: EMFILE then looks like an outage of the provider."""
    said = low_limit(soft)
    assert (said is not None) is found
    assert said is None or ("rlimits.nofile" in said.words and "NumberOfFiles" in said.words)


@pytest.mark.parametrize(("observed", "words"), [(184, None), (185, "2.0 times"), (454, "4.9 times")])
def test_observed_against_expected(observed: int, words: str | None) -> None:
    """Scenario 35: base 92, 25 cached units of none each: 185 warns, 184 does not; 454 is 4.9 times."""
    said = ratio(observed, 92, {"cached agents": (25, 0)})
    assert (said.level if said else None) == ("warn" if words else None)
    assert said is None or said.words == (
        f"{observed} descriptors, 92 expected (base 92 + 25 cached agents x 0): {words}"
    )


def test_units_of_work_explain_descriptors() -> None:
    """FDW-4: 30 sessions of 3 on a base of 92 expect 182; nothing expected is nothing to compare with."""
    assert ratio(300, 92, {"sessions": (30, 3)}) is None
    assert ratio(365, 92, {"sessions": (30, 3)})
    assert ratio(50, 0) is None


def test_the_base_is_the_median_from_one_to_five_minutes() -> None:
    """FDW-4: not the import, not the first sessions; unknown before."""
    assert base([(10, 5), (59, 6)]) is None
    assert base([(10, 5), (60, 90), (120, 92), (240, 900), (300, 93), (301, 400)]) == 92.5


counts = st.integers(0, 5000)


@given(
    st.lists(st.tuples(st.sampled_from(["/dev/null", DB, DB + "-wal", "pipe:[1]"]), st.sampled_from(KINDS), counts)),
    st.dictionaries(st.sampled_from(["state.db", "null"]), st.integers(0, 100)),
    counts,
)
def test_any_snapshot_is_judged(targets: list[tuple[str, str, int]], pools: dict[str, int], pipes: int) -> None:
    """Every sign has words and one of three levels, the worst first."""
    said = signs(FdSnapshot(0.0, tuple(targets), orphan_pipes=pipes), {}, pools)
    levels = [module.LEVELS.index(sign.level) for sign in said]
    assert levels == sorted(levels)
    assert all(sign.words and sign.count > 0 for sign in said)
