"""Whom a process belongs to, and what a tree holds: shells, agents, sub-agents, containers, our own runs."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.inspect.doctor.machines import NOW, proc

from midwatch.inspect import agents
from midwatch.inspect.look import trees
from midwatch.inspect.ours import Ours
from midwatch.inspect.sources import Table
from midwatch.model.look import Proc

PACKS = agents.load()
ID = "ab" * 32


def one(pid: int, ppid: int, argv: str, held: int | None = 10, **more: Any) -> Proc:
    """Of one session unless said otherwise; `held` in MiB."""
    size = None if held is None else held << 20
    facts = {
        "ppid": ppid,
        "sid": 10,
        "held": size,
        "quality": "absent" if held is None else "exact",
        "start": pid,
    }
    return proc(pid, argv, **facts | more)


def grow(*procs: Proc, ours: Ours = Ours()) -> trees.Forest:  # noqa: B008
    return trees.grow(Table({p.pid: p for p in procs}, NOW), PACKS, ours)


def shown(forest: trees.Forest) -> list[tuple[str, str, int, int, str]]:
    return [(t.kind, t.name, t.root.pid, len(t.members), f"{t.quality} {t.held >> 20}") for t in forest.trees]


def test_jobs_of_a_shell_count_one_by_one() -> None:
    """A person's shell ends the climb; a script's shell does not; the first process of all is nobody's root."""
    forest = grow(
        one(1, 0, "/sbin/init", sid=1),
        one(10, 1, "-bash"),
        one(20, 10, "make all"),
        one(21, 20, "cc x.c", 50),
        one(30, 10, "bash start.sh"),
        one(31, 30, "python3 -m http.server"),
        one(40, 1, "postgres -D /x", sid=40),
        one(41, 40, "postgres: writer", 100, sid=40),
    )
    assert shown(forest) == [
        ("program", "postgres", 40, 2, "upper-bound 110"),
        ("program", "make all", 20, 2, "upper-bound 60"),
        ("program", "bash start.sh", 30, 2, "upper-bound 20"),
        ("program", "init", 1, 1, "exact 10"),
        ("program", "bash", 10, 1, "exact 10"),
    ]


def test_a_session_owns_all_it_started() -> None:
    """Whatever sessions, shells -c and wrappers lie between: users.md 2.2, trap 3."""
    forest = grow(
        one(10, 1, "-zsh"),
        one(20, 10, "claude", 300),
        one(21, 20, "npm exec chrome-devtools-mcp@latest", sid=21),
        one(22, 21, "sh -c chrome-devtools-mcp", sid=21),
        one(23, 22, "node /x/node_modules/.bin/chrome-devtools-mcp", sid=21),
        one(24, 20, "/bin/bash -c sleep", sid=24),
        one(25, 24, "sleep 99", sid=24),
        one(26, 20, "claude -p sub-task", sid=26),
    )
    assert shown(forest)[0] == ("agent", "claude", 20, 7, "upper-bound 360")
    assert forest.of(25) is forest.trees[0]
    assert forest.known[23].role == "mcp"


def test_wrappers_and_relaunches_belong_together() -> None:
    """node codex.js and its native program; gemini that starts itself again; npm exec of an agent."""
    forest = grow(
        one(20, 1, "node /x/@openai/codex/bin/codex.js app-server"),
        one(21, 20, "/x/vendor/a/bin/codex app-server"),
        one(30, 1, "node /usr/bin/gemini"),
        one(31, 30, "/usr/bin/node --max-old-space-size=9 /usr/bin/gemini"),
        one(40, 1, "npm exec @anthropic-ai/claude-code"),
        one(41, 40, "claude"),
    )
    assert {(t.name, t.root.pid, len(t.members)) for t in forest.trees} == {
        ("codex app-server", 20, 2), ("gemini", 30, 2), ("claude", 40, 2),
    }  # fmt: skip


def test_a_terminal_inside_an_application_is_not_the_application() -> None:
    """claude in Cursor's terminal is its own session; so is one that a person starts from a shell in another agent."""
    forest = grow(
        one(20, 1, "/Applications/Cursor.app/Contents/MacOS/Cursor", sid=20),
        one(21, 20, "-zsh", sid=21),
        one(22, 21, "claude", sid=21),
        one(30, 1, "claude", sid=30),
        one(31, 30, "-zsh", sid=31),
        one(32, 31, "claude", sid=31),
        one(33, 30, "codex exec x", sid=30),
    )
    assert {(t.name, t.root.pid) for t in forest.trees if t.kind == "agent"} == {
        ("Cursor.app", 20), ("claude", 22), ("claude", 30), ("claude", 32), ("codex", 33),
    }  # fmt: skip


def test_our_runs_and_keeper_are_named() -> None:
    """A run is its service's, agent or not; a recycled pid is not; keeper and engine are midwatch."""
    ours = Ours(keepers={5: 0}, engines={6: 0}, runs={20: (20, "shop.web.3"), 30: (999, "shop.old.1")})
    forest = grow(
        one(5, 1, "python -I keeper"), one(6, 5, "python -I engine"),
        one(20, 5, "hermes gateway run", sid=20), one(21, 20, "rg x", sid=21), one(30, 1, "vim x", sid=30), ours=ours,
    )  # fmt: skip
    assert {(t.kind, t.name, t.root.pid, len(t.members)) for t in forest.trees} == {
        ("service", "shop/web", 20, 2), ("midwatch", "midwatch", 5, 2), ("program", "vim x", 30, 1),
    }  # fmt: skip


def test_containers_are_told_by_their_cgroup() -> None:
    group = f"/system.slice/docker-{ID}.scope"
    forest = grow(
        one(20, 1, "containerd-shim", sid=20),
        one(21, 20, "/bin/sh -c x", sid=21, cgroup=group),
        one(22, 21, "worker", sid=21, cgroup=group),
        one(23, 20, "exec-ed", sid=23, cgroup=group),
    )
    assert [(t.kind, t.name, len(t.members)) for t in forest.trees if t.kind == "container"] == [
        ("container", "container abababababab", 3)
    ]


def test_sums_say_what_they_are() -> None:
    """One process is exact, several an upper bound, with one unread a rough sum, none read absent."""
    assert trees.total([one(1, 0, "a")]) == (10 << 20, "exact", 0)
    assert trees.total([one(1, 0, "a"), one(2, 0, "b", 0)])[1] == "exact"
    assert trees.total([one(1, 0, "a"), one(2, 0, "b")])[1] == "upper-bound"
    assert trees.total([one(1, 0, "a"), one(2, 0, "b", None)]) == (10 << 20, "approximate", 1)
    assert trees.total([one(1, 0, "a", None)]) == (0, "absent", 1)
    assert trees.total([one(1, 0, "a", quality="approximate"), one(2, 0, "b")])[1] == "approximate"


def test_kernel_threads_are_no_trees() -> None:
    assert grow(one(2, 0, "", sid=0), one(9, 2, "", sid=0)).trees == ()


@given(st.lists(st.tuples(st.integers(2, 12), st.integers(0, 12), st.integers(1, 3)), max_size=12))
def test_any_table_gives_each_process_one_tree(rows: list[tuple[int, int, int]]) -> None:
    """Circles and recycled numbers of a racing table must not hang or lose anybody."""
    procs = {
        pid: proc(pid, "claude" if pid % 3 else "-sh", ppid=ppid, sid=sid, held=1) for pid, ppid, sid in rows
    }
    forest = trees.grow(Table(procs, NOW), PACKS, Ours())
    assert sorted(p.pid for t in forest.trees for p in t.members) == sorted(procs)
