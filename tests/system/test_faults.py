"""Real faults of the machine: full and read-only disks, no descriptors, no processes, no memory, torn files, the OOM
killer. The claim is always the same: supervision goes on, nothing is lost, and one event or line says so.
"""

from __future__ import annotations

import json
import os
import resource
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.system.conftest import Instance, alive, kill, wait_for

from midwatch.engine.client import Client

SLEEP = '[service.{name}]\ncommand = ["sleep", "1000"]\n'
PATIENT = 'restart = { crash = 100000 }\nbackoff = { first = "100ms", most = "300ms" }\n'
PIDS = Path("/sys/fs/cgroup/pids")
NEEDS_MOUNT = pytest.mark.root("to mount a small file system")


# -- full and read-only disks -----------------------------------------------------------------------------------


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


def quiet(instance: Instance) -> str:
    """daemon.log, without a traceback."""
    text = (instance.home / "daemon.log").read_text()
    assert "Traceback" not in text, text
    return text


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
        assert [line["signal"] for line in small.journal("run.exited") if line["service"] == "p/a"] == ["SIGKILL"]
        assert [line["service"] for line in small.journal("stop.done")] == ["p/c"]
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
        for env in (None, {**os.environ, "MIDWATCH_DETACHED": "1"}):
            done = small.cli("up", *([] if env else ["-d"]), env=env)
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
            instance.up("".join(SLEEP.format(name=name) + PATIENT for name in "abc"))
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


# -- no descriptors, no processes, no memory ----------------------------------------------------------------------


def many(count: int) -> str:
    """Services without cgroup and gate: one process each."""
    return "".join(SLEEP.format(name=f"s{n}") + 'contain = "none"\n' + PATIENT for n in range(count))


def limited(instance: Instance, text: str, limit: Callable[[], None]) -> None:
    (instance.folder / "midwatch.toml").write_text(text)
    done = instance.cli("up", "-d", "--no-wait", preexec_fn=limit)
    assert done.returncode == 0, done.stderr


def some_wait(rows: dict[str, Any]) -> bool:
    """Every service is settled, and at least one could not be started."""
    return all(r["state"] in ("up", "backoff") for r in rows.values()) and any(
        r["last_cause"] == "spawn-failed" for r in rows.values()
    )


def check_shortage(instance: Instance, errno_name: str, relieve: Callable[[dict[str, Any]], int]) -> None:
    """Some run, some wait with the reason; those that run are left alone; `relieve` makes room and says how many
    have to be up then."""
    rows = instance.until(some_wait, "some run and some wait")
    up = {name: row["pid"] for name, row in rows.items() if row["state"] == "up"}
    assert up, "nobody could be started at all"
    failed = instance.journal("run.spawn_failed")
    assert {line["errno"] for line in failed} == {errno_name}
    assert {line["lasting"] for line in failed} == {False}
    time.sleep(1.0)  # several tries
    again = instance.ps()
    assert {name: again[name]["pid"] for name in up} == up
    wanted = relieve(again)
    instance.until(lambda r: sum(row["state"] == "up" for row in r.values()) >= wanted, f"{wanted} are up")
    quiet(instance)


def test_emfile_at_spawn_is_told_and_recovers(instance: Instance) -> None:
    """EMFILE in the keeper: others go on, who was refused backs off and starts as soon as there is room."""
    limited(instance, many(40), lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)))

    def stop_four(rows: dict[str, Any]) -> int:
        names = [name for name, row in rows.items() if row["state"] == "up"]
        instance.ok("stop", *names[:4])
        return len(names)  # as many as before: four of those that waited have taken the places

    check_shortage(instance, "EMFILE", stop_four)


@pytest.mark.root("to make a pids cgroup")
def test_eagain_at_fork_by_a_pids_cgroup_is_told_and_recovers(instance: Instance) -> None:
    """EAGAIN at fork, also for the engine's own threads: nobody who runs is harmed, all start when there is room."""
    if not (PIDS / "cgroup.procs").exists():
        pytest.skip("needs the v1 pids controller at /sys/fs/cgroup/pids")
    group = PIDS / f"midwatch-test-{secrets.token_hex(4)}"
    group.mkdir()
    try:
        (group / "pids.max").write_text("16")
        limited(instance, many(20), lambda: (group / "cgroup.procs").write_text("0"))  # type: ignore[arg-type]

        def lift(_: dict[str, Any]) -> int:
            (group / "pids.max").write_text("max")
            return 20

        check_shortage(instance, "EAGAIN", lift)
        instance.down()
    finally:
        wait_for(lambda: not (group / "cgroup.procs").read_text(), "everybody has left the group")
        group.rmdir()


@pytest.mark.root("to make a pids cgroup")
def test_a_stop_is_true_also_when_no_thread_can_be_started(instance: Instance) -> None:
    """EAGAIN for the engine's worker threads: kill and verify do not depend on a new thread."""
    if not (PIDS / "cgroup.procs").exists():
        pytest.skip("needs the v1 pids controller at /sys/fs/cgroup/pids")
    group = PIDS / f"midwatch-test-{secrets.token_hex(4)}"
    group.mkdir()
    stubborn = 'trap "" TERM; while :; do sleep 0.2; done'
    try:
        limited(
            instance,
            f"[service.a]\ncommand = [\"sh\", \"-c\", '{stubborn}']\n"
            'contain = "none"\nstop = { grace = "0.2s" }\n',
            lambda: (group / "cgroup.procs").write_text("0"),  # type: ignore[arg-type]
        )
        instance.until(lambda r: r["a"]["state"] == "up", "it is up")
        pid = instance.ps()["a"]["pid"]
        (group / "pids.max").write_text("1")
        instance.ok("stop", "a", timeout=30)
        assert not alive(pid)
        (group / "pids.max").write_text("max")
        instance.ok("start", "a")
        instance.down()
    finally:
        (group / "pids.max").write_text("max")
        instance.down()
        wait_for(lambda: not (group / "cgroup.procs").read_text(), "everybody has left the group")
        group.rmdir()


@pytest.mark.unprivileged("RLIMIT_NPROC does not bind root")
def test_eagain_at_fork_by_rlimit_nproc_is_told_and_recovers(instance: Instance) -> None:
    """The same for a user without cgroups."""
    mine = sum(p.num_threads() for p in psutil.process_iter() if p.uids().real == os.getuid())
    limited(
        instance, many(20), lambda: resource.setrlimit(resource.RLIMIT_NPROC, (mine + 16, mine + 16))
    )

    def stop_six(rows: dict[str, Any]) -> int:
        names = [name for name, row in rows.items() if row["state"] == "up"]
        instance.ok("stop", *names[:6])
        return len(names) - 6 + min(6, len(rows) - len(names))  # all that waited, or as many as there is room for

    check_shortage(instance, "EAGAIN", stop_six)


def test_enomem_in_the_engine_harms_no_service(instance: Instance) -> None:
    """RLIMIT_AS on the living engine: a request that needs more memory than there is fails or ends the engine, which
    comes back; the service and its daemon stay."""
    instance.up(SLEEP.format(name="a"))
    before, daemon = instance.ps()["a"]["pid"], instance.daemon()
    engine = psutil.Process(daemon["pid"])
    limit = engine.memory_info().vms + (1 << 20)
    engine.rlimit(psutil.RLIMIT_AS, (limit, limit))  # type: ignore[attr-defined,unused-ignore]
    env = "\n".join(f'V{n} = "{"x" * 2000}"' for n in range(1000))
    text = SLEEP.format(name="a") + SLEEP.format(name="b") + f"[service.b.env]\n{env}\n"
    (instance.folder / "midwatch.toml").write_text(text)
    instance.cli("up", "-d")
    after = instance.daemon()
    assert after["keeper_pid"] == daemon["keeper_pid"]
    assert instance.ps()["a"]["pid"] == before
    kill(before)
    instance.until(lambda r: r["a"]["pid"] not in (None, before), "it is restarted")


# -- torn files -----------------------------------------------------------------------------------------------------

TORN = (b"", b"\0" * 300, b'{"run": "p.a.1", "servi', b"\xff\xfe\x00garbage", b"[" * 100_000)


def restart_engine(instance: Instance) -> None:
    """Kill the engine and wait for its successor."""
    old = instance.daemon()["pid"]
    kill(old)
    wait_for(lambda: instance.daemon()["pid"] != old, "a new engine answers")


def kill_both(instance: Instance) -> None:
    daemon = instance.daemon()
    for pid in (daemon["keeper_pid"], daemon["pid"]):
        kill(pid)
    wait_for(lambda: not alive(daemon["keeper_pid"]) and not alive(daemon["pid"]), "both are gone")


@pytest.mark.parametrize("content", TORN, ids=["empty", "zeros", "cut", "binary", "deep"])
def test_a_torn_run_record_leads_to_no_second_copy(instance: Instance, content: bytes) -> None:
    """Keeper and engine killed, the record of a living run unreadable: it is found by its marker or cgroup, and
    never are there two; said by state.damaged with the path."""
    instance.up(SLEEP.format(name="a") + SLEEP.format(name="b"))
    before = instance.ps()
    record = instance.home / "runs" / f"{before['a']['run_id']}.json"
    kill_both(instance)
    record.write_bytes(content)
    instance.ok("up", "-d")
    rows = instance.until(lambda r: all(row["state"] == "up" for row in r.values()), "both are up")
    for name in "ab":
        assert [pid for pid in {before[name]["pid"], rows[name]["pid"]} if alive(pid)] == [rows[name]["pid"]]
    assert [line["path"] for line in instance.journal("state.damaged")] == [str(record)]
    restart_engine(instance)
    assert len(instance.journal("state.damaged")) == 1, "a damage is told once"


@pytest.mark.parametrize("content", TORN[1:4], ids=["zeros", "cut", "binary"])
def test_torn_specs_under_a_living_engine_lose_no_service(instance: Instance, content: bytes) -> None:
    """specs.json is damaged from outside and the engine dies: its successor knows the services all the same."""
    instance.up(SLEEP.format(name="a"))
    before = instance.ps()["a"]["pid"]
    specs = instance.home / "specs.json"
    specs.write_bytes(content)
    restart_engine(instance)
    assert instance.ps()["a"]["pid"] == before
    assert alive(before)
    assert [line["path"] for line in instance.journal("state.damaged")] == [str(specs)]
    restart_engine(instance)
    assert instance.ps()["a"]["pid"] == before
    assert len(instance.journal("state.damaged")) == 1, "it was repaired"


def test_torn_specs_at_start_are_said_and_replaced(instance: Instance) -> None:
    """A new daemon on damaged specs: it starts, says so, and `up` puts the services into force."""
    instance.up(SLEEP.format(name="a"))
    instance.ok("down", "--all")
    (instance.home / "specs.json").write_bytes(b"\xff\xfe{")
    instance.ok("up", "-d")
    assert instance.until(lambda r: r["a"]["state"] == "up", "it is up")
    assert len(instance.journal("state.damaged")) == 1


def newest_journal(instance: Instance) -> Path:
    return max((instance.home / "journal").glob("*.jsonl"))


def test_a_torn_journal_costs_its_torn_lines_only(instance: Instance) -> None:
    """Garbage in the middle and half a line at the end: the new engine has the budgets from the lines before and
    after, the service its pid, and `events` shows the rest."""
    cycle = "test -e once && exec sleep 1000; touch once; exit 3"
    instance.up(f"[service.a]\ncommand = [\"sh\", \"-c\", '{cycle}']\nbackoff = {{ first = \"10ms\" }}\n")
    before = instance.until(lambda r: r["a"]["restarts"] == {"crash": 1} and r["a"]["pid"], "it has crashed once")["a"]
    with newest_journal(instance).open("ab") as file:
        file.write(b'garbage \xff\xfe\x00 not a line\n{"event": 5}\n[1]\n\n' + b"[" * 5000 + b"\n" + b'{"ts":"202')
    restart_engine(instance)
    after = instance.ps()["a"]
    assert (after["pid"], after["restarts"]) == (before["pid"], {"crash": 1})
    shown = [json.loads(line)["event"] for line in instance.ok("events", "--json", "-n", "1000").splitlines()]
    assert "run.exited" in shown
    assert "service.resumed" in shown


def test_a_lost_journal_loses_no_service(instance: Instance) -> None:
    """The whole journal is gone and the engine dies: budgets start afresh, the service lives on and is supervised."""
    instance.up(SLEEP.format(name="a"))
    before = instance.ps()["a"]["pid"]
    for path in (instance.home / "journal").glob("*.jsonl"):
        path.unlink()
    restart_engine(instance)
    rows = instance.ps()
    assert (rows["a"]["pid"], rows["a"]["state"]) == (before, "up")
    kill(before)
    instance.until(lambda r: r["a"]["pid"] not in (None, before), "it is restarted")


def test_a_torn_request_and_history_do_not_stop_a_start(instance: Instance) -> None:
    """Leftovers of an interrupted launch, and a history that is no database: the daemon starts."""
    (instance.home / "history.db").write_bytes(b"not a database" * 1000)
    (instance.home / "request.json").write_bytes(b"\xff\xfe{")
    (instance.home / "keeper.json").write_bytes(b"{")
    instance.up(SLEEP.format(name="a"))
    kill(instance.ps()["a"]["pid"])
    instance.until(lambda r: r["a"]["restarts"] == {"killed": 1} and r["a"]["pid"], "it is supervised")
    restart_engine(instance)
    (instance.home / "request.json").write_bytes(b"\xff\xfe{")
    restart_engine(instance)
    assert instance.ps()["a"]["restarts"] == {"killed": 1}


# -- ends by signal and memory ----------------------------------------------------------------------------------------

EAT = "x = []\nwhile True: x.append(b'x' * (1 << 20))"


def first_exit(instance: Instance) -> dict[str, Any]:
    [line, *_] = wait_for(lambda: instance.journal("run.exited"), "it has exited")
    return dict(line)


@pytest.mark.parametrize("wrapped", [False, True], ids=["direct", "sh-c"])
@pytest.mark.root("to limit a memory cgroup")
def test_an_oom_kill_is_told_apart_and_spends_the_memory_budget(instance: Instance, wrapped: bool) -> None:
    """A5: evidence by the run's own cgroup; also code 137 of a shell whose child was killed. No crash is counted."""
    (instance.folder / "eat.py").write_text(EAT)
    direct = f'["{sys.executable}", "-S", "eat.py"]'
    command = f'["sh", "-c", "{sys.executable} -S eat.py; exit $?"]' if wrapped else direct
    instance.up(f'[service.a]\ncommand = {command}\nmemory = {{ hard = "48M" }}\n', "--no-wait")
    if instance.daemon()["rungs"].get("memory limit") != "yes":
        pytest.skip(f"needs a memory cgroup: {instance.daemon()['rungs'].get('memory limit')}")
    end = first_exit(instance)
    assert end["cause"] == "oom", end
    assert (end["code"], end["signal"]) == ((137, None) if wrapped else (None, "SIGKILL"))
    assert end["crash_count"] == 0
    assert any("memory group counted" in words for words in end["because"])
    assert instance.ps()["a"]["restarts"].get("oom")
    assert wait_for(lambda: instance.journal("backoff"), "the delay is told")[0]["reason"] == "memory"


ENDS = [
    ("kill -KILL $$", "killed", None, "SIGKILL", None, 0),
    ("kill -TERM $$", "killed", None, "SIGTERM", None, 0),
    ("ulimit -c 0; kill -SEGV $$", "segfault", None, "SIGSEGV", None, 1),
    ("ulimit -c 0; kill -ABRT $$", "abort", None, "SIGABRT", None, 1),
    ("exit 137", "crash", 137, None, 9, 1),
    ("exit 143", "crash", 143, None, 15, 1),
    ("exit 1", "crash", 1, None, None, 1),
]


def test_every_end_has_its_true_cause(instance: Instance) -> None:
    """A5 A6 A10: a signal from outside is `killed` and no crash; 128+N as a code is a crash that reports a signal;
    segfault and abort are crashes with a name of their own."""
    instance.up(
        "".join(
            f"[service.e{n}]\ncommand = [\"sh\", \"-c\", '{end[0]}']\nbackoff = {{ first = \"30s\" }}\n"
            'restart = { killed = "1 in 10m" }\n'
            for n, end in enumerate(ENDS)
        ),
        "--no-wait",
    )
    wait_for(lambda: len({line["service"] for line in instance.journal("run.exited")}) == len(ENDS), "all have ended")
    seen: dict[str, dict[str, Any]] = {}
    for line in instance.journal("run.exited"):
        seen.setdefault(line["service"], line)
    for n, (script, cause, code, name, reported, count) in enumerate(ENDS):
        end = seen[f"p/e{n}"]
        found = (end["cause"], end["code"], end["signal"], end.get("reported_signal"), end["crash_count"])
        assert found == (cause, code, name, reported, count), script


def test_a_kill_from_outside_stays_killed_also_with_a_memory_line(instance: Instance) -> None:
    """A5: no OOM evidence, no OOM: the sender is not known and that is what it says."""
    instance.up(SLEEP.format(name="a") + 'memory = { hard = "64M" }\n')
    os.kill(instance.ps()["a"]["pid"], signal.SIGKILL)
    end = first_exit(instance)
    assert (end["cause"], end["crash_count"]) == ("killed", 0)
    assert any("who sent it is not known" in words for words in end["against"])
