"""The sweep beside real programs: our own daemon, tmux, other users, containers. Always in a scope of its own."""

from __future__ import annotations

import faulthandler
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.inspect.zoo import Scoped, Zoo, until
from tests.system.conftest import Instance, alive, kill

from midwatch.front.cli import instances
from midwatch.front.cli.owning import gather
from midwatch.inspect.leftovers.find import find, why_not
from midwatch.inspect.sources.live import Live

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pipes are looked at through /proc")


SERVICE = '[service.helper]\ncommand = ["{python}", "{server}"]\n'


def test_our_own_services_are_never_leftovers(instance: Instance, zoo: Zoo) -> None:
    """Keeper, engine and runs; also when both were killed, because the next `up` takes the runs back."""
    instance.up(SERVICE.format(python=sys.executable, server=zoo.server))
    row = instance.until(lambda rows: rows["helper"]["state"] == "up", "it is up")["helper"]
    daemon = instance.daemon()
    ours = gather(instances.look())
    assert daemon["keeper_pid"] in ours.keepers
    sources = Live()
    table = sources.table()
    mine = {row["pid"], daemon["pid"], daemon["keeper_pid"]}
    assert not mine & {left.proc.pid for left in find(sources, table, ours, young=0)}
    kill(daemon["keeper_pid"])
    kill(daemon["pid"])
    until(lambda: not Path(f"/proc/{daemon['keeper_pid']}").exists(), "the keeper is gone")
    ours = gather(instances.look(record_only=True))
    sources = Live()
    table = sources.table()
    assert row["pid"] not in {left.proc.pid for left in find(sources, table, ours, young=0)}
    assert "takes it back" in why_not(sources, table, ours, row["pid"], young=0)
    instance.ok("up", "-d")
    assert instance.ps()["helper"]["pid"] == row["pid"]


def test_what_a_dead_run_left_is_a_leftover(instance: Instance, zoo: Zoo) -> None:
    """Our mark, no record of that run, no supervisor: ours to clear away, whatever it is."""
    from midwatch.engine.layout import Layout

    instance.home.joinpath("lock").touch()
    name = Layout.for_home(instance.home).instance
    pid = zoo.orphan(
        "stray",
        **zoo.named("worker"),
        streams=("null", "null", "null"),
        env={"MIDWATCH_RUN": f"{name}:p.s.7"},
    )
    ours = gather(instances.look(record_only=True))
    found = zoo.find(ours)
    assert found[0].proc.pid == pid
    assert "p.s.7" in " ".join(found[0].proof)


def test_the_real_command_shows_and_spares_the_young(instance: Instance, zoo: Zoo) -> None:
    """`midwatch sweep --json` in a scope: a fresh orphan is younger than a minute, so nothing is ended, and a named
    pid says why."""
    pid = zoo.orphan("server")
    done = instance.cli("sweep", "--json", "--env", f"ZOO={zoo.mark}")
    assert (done.returncode, json.loads(done.stdout)["leftovers"]) == (0, [])
    done = instance.cli("sweep", str(pid), "--yes", "--env", f"ZOO={zoo.mark}")
    assert done.returncode == 1
    assert "less than 60 s" in done.stderr
    os.kill(pid, 0)


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_the_real_command_ends_what_is_a_minute_old(instance: Instance, zoo: Zoo) -> None:
    """The whole way, no part replaced: two orphans, one living server; a minute later one command ends the two."""
    pids = [zoo.orphan("one"), zoo.orphan("two")]
    zoo.held("living")
    faulthandler.cancel_dump_traceback_later()  # it waits on purpose
    time.sleep(61)
    scope = ("--env", f"ZOO={zoo.mark}")
    shown = json.loads(instance.cli("sweep", "--json", *scope).stdout)["leftovers"]
    assert sorted(row["pid"] for row in shown) == sorted(pids)
    done = instance.cli("sweep", "--yes", "--json", *scope)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert {row["action"] for row in told["leftovers"]} <= {"ended", "killed"}
    assert not any(alive(pid) for pid in pids)
    os.kill(zoo.pids["living"], 0)
    undo = json.loads(Path(told["undo"]).read_text())
    assert [row["cwd"] for row in undo["processes"]] == [os.getcwd()] * 2
    assert "ZOO" in undo["processes"][0]["variables"]


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_a_tmux_server_and_its_panes_stay(zoo: Zoo) -> None:
    """Detached, its parent process 1: never found, and neither is a server that runs in a pane."""
    socket = str(zoo.folder / "t")
    tmux = ["tmux", "-f", "/dev/null", "-S", socket]
    subprocess.run(
        [*tmux, "new-session", "-d", f"{sys.executable} {zoo.server}"],
        env=zoo.env,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    try:
        told = subprocess.run(
            [*tmux, "list-panes", "-F", "#{pid} #{pane_pid}"], capture_output=True, text=True, check=True
        )
        server, pane = map(int, told.stdout.split())
        until(lambda: pane in Scoped(zoo.mark).table().procs, "the pane runs")
        zoo.pids.update(server=server, pane=pane)
        assert zoo.find() == []
        assert "its parent lives" in zoo.why_not("pane")
        assert zoo.why_not("server")
    finally:
        subprocess.run([*tmux, "kill-server"], env=zoo.env, check=False)


@pytest.mark.root("starts a process of another user")
def test_another_users_orphan_stays(zoo: Zoo) -> None:
    """Root sweeps root's leftovers only."""
    pid = zoo.orphan("theirs", user=65534, **zoo.named("x-mcp"))
    assert pid in Scoped(zoo.mark).table().procs
    assert zoo.find() == []
    assert "another user" in zoo.why_not("theirs")


@pytest.mark.root("makes a namespace of processes")
@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_a_containers_processes_stay(zoo: Zoo) -> None:
    """A namespace of its own, its init and what that has adopted: none is ours to end."""
    script = f'"{sys.executable}" {zoo.server} & exec sleep 600'
    zoo.start(
        ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", script],
        stdin=-1,
        stdout=-1,
        start_new_session=True,
    )

    def inside() -> list[int]:
        mine = os.readlink("/proc/self/ns/pid")
        found = []
        for pid in Scoped(zoo.mark).table().procs:
            try:
                if os.readlink(f"/proc/{pid}/ns/pid") != mine:
                    found.append(pid)
            except OSError:
                continue
        return found

    until(lambda: len(inside()) >= 2, "the container's processes run")
    assert zoo.find() == []
    for zoo.pids["it"] in inside():
        assert zoo.why_not("it")


def test_the_finder_is_quick(zoo: Zoo) -> None:
    """Bounded work: it reads descriptors only of those that lost their parent and are known (no figure asserted)."""
    reads: list[str] = []

    class Counting(Scoped):
        def names(self, folder: str, limit: int = 10_000) -> list[str]:
            reads.append(folder)
            return super().names(folder, limit)

    for n in range(5):
        zoo.held(f"living{n}")
    pid = zoo.orphan("server")
    sources = Counting(zoo.mark)
    from midwatch.inspect.ours import Ours

    find(sources, sources.table(), Ours(), young=0)
    assert [folder for folder in reads if folder.startswith("/proc/")] == [f"/proc/{pid}/fd"]
