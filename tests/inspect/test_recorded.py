"""A recorded machine: files, links, programs, settings and a table of ps, with nothing taken from this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from midwatch.inspect.sources import Sources, pstable
from midwatch.inspect.sources.recorded import Recorded

PS = """  PID  PPID  PGID   SID   UID ELAPSED    RSS STARTED                      TTY      ARGS
    1     0     1     1     0 864000   12000 Fri Feb 20 09:20:00 2026     ??       /sbin/launchd
  612     1   612   612   501 7200    350000 Mon Mar  2 07:20:00 2026     ttys003  claude --resume abc
  700   612   700   612   501 7100     90000 Mon Mar  2 07:21:40 2026     ??       npm exec chrome-devtools-mcp@latest
  800     1   800   800   501 01:00:00 50000 Mon Mar  2 08:20:00 2026     ??  /Apps/A B.app/Contents/MacOS/Electron --x
  xxx torn line
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "platform").write_text("darwin\n")
    (tmp_path / "now").write_text("2026-03-02T09:20:00+01:00\n")
    (tmp_path / "ps.txt").write_text(PS)
    (tmp_path / "sysctl.txt").write_text("hw.memsize = 38654705664\nkern.tty.ptmx_max: 511\n")
    (tmp_path / "space.json").write_text('{"/": [100, 40, 10, 5], "/Volumes/x": [7, 1, 0, 0]}')
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "launchctl_limit_maxfiles.txt").write_text(
        "0\n\tmaxfiles    256            unlimited\n"
    )
    (tmp_path / "run" / "cat_-etc-x.txt").write_text("late\n")
    files = tmp_path / "files" / "Users" / "me"
    files.mkdir(parents=True)
    (files / "a.txt").write_text("hello")
    (files / "l.link").write_text("/Users/me/a.txt\n")
    (files / "big.size").write_text("212000000000 1772440000\n")
    return tmp_path


def test_everything_comes_from_the_folder(folder: Path) -> None:
    """The same page as a live machine's; what is not there does not exist."""
    found: Sources = Recorded(folder)
    assert (found.platform, found.recorded, found.uid, found.home) == ("darwin", True, 501, "/Users/me")
    assert found.now() == 1772439600.0
    assert found.read("/Users/me/a.txt", 2) == b"he"
    assert found.names("/Users/me") == ["a.txt", "big", "l"]
    assert found.link("/Users/me/l") == "/Users/me/a.txt"
    assert found.size("/Users/me/big") == (212000000000, 1772440000.0)
    assert found.size("/Users/me/a.txt")[0] == 5
    assert found.space("/Volumes/x/y") == (7, 1, 0, 0)
    assert found.space("/Volumes/xy") == (100, 40, 10, 5)
    assert found.sysctl("hw.memsize") == "38654705664"
    assert found.sysctl("kern.tty.ptmx_max") == "511"
    assert found.run(("launchctl", "limit", "maxfiles")).out.split()[1] == "256"
    assert found.run(("cat", "/etc/x")).late
    for ask in (
        lambda: found.read("/etc/passwd"),
        lambda: found.run(("ps",)),
        lambda: found.sysctl("kernel.pid_max"),
    ):
        with pytest.raises(FileNotFoundError):
            ask()


def test_a_path_cannot_leave_the_folder(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Recorded(folder).read("/../../../../etc/passwd")


def test_the_table_of_ps(folder: Path) -> None:
    """F-23: start by lstart in the recording's zone, memory as resident, a Mac's application is one word."""
    procs = Recorded(folder).table().procs
    assert set(procs) == {1, 612, 700, 800}
    claude = procs[612]
    assert (claude.ppid, claude.uid, claude.tty, claude.argv) == (
        1,
        501,
        "ttys003",
        ("claude", "--resume", "abc"),
    )
    assert (claude.held, claude.quality) == (350000 * 1024, "upper-bound")
    assert claude.started == 1772432400.0
    assert claude.start == 1772432400 * 10**6
    assert procs[1].tty == ""
    assert procs[800].argv == ("/Apps/A B.app/Contents/MacOS/Electron", "--x")
    assert procs[800].name == "Electron"


def test_other_columns_and_elapsed_times() -> None:
    """Columns by their headings; [[days-]hours:]minutes:seconds; a footprint is exact."""
    text = "PID PPID ELAPSED MEM TT COMMAND\n5 1 2-01:00:10 1.5G ? [kthreadd]\n6 1 90 12M pts/3 vim x\n"
    procs = pstable.parse(text, 1_000_000.0)
    assert procs[5].started == 1_000_000 - (2 * 86400 + 3610)
    assert (procs[5].held, procs[5].quality, procs[5].argv) == (3 << 29, "exact", ())
    assert (procs[6].tty, procs[6].rss) == ("pts/3", None)
    assert pstable.parse("", 0.0) == {}


def test_a_folder_that_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Recorded(tmp_path)
    (tmp_path / "platform").write_text("amiga")
    with pytest.raises(OSError, match="amiga"):
        Recorded(tmp_path)


def test_without_a_table_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "platform").write_text("linux")
    (tmp_path / "now").write_text("1772440000")
    table = Recorded(tmp_path).table()
    assert table.procs == {}
    assert "no ps.txt" in table.hidden[0]
