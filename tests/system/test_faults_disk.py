"""Real faults of the disk: full and read-only file systems. Supervision goes on, nothing is lost, it is said once."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.system.conftest import Instance, alive, kill, quiet, wait_for

from midwatch.engine.client import Client

SLEEP = '[service.{name}]\ncommand = ["sleep", "1000"]\n'
PATIENT = 'restart = { crash = 100000 }\nbackoff = { first = "100ms", most = "300ms" }\n'
NEEDS_MOUNT = pytest.mark.root("to mount a small file system")


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs mount {' '.join(arguments[:4])}: {done.stderr.strip()[:100]}")


def unmount(place: Path) -> None:
    subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


@contextmanager
def tmpfs(place: Path, size: str) -> Iterator[None]:
    place.mkdir(mode=0o700, exist_ok=True)
    mount("-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(place))
    try:
        yield
    finally:
        unmount(place)


@contextmanager
def ext4(place: Path, image: Path) -> Iterator[Callable[[], None]]:
    """A file system that `yield`ed() turns read-only under whoever has files open there, as a disk error does."""
    place.mkdir(mode=0o700, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(16 << 20)
    made = subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"needs mkfs.ext4: {made.stderr.strip()[:100]}")
    mount("-o", "loop", str(image), str(place))
    try:
        (place / "lost+found").rmdir()
        place.chmod(0o700)
        yield lambda: mount("-o", "remount,abort", str(place))
    finally:
        unmount(place)


@pytest.fixture
def small(home: Path) -> Iterator[Instance]:
    """An instance whose home is a small tmpfs."""
    with tmpfs(home, "4m"):
        made = Instance(home)
        yield made
        if (home / "lock").exists():
            subprocess.run(["mount", "-o", "remount,rw", str(home)], capture_output=True, check=False)
            made.down()


def fill(place: Path) -> Path:
    """Not one byte is left."""
    path = place / "ballast"
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return path


@NEEDS_MOUNT
class TestFullDisk:
    def test_services_live_restart_and_stop_on_a_full_disk_and_the_record_catches_up(self, small: Instance) -> None:
        """Disk full: a run that dies is replaced, a stop is true; when there is room again the journal holds every
        event of that time, and one journal.gap says that it happened."""
        small.up("".join(SLEEP.format(name=name) for name in "abc"))
        before = small.ps()
        ballast = fill(small.home)
        kill(before["a"]["pid"])
        with Client(small.home / "run" / "control.sock") as client:
            for _ in range(200):  # the last page of the journal's file has room for some lines
                client.call("reset", services=["p/b"])
        rows = small.until(lambda r: r["a"]["pid"] not in (None, before["a"]["pid"]), "a runs again")
        small.ok("stop", "c")
        assert not alive(before["c"]["pid"])
        assert rows["b"]["pid"] == before["b"]["pid"]
        ballast.unlink()
        gap = self.gap(small)
        assert gap["lines"] == 0, "none was lost"
        assert gap["kept"] > 0
        done = wait_for(lambda: small.journal("stop.done"), "the kept lines are written, a piece at a time")
        assert [line["service"] for line in done] == ["p/c"]
        assert [line["signal"] for line in small.journal("run.exited") if line["service"] == "p/a"] == ["SIGKILL"]
        assert len([line for line in small.journal("run.spawned") if line["service"] == "p/a"]) == 2

    @staticmethod
    def gap(instance: Instance) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            instance.cli("reset", "b")  # an event, with which the journal tries again
            return instance.journal("journal.gap")

        [gap] = wait_for(found, "the journal says that there was a gap")
        return dict(gap)

    def test_an_up_that_cannot_be_stored_changes_nothing(self, small: Instance) -> None:
        """Refused with the reason; the running service is the one from before."""
        small.up(SLEEP.format(name="a"))
        before = small.ps()
        (small.folder / "midwatch.toml").write_text(SLEEP.format(name="a") + SLEEP.format(name="b"))
        ballast = fill(small.home)
        done = small.cli("up", "-d")
        assert done.returncode != 0
        assert "No space left" in done.stderr
        assert "Traceback" not in done.stderr
        assert small.ps().keys() == {"a"}
        assert small.ps()["a"]["pid"] == before["a"]["pid"]
        ballast.unlink()
        small.ok("up", "-d")
        assert small.ps().keys() == {"a", "b"}

    def test_a_start_on_a_full_disk_is_78_and_starts_nothing(self, small: Instance) -> None:
        """One line that names the path; no half a daemon."""
        (small.folder / "midwatch.toml").write_text(SLEEP.format(name="a"))
        fill(small.home)
        done = small.cli("up", "-d")
        assert done.returncode == 78, done.stderr
        assert str(small.home) in done.stderr
        assert "Traceback" not in done.stderr
        (small.home / "ballast").unlink()
        small.ok("up", "-d")

    def test_output_that_does_not_fit_is_dropped_and_said_once(self, small: Instance) -> None:
        """The writer is never blocked; what was dropped is said once an episode."""
        talk = "n=0; while :; do n=$((n+1)); echo $n > count; echo $n; head -c 2000 /dev/zero; sleep 0.01; done"
        small.up(f"[service.w]\ncommand = [\"sh\", \"-c\", '{talk}']\ncwd = \"/tmp\"\n".replace("count", "/dev/null"))
        before = small.ps()["w"]["pid"]
        ballast = fill(small.home)
        cpu = psutil.Process(before)
        seen = sum(cpu.cpu_times()[:4])
        wait_for(lambda: sum(cpu.cpu_times()[:4]) > seen + 0.05, "it goes on writing")
        ballast.unlink()
        said = ("output.dropped", "disk.low")
        dropped = wait_for(lambda: small.ok("reset", "w") and small.journal(*said), "it is said")
        assert len([line for line in dropped if line["event"] == "output.dropped"]) <= 1
        assert small.ps()["w"]["pid"] == before


@NEEDS_MOUNT
class TestReadOnly:
    @pytest.mark.parametrize("used_before", [False, True])
    def test_a_read_only_home_at_start_is_78_with_path_and_remedy(self, small: Instance, used_before: bool) -> None:
        """E4: also where every folder is there from an earlier day."""
        (small.folder / "midwatch.toml").write_text(SLEEP.format(name="a"))
        if used_before:
            small.ok("up", "-d")
            small.ok("down", "--all")
            wait_for(lambda: not (small.home / "run" / "control.sock").exists(), "the daemon is gone")
        remount = ["mount", "-o", "remount,ro", str(small.home)]
        wait_for(lambda: subprocess.run(remount, capture_output=True, check=False).returncode == 0, "quiet")
        for done in (small.cli("up", "-d"), small.blind_up()):
            assert done.returncode == 78, done.stderr
            assert str(small.home) in done.stderr
            assert "MIDWATCH_HOME" in done.stderr
            assert "Traceback" not in done.stderr

    def test_h4_a_journal_that_becomes_read_only_stops_nobody(self, instance: Instance, tmp_path: Path) -> None:
        """H4: one line in daemon.log; restarts, stops and starts go on."""
        with ext4(instance.home / "journal", tmp_path / "image") as break_it:
            instance.up(SLEEP.format(name="a") + SLEEP.format(name="b"))
            before = instance.ps()
            break_it()
            kill(before["a"]["pid"])
            instance.until(lambda r: r["a"]["pid"] not in (None, before["a"]["pid"]), "a runs again")
            instance.ok("stop", "a")
            instance.ok("start", "a")
            time.sleep(1.2)
            instance.ok("restart", "a")
            assert instance.ps()["b"]["pid"] == before["b"]["pid"]
            said = [line for line in quiet(instance).splitlines() if "journal" in line]
            assert len(said) == 1, said
            assert "Read-only file system" in said[0]
            instance.down()

    def test_a_home_that_becomes_read_only_ends_no_service(self, home: Path, tmp_path: Path) -> None:
        """Nothing can be stored any more, not even a FIFO for a new run: who runs lives on and can be stopped,
        who dies is tried again and `ps` says why, the engine does not die of it."""
        with ext4(home, tmp_path / "image") as break_it:
            instance = Instance(home)
            # Without a cgroup there is no warm gate, whose run would need nothing of the disk any more.
            instance.up("".join(SLEEP.format(name=name) + PATIENT + 'contain = "none"\n' for name in "abc"))
            before, engine = instance.ps(), instance.daemon()["pid"]
            break_it()
            try:
                kill(before["a"]["pid"])
                rows = instance.until(lambda r: r["a"].get("last_cause") == "spawn-failed", "the failed start is told")
                assert rows["a"]["state"] == "backoff"
                assert rows["b"]["pid"] == before["b"]["pid"]
                instance.ok("stop", "c")
                assert not alive(before["c"]["pid"])
                assert instance.daemon()["pid"] == engine
            finally:
                instance.down()
        wait_for(lambda: not any(alive(row["pid"]) for row in before.values()), "down ended all")
