"""What runs out: levels of descriptors, terminals, watches, processes, disks, WAL files; judged with earlier looks."""

from __future__ import annotations

import time

import pytest
from tests.inspect.doctor.machines import NOW, Machine, proc

from midwatch.inspect.look import forecast, forecast_files, forecast_machine
from midwatch.inspect.look.forecast import Level
from midwatch.inspect.look.past import Look
from midwatch.inspect.sources import descriptors
from midwatch.policy import defaults_inspect as d

LIMITS = (
    "Limit  Soft Limit  Hard Limit  Units\nMax processes             100   200   processes\n"
    "Max open files            256   4096   files\n"
)


def machine(**fds: int) -> Machine:
    """p7=201: process 7 has 201 descriptors, 109 of them state.db."""
    made = Machine()
    for name, count in fds.items():
        pid = int(name[1:])
        made.add(proc(pid, f"python /opt/app{pid}.py", start=pid))
        for fd in range(count):
            target = "/srv/state.db" if fd < 109 else f"socket:[{fd}]"
            made.links[f"/proc/{pid}/fd/{fd}"] = target
        made.put(f"/proc/{pid}/limits", LIMITS)
    return made


def scan(made: Machine, seconds: float = 30.0) -> descriptors.Scan:
    return descriptors.scan(made, made.procs.values(), time.monotonic() + seconds)


def levels(made: Machine) -> list[Level]:
    return forecast_files.levels(made, scan(made), made.procs)


def test_story_5_state_db_leads_with_rate_and_time() -> None:
    """HW#1458: 201 of 256 descriptors, 109 of them state.db, 42 an hour more: full in 80 minutes."""
    (level,) = levels(machine(p7=201, p8=20))
    kept = [Look(NOW - 3600, "b", {level.key: 159.0})]
    (judged,) = forecast.judge([level], kept, NOW)
    assert (judged.kind, judged.used, judged.limit, judged.pid) == ("fds", 201, 256, 7)
    assert judged.detail == "109 are state.db"
    assert judged.rate == pytest.approx(42 / 3600)
    assert judged.full_in == pytest.approx(55 / 42 * 3600)
    assert judged.state == "danger"


def test_story_7_terminals_run_out_in_nine_hours() -> None:
    """CC#67402: 383 of 511, who has them, and when none opens any more, told as soon as there are two looks."""
    made = machine(p812=30)
    made.sysctls |= {"kernel.pty.nr": "383", "kernel.pty.max": "511"}
    for fd in range(9):
        made.links[f"/proc/812/fd/{fd}"] = "/dev/ptmx"
    ptys = next(level for level in levels(made) if level.kind == "ptys")
    assert "has 9 ptys" in ptys.detail
    first, second = (
        forecast.judge([ptys], kept, NOW)[0] for kept in ([], [Look(NOW - 3600, "b", {"ptys": 369.0})])
    )
    assert (first.state, first.full_in) == ("warn", None)
    assert second.full_in is not None
    assert 9.0 < second.full_in / 3600 < 9.5


@pytest.mark.parametrize(
    ("used", "before", "expected", "told"),
    [
        (69, None, "calm", False), (70, None, "warn", True), (90, None, "danger", True), (50, 50, "calm", False),
        (50, 40, "danger", True), (50, 45.9, "warn", True), (20, 10, "danger", True), (200, 190, "danger", True),
    ],
)  # fmt: skip
def test_a_level_by_share_and_by_time(used: float, before: float | None, expected: str, told: bool) -> None:
    """LOOK_SHARE and LOOK_TTL, whichever is worse; LOOK_TOLD bounds what is told; an hour lies between the looks."""
    kept = [] if before is None else [Look(NOW - 600, "b", {"k": before})]
    (judged,) = forecast.judge([Level("k", "fds", "x", used, 100)], kept, NOW)
    assert judged.state == expected
    assert bool(forecast.told([judged])) is told


@pytest.mark.parametrize(
    ("age", "used", "told"),
    [(60.0, 200.0, False), (599.0, 200.0, False), (600.0, 200.0, True), (60.0, 820.0, True)],
)
def test_a_start_is_no_trend(age: float, used: float, told: bool) -> None:
    """LOOK_SPAN, LOOK_SPAN_SHARE: 120 descriptors in a minute, far from the limit, are how a browser starts."""
    kept = [Look(NOW - age, "b", {"k": used - 120})]
    (judged,) = forecast.judge([Level("k", "fds", "x", used, 1024)], kept, NOW)
    assert judged.rate == pytest.approx(120 / age)
    assert (judged.full_in is not None) is told
    assert (judged.state == "calm") is not told


def test_what_is_full_after_a_week_is_not_told() -> None:
    kept = [Look(NOW - 80_000, "b", {"k": 1000.0})]
    (slow,) = forecast.judge([Level("k", "disk", "/", 1100.0, 10_000.0)], kept, NOW)
    assert slow.rate is not None
    assert slow.rate > 0
    assert (slow.full_in, slow.state) == (None, "calm")
    (days,) = forecast.judge([Level("k", "disk", "/", 1100.0, 1500.0)], kept, NOW)
    assert days.full_in is not None
    assert d.LOOK_TTL[0] < days.full_in < d.LOOK_TOLD


def test_a_look_at_descriptors_is_bounded() -> None:
    """LOOK_OF_ONE, LOOK_LINKS, LOOK_WATCHES and time: what was not looked at is said."""
    made = machine(p7=10)
    for fd in range(d.LOOK_OF_ONE + 10):
        made.links[f"/proc/7/fd/{fd}"] = "/dev/ptmx"
    seen = scan(made)
    assert (seen.by_pid[7].count, seen.by_pid[7].ptys) == (d.LOOK_OF_ONE + 10, d.LOOK_OF_ONE)
    assert not seen.cut
    late = scan(made, -1.0)
    assert late.cut
    assert "no time" in forecast_files.unread(late)[0]
    made.links["/proc/7/fd/0"] = "anon_inode:inotify"
    made.put("/proc/7/fdinfo/0", b"inotify wd:1 ino:5\n" * (d.LOOK_WATCHES // 19 + 5))
    made.sysctls |= {"fs.inotify.max_user_instances": "128", "fs.inotify.max_user_watches": "60000"}
    watches = next(level for level in levels(made) if level.key.startswith("inotify:watches"))
    assert watches.at_least
    assert watches.used > 50_000
    assert d.LOOK_LINKS > d.LOOK_OF_ONE


def test_descriptors_of_others_are_counted_as_missing() -> None:
    class Closed(Machine):
        def names(self, folder: str, limit: int = 10_000) -> list[str]:
            raise PermissionError(13, "no", folder)

    made = Closed()
    made.add(proc(7, "x"), proc(8, "y"))
    assert forecast_files.unread(scan(made)) == [
        "open files of 2 processes of other users (run as root to count them)"
    ]


def test_inotify_is_counted_by_user() -> None:
    """41: who has the watches of the user who has most."""
    made = Machine()
    for pid, uid, count in ((5, 1000, 300), (6, 1000, 200), (7, 0, 10)):
        made.add(proc(pid, "node w.js", uid=uid))
        made.links[f"/proc/{pid}/fd/3"] = "anon_inode:inotify"
        made.put(f"/proc/{pid}/fdinfo/3", "inotify wd:1 ino:2\n" * count)
    made.sysctls |= {"fs.inotify.max_user_instances": "2", "fs.inotify.max_user_watches": "520"}
    found = {level.key: level for level in levels(made)}
    assert found["inotify:watches:1000"].used == 500
    assert "(pid 5) has 300 watches" in found["inotify:watches:1000"].detail
    assert forecast.state(found["inotify:watches:1000"], None) == "danger"
    assert found["inotify:instances:1000"].used == 2


@pytest.mark.parametrize(
    ("size", "whole", "free", "expected"),
    [
        (1 << 20, 1, 1 << 40, "calm"), (70 << 20, 1 << 40, 1 << 40, "warn"), (20 << 20, 60 << 20, 1 << 40, "warn"),
        (300 << 20, 500 << 20, 1 << 40, "danger"),
        (1 << 30, 1 << 40, 1 << 45, "danger"), (50 << 20, 1 << 40, 400 << 20, "danger"),
    ],
)  # fmt: skip
def test_wal_2(size: int, whole: int, free: int, expected: str) -> None:
    """64 MiB or a quarter warns; 1 GiB, half of it, or a tenth of what is free is danger."""
    assert forecast_files.wal_state(size, whole, free) == expected


def test_wal_files_name_who_holds_them() -> None:
    """OW#143524: path, size, database, holders; one that was deleted under its writer is told by itself."""
    made = Machine()
    made.add(proc(5, "hermes gateway"), proc(6, "sqlite3 x"))
    for pid in (5, 6):
        made.links[f"/proc/{pid}/fd/3"] = "/h/state.db-wal"
    made.links["/proc/5/fd/4"] = "/h/old.db-wal (deleted)"
    made.sizes |= {"/h/state.db-wal": 2 << 30, "/h/state.db": 1 << 30, "/h/old.db": 5}
    made.spaces["/h/state.db-wal"] = (1 << 40, 1 << 40, 0, 0)
    found = forecast.judge([level for level in levels(made) if level.kind == "wal"], [], NOW)
    assert [(level.subject, level.state) for level in found] == [
        ("/h/state.db-wal", "danger"), ("/h/old.db-wal (deleted)", "warn"),
    ]  # fmt: skip
    assert "1.0 GiB database" in found[0].detail or "1 GiB database" in found[0].detail
    assert "(pid 5)" in found[0].detail
    assert "deleted while" in found[1].detail


def test_processes_and_threads() -> None:
    """The smaller of pid_max and threads-max, our own user's limit, and each group's."""
    made = Machine()
    made.add(*(proc(pid, "x", threads=10, cgroup="/a.service") for pid in range(5, 15)))
    made.sysctls |= {"kernel.pid_max": "32768", "kernel.threads-max": "500"}
    made.put("/proc/loadavg", "0.1 0.2 0.3 2/450 99\n")
    made.put("/proc/self/limits", LIMITS)
    made.put("/sys/fs/cgroup/a.service/pids.current", "95\n")
    made.put("/sys/fs/cgroup/a.service/pids.max", "100\n")
    found = {
        level.key: level for level in forecast.judge(forecast_machine.levels(made, made.table(), []), [], NOW)
    }
    assert {key: (level.used, level.limit, level.state) for key, level in found.items()} == {
        "pids": (450, 500, "danger"), "nproc:1000": (100, 100, "danger"), "pids:/a.service": (95, 100, "danger"),
    }  # fmt: skip


def test_disks_and_inodes_once_each() -> None:
    """One file system under its first path; the lines are doctor's (DOC-17); a read-only image is full by design."""
    made = Machine()
    made.spaces |= {
        "/": (100 << 30, 4 << 30, 1000, 990), "/home/me": (100 << 30, 4 << 30, 1000, 990),
        "/tmp": (100 << 30, 60 << 30, 1000, 50), "/snap": (5, 0, 5, 0), "/dev/shm": (0, 0, 0, 0),
    }  # fmt: skip
    paths = [*forecast_machine.places(made, ["/snap"]), "/none"]
    found = forecast.judge(forecast_machine.disks(made, paths), [], NOW)
    assert [(level.key, level.state) for level in found] == [
        ("disk:/", "danger"), ("inodes:/tmp", "danger"), ("disk:/tmp", "calm"), ("inodes:/", "calm"),
    ]  # fmt: skip


def test_a_machine_without_any_of_it() -> None:
    """A container without /sys and /proc/sys: no level, no error."""
    made = Machine()
    made.add(proc(5, "x"))
    assert forecast_machine.levels(made, made.table(), ["/"]) == []
    assert levels(made) == []


def test_a_mac_by_lsof_of_a_recording() -> None:
    """FDW-1: numbered descriptors only; launchd's soft limit; ptys by holder."""
    made = Machine("darwin")
    made.recorded = True
    made.add(
        proc(612, "/Applications/Claude.app/Contents/MacOS/Claude"),
        proc(700, "python3 /o/hermes-webui/server.py"),
    )
    rows = ["p612", "fcwd", "n/", *[f"f{n}\nn/dev/ptmx" for n in range(383)]]
    rows += [
        "p700",
        "ftxt",
        "n/x",
        *[f"f{n}\nn/h/state.db" for n in range(109)],
        *[f"f{n}\nn->0x1" for n in range(200, 292)],
    ]
    made.says("lsof -n -P -w -F pfn", "\n".join(rows))
    made.says("launchctl limit maxfiles", "\tmaxfiles    256            unlimited\n")
    made.sysctls["kern.tty.ptmx_max"] = "511"
    found = {level.kind: level for level in levels(made) if level.pid != 612}
    assert (found["ptys"].used, found["ptys"].limit) == (383, 511)
    assert found["ptys"].detail == "Claude (pid 612) has 383 ptys"
    assert (found["fds"].used, found["fds"].limit, found["fds"].detail) == (201, 256, "109 are state.db")
