"""DOC-14 and DOC-15: storms with a real generator (scenario 57), overlapping jobs (58), room for inotify."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.inspect.doctor.machines import Machine, ctx, proc

from midwatch.inspect.doctor import churn, storms
from midwatch.inspect.doctor.parts import watching
from midwatch.inspect.doctor.run import run
from midwatch.inspect.sources import Table
from midwatch.inspect.sources.live import Live
from midwatch.model.look import Checked, Proc
from midwatch.policy import defaults_inspect as figures

GENERATOR = """
import sys, time
from pathlib import Path
folder = Path(sys.argv[1])
(folder / "page.md").write_text("0")
print("up", flush=True)
for n in range(1200):                       # rebuilds from page.md, and writes page.md: 4 a second
    before = (folder / "page.md").read_text()
    (folder / "page.md").write_text(f"{len(before)}-{n}")
    time.sleep(0.25)
"""


class WithWatcher(Live):
    """This machine, where one more process (a watcher) is listed; its folder is real."""

    def __init__(self, watcher: Proc, folder: Path) -> None:
        super().__init__()
        self._watcher, self._folder = watcher, str(folder)

    def table(self) -> Table:
        return Table({self._watcher.pid: self._watcher}, time.time())

    def link(self, path: str) -> str:
        if path == f"/proc/{self._watcher.pid}/cwd":
            return self._folder
        return super().link(path)


def bad(results: list[Checked]) -> list[Checked]:
    return [one for one in results if one.status in ("warn", "fail")]


def storm(folder: Path, argv: str = "watchfiles build", **changes: Any) -> list[Checked]:
    here = WithWatcher(proc(4_000_000, argv), folder)
    return run(ctx(here, **changes), [storms.CHECK], each=40.0, total=60.0)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("hello")
    return tmp_path


@pytest.fixture
def generator(tree: Path) -> Iterator[Path]:
    made = subprocess.Popen([sys.executable, "-c", GENERATOR, tree / "docs"], stdout=subprocess.PIPE)
    assert made.stdout
    made.stdout.readline()
    yield tree
    made.kill()
    made.communicate()


@pytest.mark.slow
def test_a_generator_that_writes_what_it_watches_is_a_storm(generator: Path) -> None:
    """Scenario 57: a real toy rebuilds its own source; the storm fails within the window, and the file is named."""
    began = time.monotonic()
    found = bad(storm(generator, window=4.0))
    assert time.monotonic() - began < 130
    assert [one.status for one in found] == ["fail"]
    assert "page.md changed" in found[0].message
    assert found[0].offenders[0].pid == 4_000_000


@pytest.mark.slow
def test_a_person_who_saves_twice_is_no_storm(tree: Path) -> None:
    """Two edits of a file while one looks are a person's."""
    edits = iter(("one", "two"))

    def pause(seconds: float) -> None:
        time.sleep(0.02)
        if (text := next(edits, "")) != "":
            (tree / "docs/index.md").write_text(text)

    found = storm(tree, window=1.0, pause=pause)
    assert not bad(found)
    assert any("is calm" in one.message for one in found)


def test_a_flood_of_changes_is_a_storm(tree: Path) -> None:
    """More than 200 changed files in ten seconds, even if each changes once."""
    number = iter(range(1_000_000))
    clock = iter(range(1_000_000))

    def pause(seconds: float) -> None:
        for _ in range(60):
            (tree / "docs" / f"{next(number)}.html").write_text("x")

    found = bad(storm(tree, window=5.0, pause=pause, clock=lambda: float(next(clock))))
    assert [one.status for one in found] == ["fail"]
    assert "files changed" in found[0].message


def test_output_inside_a_watched_folder_is_told_without_running(machine: Machine) -> None:
    """Scenario 57's static form: mkdocs.yml whose site is inside docs; an output option inside the watched folder."""
    machine.recorded = True
    machine.add(proc(5, "mkdocs serve"), proc(6, "tsc -w --outDir ./src/gen"), proc(7, "mkdocs serve"))
    machine.links = {"/proc/5/cwd": "/r", "/proc/6/cwd": "/s", "/proc/7/cwd": "/fine"}
    machine.put("/r/mkdocs.yml", "site_name: x\ndocs_dir: 'pages'\nsite_dir: pages/out # here\n")
    machine.put("/fine/mkdocs.yml", "site_name: x\nwatch:\n  - src\n  - mkdocs.yml\n")
    found = bad(run(ctx(machine), [storms.CHECK]))
    assert [one.evidence for one in found] == [
        {"output": "/r/pages/out", "watched": "/r/pages"},
        {"output": "/s/src/gen", "watched": "/s"},
    ]


def test_two_watchers_on_one_tree_warn(machine: Machine) -> None:
    """Two writers on one tree, both named; a recording says that it does not move."""
    machine.recorded = True
    machine.add(
        proc(5, "uvicorn app:app --reload"), proc(6, "uvicorn app:app --reload"), proc(7, "uvicorn app:app")
    )
    machine.links = {"/proc/5/cwd": "/r", "/proc/6/cwd": "/r", "/proc/7/cwd": "/r"}
    found = run(ctx(machine), [storms.CHECK])
    assert [one.pid for one in bad(found)[0].offenders] == [5, 6]
    assert [one.message for one in found if one.status == "skip"] == [
        "a recording does not move: changes were not counted"
    ]


def test_a_large_tree_is_looked_at_in_part_and_says_so(machine: Machine) -> None:
    """Bounded: of a tree of ten thousand files some are looked at, and that is said."""
    machine.sizes = {f"/r/{n}": 1 for n in range(10_000)}
    at = iter(range(100))
    watched = watching.watch(
        ctx(machine, window=1.0, clock=lambda: float(next(at)), pause=lambda _: None), ["/r"]
    )
    assert watched["/r"].cut
    assert figures.STORM_FILES < 10_000


def test_room_for_inotify(machine: Machine) -> None:
    """F-18: watches by user over 80 % warn and name who holds most."""
    machine.add(proc(5, "node ide"), proc(6, "python x"))
    machine.links = {
        "/proc/5/fd/7": "anon_inode:inotify",
        "/proc/6/fd/3": "anon_inode:inotify",
        "/proc/6/fd/4": "/x",
    }
    machine.put("/proc/5/fdinfo/7", "pos:\t0\n" + "inotify wd:1 ino:2 sdev:3\n" * 85)
    machine.put("/proc/6/fdinfo/3", "inotify wd:1 ino:2 sdev:3\n")
    machine.sysctls = {"fs.inotify.max_user_watches": "100", "fs.inotify.max_user_instances": "128"}
    (found,) = bad(run(ctx(machine), [storms.CHECK]))
    assert found.message.startswith("86 of 100 inotify watches of user 1000 (86%), most by node ide")
    assert found.hint.startswith("sudo sysctl fs.inotify.max_user_watches=200")


def test_two_test_runs_in_one_checkout_warn(machine: Machine) -> None:
    """Scenario 58: two pytest processes with the same cwd; `uv run pytest` with its pytest is one."""
    machine.add(
        proc(5, "uv run pytest -q"), proc(6, "/v/bin/python -m pytest -q", ppid=5), proc(7, "python3 /v/bin/pytest"),
        proc(8, "pytest"),
    )  # fmt: skip
    machine.links = {f"/proc/{n}/cwd": "/r/sub" for n in (5, 6, 7)} | {"/proc/8/cwd": "/elsewhere"}
    machine.put("/r/.git/HEAD", "")
    (found,) = bad(run(ctx(machine), [churn.CHECK]))
    assert {one.pid for one in found.offenders} == {6, 7}
    assert found.message.startswith("tests twice at once in /r: ")


def test_an_install_beside_a_watcher_warns(machine: Machine) -> None:
    """npm install below a running vite; tests beside a watcher are what people do."""
    machine.add(proc(5, "npm install"), proc(6, "node /r/node_modules/.bin/vite"), proc(7, "pytest"))
    machine.links = {f"/proc/{n}/cwd": "/r" for n in (5, 6, 7)}
    (found,) = bad(run(ctx(machine), [churn.CHECK]))
    assert [one.pid for one in found.offenders] == [5, 6]


def test_a_mac_tells_folders_by_lsof(mac: Machine) -> None:
    """The same from one lsof for all processes."""
    mac.add(proc(5, "pytest"), proc(6, "pytest"))
    mac.says("lsof -nP -a -d cwd -u 1000 -Fpn", "p5\nfcwd\nn/r\np6\nfcwd\nn/r\n")
    assert [one.status for one in bad(run(ctx(mac), [churn.CHECK]))] == ["warn"]
