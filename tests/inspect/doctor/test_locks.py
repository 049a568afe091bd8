"""DOC-11: locks and pid files, with real flocks where the kernel can play them (scenarios 42 and 43)."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.inspect.doctor.machines import NOW, Machine, ctx, proc

from midwatch.inspect.doctor import locks
from midwatch.inspect.doctor.run import run
from midwatch.inspect.sources.live import Live
from midwatch.model.look import Checked
from midwatch.policy import defaults_inspect as figures

UV = "/home/me/.cache/uv/.lock"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc")


class Here(Live):
    """This machine with another home and, if need be, another clock."""

    def __init__(self, home: Path, ahead: float = 0.0) -> None:
        super().__init__()
        self._home, self._ahead = str(home), ahead

    @property
    def home(self) -> str:
        return self._home

    def now(self) -> float:
        return time.time() + self._ahead


def bad(results: list[Checked]) -> list[Checked]:
    return [one for one in results if one.status in ("warn", "fail")]


def look(home: Path, *paths: Path, ahead: float = 0.0) -> list[Checked]:
    found = run(ctx(Here(home, ahead), paths=tuple(map(str, paths))), [locks.CHECK])
    return [one for one in found if str(home) in one.message or one.status == "pass"]


@pytest.fixture
def uv(tmp_path: Path) -> Path:
    """A home with uv's lock file."""
    (tmp_path / ".cache/uv").mkdir(parents=True)
    lock = tmp_path / ".cache/uv/.lock"
    lock.touch()
    return lock


@LINUX
def test_a_lock_file_without_a_holder_is_free(uv: Path, tmp_path: Path) -> None:
    """Scenario 42: the file is there, months old, nobody holds it: pass."""
    os.utime(uv, (1, 1))
    assert not bad(look(tmp_path, ahead=1e6))
    with open(uv) as opened:  # open is not held
        assert not opened.closed
        assert not bad(look(tmp_path, ahead=1e6))


@LINUX
def test_a_lock_held_for_long_warns_and_names_its_holder(uv: Path, tmp_path: Path) -> None:
    """Held live: for a moment it is fine, after ten minutes its holder is named."""
    code = "import fcntl,sys; f=open(sys.argv[1]); fcntl.flock(f,fcntl.LOCK_EX); print('held',flush=True); input()"
    pipe = subprocess.PIPE
    holder = subprocess.Popen([sys.executable, "-c", code, uv], stdin=pipe, stdout=pipe, text=True)
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        assert not bad(look(tmp_path))
        (found,) = bad(look(tmp_path, ahead=figures.LOCK_OLD + 60))
        assert (found.status, found.offenders[0].pid) == ("warn", holder.pid)
        assert found.evidence["state"] == "held-live"
    finally:
        holder.kill()
        holder.communicate()
    assert not bad(look(tmp_path, ahead=1e6))


@LINUX
def test_a_lock_lives_on_in_who_inherited_it(uv: Path, tmp_path: Path) -> None:
    """Scenario 43: a shell takes the lock on fd 9, starts a sleep and ends: the sleep holds it, the owner is dead."""
    script = 'exec 9>>"$1"; flock 9; sleep 60 >/dev/null 2>&1 & echo $!'
    shell = subprocess.Popen(["bash", "-c", script, "x", uv], stdout=subprocess.PIPE, text=True)
    out, _ = shell.communicate(timeout=20)
    sleeper = int(out)
    try:
        (found,) = bad(look(tmp_path))
        assert found.status == "fail"
        assert found.offenders[0].pid == sleeper
        # flock(1) is a process of its own: the kernel names it, and it has ended
        assert found.evidence["state"] == "held-by-inheritance"
        assert not os.path.exists(f"/proc/{found.evidence['owner']}")
        assert f"kill {sleeper}" in found.hint
    finally:
        os.kill(sleeper, 9)


@LINUX
def test_a_servers_own_lock_is_its_own(tmp_path: Path) -> None:
    """A lock that a living server holds for days is no finding: only installers' locks are for minutes."""
    path = tmp_path / "gateway.lock"
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert not bad(look(tmp_path, tmp_path, ahead=1e6))


@LINUX
def test_record_locks_are_seen_too(uv: Path, tmp_path: Path) -> None:
    """apt and SQLite take POSIX locks; the holder is this very process."""
    with open(uv, "r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        (found,) = bad(look(tmp_path, ahead=1e6))
    assert found.offenders[0].pid == os.getpid()


@LINUX
def test_pid_files_of_ended_and_recycled_processes(tmp_path: Path) -> None:
    """A dead pid warns; a recycled one blocks the start and fails, both with rm as the fix; a living one is fine."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / "dead.pid").write_text(f"{ended.pid}\n")
    (tmp_path / "own.pid").write_text(f"{os.getpid()}\n")
    (tmp_path / "taken.lock").write_text(f'{{"pid": {os.getpid()}, "port": 1}}')
    os.utime(tmp_path / "taken.lock", (1_000_000_000, 1_000_000_000))
    (tmp_path / "uv.lock").write_text("1234567\n")
    (tmp_path / "words.lock").write_text("version = 12\n")
    found = {one.offenders[0].name.rpartition("/")[2]: one for one in bad(look(tmp_path, tmp_path))}
    assert {name: one.status for name, one in found.items()} == {"dead.pid": "warn", "taken.lock": "fail"}
    assert found["taken.lock"].fix == ("rm", str(tmp_path / "taken.lock"))


def test_a_pid_that_is_hidden_is_not_called_dead(machine: Machine) -> None:
    """With hidepid others' processes are not shown: their pid files are no findings."""
    machine.put("/run/x.pid", "99\n")
    machine.hidden = ("other users' processes are hidden (hidepid)",)
    assert not bad(run(ctx(machine), [locks.CHECK]))
    machine.hidden = ()
    assert [one.status for one in bad(run(ctx(machine), [locks.CHECK]))] == ["warn"]


def test_a_daemon_that_began_while_we_looked_is_not_called_dead(machine: Machine) -> None:
    """Its file is younger than the list of processes."""
    machine.put("/run/x.pid", "99\n", NOW + 1)
    assert not bad(run(ctx(machine), [locks.CHECK]))


def test_the_fix_can_be_pasted(machine: Machine) -> None:
    """Also for a folder with a blank in its name."""
    machine.put("/run/my app.pid", "99\n", NOW - 100)
    (found,) = bad(run(ctx(machine), [locks.CHECK]))
    assert found.hint == "rm '/run/my app.pid'"
    assert found.fix == ("rm", "/run/my app.pid")


def test_a_clock_that_was_set_makes_nobody_a_stranger(machine: Machine) -> None:
    """sshd.pid older than its sshd (the clock was wrong at boot) is fine; a number in a later line is no pid."""
    machine.add(proc(700, "/usr/sbin/sshd -D"), proc(12, "swcd"))
    machine.put("/run/sshd.pid", "700\n", 5.0)
    machine.put("/run/data.lock", "version\n12\n", 5.0)
    assert not bad(run(ctx(machine), [locks.CHECK]))
    machine.put("/run/app.lock", "12\n", 5.0)
    assert [one.status for one in bad(run(ctx(machine), [locks.CHECK]))] == ["fail"]


def test_gits_index_lock_without_a_git_blocks(machine: Machine) -> None:
    """index.lock is a lock by being there: fails when no git runs and it is not fresh."""
    machine.put("/home/me/repo/.git/index.lock", "", NOW - 3600)
    at_work = ctx(machine, paths=("/home/me/repo/src",))
    assert [one.fix for one in bad(run(at_work, [locks.CHECK]))] == [("rm", "/home/me/repo/.git/index.lock")]
    machine.add(proc(7, "git commit"))
    assert not bad(run(ctx(machine, paths=("/home/me/repo/src",)), [locks.CHECK]))
    machine.procs.clear()
    machine.hidden = ("other users' processes are hidden (hidepid)",)
    assert not bad(run(ctx(machine, paths=("/home/me/repo",)), [locks.CHECK]))
    machine.hidden = ()
    machine.times["/home/me/repo/.git/index.lock"] = NOW - 5
    assert not bad(run(ctx(machine, paths=("/home/me/repo",)), [locks.CHECK]))


def test_a_mac_asks_lsof(mac: Machine) -> None:
    """One lsof about all lock files (it ends with 1 when one is open nowhere); a hung lsof is a skip."""
    mac.home = "/Users/me"
    mac.put("/Users/me/.cache/uv/.lock", "")
    mac.add(proc(703, "uv sync", started=NOW - 7200))
    mac.put("/Users/me/.x/free.lock", "")
    command = "lsof -nP -Fpfln /Users/me/.cache/uv/.lock /Users/me/.x/free.lock"
    mac.says(command, "p703\nf9\nlW\nn/Users/me/.cache/uv/.lock\nf10\nl \nn/Users/me/.x/free.lock\n", code=1)
    (found,) = bad(run(ctx(mac), [locks.CHECK]))
    assert "is held by uv sync (pid 703, 2 h old)" in found.message
    mac.says(command, "", late=True)
    assert [one.status for one in run(ctx(mac), [locks.CHECK])] == ["skip"]


def test_a_holder_whose_descriptors_are_hidden(machine: Machine) -> None:
    """root's apt, seen by a user: the kernel's list of locks names it; who waits for the lock does not hold it."""

    class Refusing(Machine):
        def names(self, folder: str, limit: int = 10_000) -> list[str]:
            if folder == "/proc/700/fd":
                raise PermissionError(13, "Permission denied", folder)
            return super().names(folder, limit)

    one = Refusing()
    one.add(proc(700, "apt-get upgrade", started=NOW - 7200))
    one.put("/var/lib/dpkg/lock-frontend", "")
    one.put(
        "/proc/locks",
        "1: POSIX  ADVISORY  WRITE 700 fe:00:4711 0 EOF\n1: -> POSIX  ADVISORY  WRITE 701 fe:00:4711 0 EOF\n",
    )
    one.says("stat -L -c %i /var/lib/dpkg/lock-frontend", "4711\n")
    (found,) = bad(run(ctx(one), [locks.CHECK]))
    assert found.message == "/var/lib/dpkg/lock-frontend is held by apt-get upgrade (pid 700, 2 h old)"
    one.says("stat -L -c %i /var/lib/dpkg/lock-frontend", "4712\n")
    assert not bad(run(ctx(one), [locks.CHECK]))


def test_an_unreadable_lock_is_a_skip(machine: Machine) -> None:
    """A folder that may not be looked into is said, never taken for free."""

    class Refusing(Machine):
        def size(self, path: str) -> tuple[int, float]:
            if path == UV:
                raise PermissionError(13, "Permission denied", path)
            return super().size(path)

    found = run(ctx(Refusing()), [locks.CHECK])
    assert [one.status for one in found] == ["skip", "pass"]


def test_a_look_for_locks_is_bounded(machine: Machine) -> None:
    """A home with ten thousand dot folders and a /run with ten thousand pid files cost no more than the bounds."""
    machine.files |= {f"/run/{n}.pid": b"1\n" for n in range(10_000)}
    machine.files |= {f"/home/me/.d{n}/x.lock": b"" for n in range(3000)}
    asked: list[str] = []

    class Counting(Machine):
        def read(self, path: str, limit: int = 0) -> bytes:
            asked.append(path)
            return machine.read(path)

        def names(self, folder: str, limit: int = 10_000) -> list[str]:
            asked.append(folder)
            return machine.names(folder, limit) if folder in ("/run", "/home/me") else []

    found = run(ctx(Counting()), [locks.CHECK])
    assert found[-1].status == "pass"
    assert len(asked) <= 2 * figures.LOCK_FILES + figures.LOCK_FOLDERS + 30
