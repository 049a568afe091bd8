"""The zoo: processes that look like leftovers and are somebody's. Not one of them may ever be found.

Each animal says which step of the proof spares it. They are real processes where Linux can play them as this user;
what needs another machine (systemd units, containers' paths) is the same table with one field replayed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.inspect.animals import ANIMALS, OURS
from tests.inspect.zoo import Scoped, Zoo, until

from midwatch.inspect.leftovers.find import find, why_not
from midwatch.inspect.ours import Ours
from midwatch.inspect.sources import Table
from midwatch.inspect.sources.recorded import Recorded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pipes are looked at through /proc")


@pytest.mark.parametrize("animal", ANIMALS, ids=[animal.__name__ for animal in ANIMALS])
def test_a_look_alike_is_spared(zoo: Zoo, animal: Callable[[Zoo], None]) -> None:
    """Not found, not even apart, and the reason is the right one."""
    animal(zoo)
    zoo.settle("it")
    until(
        lambda: ANIMALS[animal] in zoo.why_not("it", OURS),
        f"{ANIMALS[animal]}, not {zoo.why_not('it', OURS)}",
    )
    assert zoo.pids["it"] not in {left.proc.pid for left in zoo.find(OURS)}


def test_the_zoo_has_thirty_animals() -> None:
    """Issue 5 asks for thirty look-alikes; those below and in tests/system are more."""
    assert len(ANIMALS) >= 30


@pytest.fixture
def server_left(zoo: Zoo) -> tuple[Zoo, Scoped, Table]:
    """One certain leftover, whose table a test changes in one place."""
    zoo.orphan("it")
    sources = Scoped(zoo.mark)
    return zoo, sources, sources.table()


FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "systemd unit": ({"cgroup": "/system.slice/worker.service"}, "a job of systemd (worker.service)"),
    "systemd user unit": (
        {"cgroup": "/user.slice/user-0.slice/user@0.service/app.slice/w.service"}, "a job of systemd (w.service)"),
    "container with the host's pids": ({"cgroup": "/system.slice/docker-0123.scope"}, "lives in a container"),
    "another user's": ({"uid": 4242}, "another user"),
    "a zombie": ({"state": "Z"}, "ended already"),
    "a kernel thread": ({"argv": (), "ppid": 2}, "nothing says"),
    "a child of the kernel's": ({"ppid": 2}, "belongs to the kernel"),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_one_field_spares_it(server_left: tuple[Zoo, Scoped, Table], name: str) -> None:
    """The same leftover with one field of its row replayed: somebody's."""
    zoo, sources, table = server_left
    fields, words = FIELDS[name]
    pid = zoo.pids["it"]
    assert [left.proc.pid for left in find(sources, table, OURS, young=0)] == [pid]
    changed = Table({**table.procs, pid: msgspec.structs.replace(table.procs[pid], **fields)}, table.at)
    assert find(sources, changed, OURS, young=0) == []
    assert words in why_not(sources, changed, OURS, pid, young=0)


def test_a_session_number_given_anew_is_no_leader(server_left: tuple[Zoo, Scoped, Table]) -> None:
    """A recycled pid: a younger process with the number of its session's leader did not start it."""
    zoo, sources, table = server_left
    it = table.procs[zoo.pids["it"]]
    newer = msgspec.structs.replace(
        it, pid=it.sid, ppid=1, sid=it.sid, start=it.start + 100, argv=("bash",), name="bash"
    )
    (left,) = find(sources, Table({**table.procs, it.sid: newer}, table.at), OURS, young=0)
    assert f"(pid {it.sid}) is gone" in left.proof[0]


def test_the_young_are_spared(zoo: Zoo) -> None:
    """Less than a minute old: its owner may not have met it yet."""
    zoo.orphan("it")
    assert zoo.find() != []
    assert zoo.find(young=60.0) == []
    assert "less than 60 s" in zoo.why_not("it", young=60.0)


@pytest.mark.parametrize("part", ["environ", "fd", "fdinfo/0", "fdinfo/1", "fdinfo/2", "ns/pid", "status"])
def test_what_cannot_be_read_is_not_proven(zoo: Zoo, part: str) -> None:
    """One thing unreadable at a time: no leftover, or still a proven one where it is not needed; never an error."""
    zoo.orphan("it")
    pid = zoo.pids["it"]
    bad = f"/proc/{pid}/{part}"

    class Denied(Scoped):
        def read(self, path: str, limit: int = 1 << 20) -> bytes:
            if path == bad:
                raise PermissionError(13, "denied", path)
            return super().read(path, limit)

        def names(self, folder: str, limit: int = 10_000) -> list[str]:
            if folder == bad:
                raise PermissionError(13, "denied", folder)
            return super().names(folder, limit)

        def link(self, path: str) -> str:
            if path == bad:
                raise PermissionError(13, "denied", path)
            return super().link(path)

    sources = Denied(zoo.mark)
    assert find(sources, sources.table(), OURS, young=0) == [] or part == "status"


def test_who_vanishes_in_the_middle_is_no_leftover(zoo: Zoo) -> None:
    """The table is older than the process's end: nothing is found and nothing raises."""
    zoo.orphan("it")
    sources = Scoped(zoo.mark)
    table = sources.table()
    os.kill(zoo.pids["it"], signal.SIGKILL)
    until(lambda: not Path(f"/proc/{zoo.pids['it']}/fd/0").exists(), "it is gone")
    assert find(sources, table, OURS, young=0) == []


def test_process_ones_own_session_is_spared(server_left: tuple[Zoo, Scoped, Table]) -> None:
    """In a container process 1 is often the program itself: what is of its session may be its own child."""
    zoo, sources, table = server_left
    pid = zoo.pids["it"]
    first = msgspec.structs.replace(table.procs[1], sid=1)
    mine = msgspec.structs.replace(table.procs[pid], sid=1)
    changed = Table({**table.procs, 1: first, pid: mine}, table.at)
    assert find(sources, changed, OURS, young=0) == []
    assert "session of process 1" in why_not(sources, changed, OURS, pid, young=0)


def test_a_launchd_job_of_a_recorded_mac(tmp_path: Path) -> None:
    """Story 10 on its own platform: launchd's workers have process 1 as their parent by design. Not one is found."""
    (tmp_path / "platform").write_text("darwin\n")
    (tmp_path / "now").write_text("2026-03-02T09:20:00+00:00\n")
    (tmp_path / "ps.txt").write_text(
        "  PID  PPID  PGID   SID   UID ELAPSED    RSS TT   ARGS\n"
        "    1     0     1     1     0   90000  12000 ??   /sbin/launchd\n"
        "  700     1   700   700   501   80000  90000 ??   node /opt/x/node_modules/.bin/empirica-mcp --worker\n"
        "  701     1   701   701   501   80000  90000 ??   npm exec chrome-devtools-mcp@latest\n"
    )
    sources = Recorded(tmp_path)
    assert find(sources, sources.table(), Ours(), young=0) == []


def test_nothing_is_certain_in_a_recording(server_left: tuple[Zoo, Scoped, Table]) -> None:
    """Where the kernel cannot be asked, nothing is proven."""
    from midwatch.inspect.leftovers.ends import Blind

    _, sources, table = server_left
    assert find(sources, table, OURS, ends=Blind(), young=0) == []


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_zero_wrong_targets_and_nobody_missed(zoo: Zoo) -> None:
    """Story 10: everybody at once, a hundred looks: the three real leftovers each time, and never anybody else."""
    names = (
        "daemon nohup cron logs_to_a_file living_client living_editor own_browser editor database ssh screen stopped "
        "unknown_worker idle_agent_at_its_terminal extra_pipe marked_by_an_unknown_instance"
    )
    makers = [animal for animal in ANIMALS if animal.__name__ in names.split()]
    assert len(makers) == 16
    for maker in makers:
        maker(zoo)
        zoo.pids[maker.__name__] = zoo.pids.pop("it")
    real = {zoo.orphan(f"real{n}") for n in range(3)}
    until(lambda: {left.proc.pid for left in zoo.find(OURS)} == real, "exactly the real ones are found")
    for _ in range(100):
        assert {left.proc.pid for left in zoo.find(OURS)} == real
