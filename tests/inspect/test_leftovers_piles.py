"""Pile-ups below a parent that lives: shown apart, grouped by server and sub-agent, the newest of each left out."""

from __future__ import annotations

from tests.inspect.played import NOW, Machine, many, proc, table

from midwatch.inspect.agents import load
from midwatch.inspect.leftovers.ends import Blind
from midwatch.inspect.leftovers.find import find, why_not
from midwatch.inspect.leftovers.piles import batches
from midwatch.inspect.ours import Ours
from midwatch.inspect.sources import Table
from midwatch.model.look import Leftover, Proc

PACKS = load()
PARENT = proc(500, "codex app-server", start=1)
BROWSE = "npm exec chrome-devtools-mcp@latest"


def found(*procs: Proc) -> list[Leftover]:
    return find(Machine("darwin"), table(PARENT, *procs), Ours(), PACKS, ends=Blind())


def test_402_helpers_under_one_app_server() -> None:
    """Story 2 (CX#25015): all but the newest of each server, never certain, with who will start them again."""
    git = many(3000, 201, "uvx mcp-server-git", ppid=500, held=45 << 20)
    told = found(*many(1000, 201, BROWSE, ppid=500, held=45 << 20), *git)
    assert len(told) == 400
    assert not any(one.certain for one in told)
    assert {one.group.partition(" below ")[0] for one in told} == {"chrome-devtools-mcp", "mcp-server-git"}
    assert all("pid 500" in one.group and "starts it again" in one.respawns for one in told)
    assert not {1200, 3200} & {one.proc.pid for one in told}
    assert "one of 201 copies" in told[0].reason


def test_what_a_process_manager_runs_is_no_pile() -> None:
    """Twenty servers in one pm2 or supervisord are what somebody wrote down."""
    for words in ("PM2 v6.0.5: God Daemon (/root/.pm2)", "supervisord -n"):
        manager = proc(900, words, start=1)
        assert found(manager, *many(1000, 20, BROWSE, ppid=900)) == []


def test_who_is_hidden_is_not_called_gone() -> None:
    """With hidepid a pid of somebody else is not shown: that is no proof that it does not exist."""
    procs = table(PARENT)
    hidden = Table(procs.procs, procs.at, ("others are hidden (hidepid)",))
    assert why_not(Machine("darwin"), procs, Ours(), 1, PACKS, ends=Blind()) == "there is no such process"
    assert why_not(Machine("darwin"), hidden, Ours(), 1, PACKS, ends=Blind()).startswith("it cannot be seen (")


def test_few_copies_are_no_pile() -> None:
    """Five sessions with a server each are how agents work."""
    assert found(*many(1000, 7, BROWSE, ppid=500)) == []
    assert len(found(*many(1000, 8, BROWSE, ppid=500))) == 7


def test_copies_are_told_by_sub_agent() -> None:
    """What began within seconds is one sub-agent's set."""
    early = [proc(10 + n, BROWSE, started=NOW - 9000 + n) for n in range(3)]
    late = [proc(20 + n, BROWSE, started=NOW - 5000 + n) for n in range(2)]
    assert [len(one) for one in batches(early + late)] == [3, 2]


def test_a_wrapper_and_its_server_are_one_copy() -> None:
    """npm exec -> node: the server below a wrapper is offered with it, not as a second copy."""
    wrappers = many(1000, 8, BROWSE, ppid=500)
    servers = [
        proc(2000 + n, "node /x/node_modules/.bin/chrome-devtools-mcp", ppid=1000 + n, start=(1000 + n) * 100 + 1,
             started=NOW - 8000)
        for n in range(8)
    ]  # fmt: skip
    told = found(*wrappers, *servers)
    assert len(told) == 14
    assert "copies of chrome-devtools-mcp" in told[0].reason


def test_the_young_and_the_protected_are_not_offered() -> None:
    """A copy that was started just now is in use."""
    young = [proc(1000 + n, BROWSE, ppid=500, started=NOW - 5) for n in range(9)]
    assert found(*young) == []


def test_another_parents_copies_are_not_added_up() -> None:
    """Two agents with five each are no pile of ten."""
    other = proc(600, "claude", start=1)
    assert found(other, *many(1000, 5, BROWSE, ppid=500), *many(2000, 5, BROWSE, ppid=600)) == []
