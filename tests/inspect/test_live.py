"""This machine's sources: bounded reads, programs that hang or talk too much, a process that holds up who asks."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from midwatch.inspect.leftovers import find as leftovers
from midwatch.inspect.ours import Ours
from midwatch.inspect.sources import READ_BYTES, Sources, Table
from midwatch.inspect.sources.live import Live
from midwatch.model.look import Proc

LIVE: Sources = Live()


def test_reads_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * (READ_BYTES + 5))
    assert len(LIVE.read(str(tmp_path / "f"))) == READ_BYTES
    assert LIVE.read(str(tmp_path / "f"), 3) == b"xxx"
    assert LIVE.size(str(tmp_path / "f"))[0] == READ_BYTES + 5


@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_a_read_never_hangs(kind: str, tmp_path: Path) -> None:
    """A FIFO nobody writes to, a device, a folder: refused at once."""
    path = {"fifo": str(tmp_path / "p"), "device": "/dev/zero", "folder": str(tmp_path)}[kind]
    if kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(OSError) as error:
        LIVE.read(path)
    assert error.value.errno == errno.EINVAL


def test_names_links_and_room(tmp_path: Path) -> None:
    for name in "cab":
        (tmp_path / name).touch()
    os.symlink("/x", tmp_path / "l")
    assert LIVE.names(str(tmp_path)) == ["a", "b", "c", "l"]
    assert len(LIVE.names(str(tmp_path), 2)) == 2
    assert LIVE.link(str(tmp_path / "l")) == "/x"
    total, free, _, _ = LIVE.space("/")
    assert 0 <= free <= total


def test_programs() -> None:
    """Code, both streams, the C locale, no input, no shell."""
    ran = LIVE.run(("sh", "-c", "read x; echo $LC_ALL $x; echo oops >&2; exit 3"))
    assert (ran.code, ran.out, ran.err, ran.cut, ran.late) == (3, "C\n", "oops\n", False, False)
    with pytest.raises(FileNotFoundError):
        LIVE.run(("no-such-program-here",))


def test_a_program_that_hangs_is_ended_with_its_children() -> None:
    """GEN-6: late, and nobody of it is left (the suite's own check)."""
    ran = LIVE.run(("sh", "-c", "echo begun; sleep 600 & sleep 600"), 0.5)
    assert ran.late
    assert ran.code == -9
    assert ran.out == "begun\n"


def test_a_program_that_talks_for_ever_is_cut() -> None:
    """GEN-6: one mebibyte, then it is ended; what it said can be used."""
    ran = LIVE.run(("yes",), 20.0)
    assert (ran.cut, ran.late, ran.code, len(ran.out)) == (True, False, 0, READ_BYTES)


def test_the_table_is_taken_once() -> None:
    live = Live()
    assert live.table() is live.table()
    assert os.getpid() in live.table().procs


def test_a_process_that_holds_us_up_costs_only_what_follows() -> None:
    """/proc/PID/cmdline can wait for ever: those read before are shown, and that it is so is said."""
    stuck = threading.Event()

    class Stuck(Live):
        def _look(self) -> Table:
            self._found[5] = Proc(pid=5, start=1, ppid=1, pgid=5, sid=5, uid=0, name="x")
            stuck.wait(30)
            return Table({}, 0.0)

    live = Stuck()
    table = live.table()
    stuck.set()
    assert set(table.procs) == {5}
    assert "only 1 processes were read in time" in table.hidden[0]
    assert not table.whole


def test_of_a_table_that_is_not_whole_nobody_is_left_over() -> None:
    """A parent that was not read in time must not look like one that has ended: no target, and the reason."""
    orphan = Proc(9, 1, 8, 9, 9, os.geteuid(), "x", ("npm exec chrome-devtools-mcp@latest",), 1.0)
    table = Table({9: orphan}, 1e9, whole=False)
    assert leftovers.find(LIVE, table, Ours()) == []
    assert "could not all be read" in leftovers.why_not(LIVE, table, Ours(), 9)


def test_an_error_of_the_table_is_raised_to_who_asked() -> None:
    class Broken(Live):
        def _look(self) -> Table:
            raise OSError(5, "broken")

    with pytest.raises(OSError, match="broken"):
        Broken().table()


def test_settings() -> None:
    if not os.path.exists("/proc/sys/kernel/pid_max"):
        pytest.skip("no /proc/sys here")
    assert int(LIVE.sysctl("kernel.pid_max")) > 0
    with pytest.raises(OSError, match=r".*"):
        LIVE.sysctl("no.such.setting")
