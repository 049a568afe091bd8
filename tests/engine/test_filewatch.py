"""Following files: the engine's part with a helper that is only played, and the helper's own rules on a real folder.

Nothing sleeps: the helper's clock is a variable, and its library is asked once for each turn. Issue 3, item 5.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.engine.conftest import Stagehand, a_spec

from midwatch.engine import filewatch, filewatch_helper
from midwatch.engine.filewatch_helper import Watching
from midwatch.model.service import FileWatch, Schedule
from midwatch.policy import defaults

watchfiles = pytest.importorskip("watchfiles")


# -- the engine's part


class Played:
    """In place of the process."""

    made: ClassVar[list[Played]] = []

    def __init__(self, on_line: Any, on_end: Any) -> None:
        self.on_line, self.on_end = on_line, on_end
        self.wishes: list[dict[str, Any]] = []
        self.ended = False
        self.pid = 4711
        Played.made.append(self)

    def send(self, wish: dict[str, Any]) -> None:
        self.wishes.append(wish)

    def end(self) -> None:
        self.ended = True


@pytest.fixture(autouse=True)
def _played(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Played.made.clear()
    monkeypatch.setattr(filewatch, "WatchHelper", Played)
    yield
    Played.made.clear()


def dev(name: str = "a", **more: Any) -> Any:
    return a_spec(name, file_watch=FileWatch(("/srv/src",)), **more)


def test_one_helper_for_all_and_none_without_a_wish(bare: Stagehand) -> None:
    bare.apply(a_spec("c"))
    assert Played.made == []
    bare.apply(dev("a"), dev("b"))
    (helper,) = Played.made
    assert [one["id"] for one in helper.wishes[-1]["watch"]] == ["p/a", "p/b"]
    assert os.fspath(bare.layout.logs) in helper.wishes[-1]["never"]
    bare.ask("stop", "a")
    assert [one["id"] for one in helper.wishes[-1]["watch"]] == ["p/b"]
    bare.ask("stop", "b")
    assert helper.ended
    bare.ask("start", "b")
    assert len(Played.made) == 2


def test_a_change_restarts_and_is_a_new_chance_for_one_that_waits(bare: Stagehand) -> None:
    """The edit is the cure of most crashes."""
    bare.apply(dev())
    bare.pass_time(10)
    (helper,) = Played.made
    told = {"changed": "p/a", "paths": ["/srv/src/x.py"], "count": 1}
    bare.do(lambda: helper.on_line(told))
    assert len(bare.keeper.ops("spawn")) == 2
    bare.pass_time(10)
    bare.exits(code=1)
    assert bare.phase() == "backoff"
    bare.do(lambda: helper.on_line(told))
    assert bare.phase() == "up"
    assert [line["paths"] for line in bare.events("watch.changed")] == [["/srv/src/x.py"]] * 2
    bare.do(lambda: helper.on_line({"changed": "p/gone", "paths": [], "count": 1}))


def test_a_helper_that_dies_is_started_again_with_growing_pauses_and_said(bare: Stagehand) -> None:
    bare.apply(dev())
    for pause in (1.0, 2.0, 4.0):
        bare.do(lambda: Played.made[-1].on_end("No module named 'watchfiles'"))
        count = len(Played.made)
        bare.pass_time(pause * 0.9)
        assert len(Played.made) == count
        bare.pass_time(pause * 0.2)
        assert len(Played.made) == count + 1
        assert Played.made[-1].wishes
    assert [line["retry_ms"] for line in bare.events("filewatch.lost")] == [1000, 2000, 4000]
    assert bare.events("filewatch.lost")[0]["service"] == "p/a"
    bare.do(lambda: Played.made[-1].on_line({"changed": "p/a", "paths": [], "count": 1}))
    bare.do(lambda: Played.made[-1].on_end("x"))
    assert bare.events("filewatch.lost")[-1]["retry_ms"] == 1000
    bare.ask("stop", "a")
    count = len(Played.made)
    bare.pass_time(100)
    assert len(Played.made) == count, "nobody wants it any more"


def test_warnings_are_said_once_to_those_whom_they_concern(bare: Stagehand) -> None:
    bare.apply(dev("a"), a_spec("b"))
    for _ in range(3):
        bare.do(lambda: Played.made[0].on_line({"warning": "no inotify watches left"}))
    assert [line["service"] for line in bare.events("filewatch.warning")] == ["p/a"]
    bare.do(lambda: Played.made[0].on_line({"watching": 2, "polling": True}))
    (line,) = bare.events("filewatch.started")
    assert (line["folders"], line["polling"], line["pid"]) == (2, True, 4711)


def test_a_new_engine_follows_again_and_a_schedule_excludes_it(bare: Stagehand) -> None:
    bare.apply(dev("a"), dev("b", schedule=Schedule("0 0 1 1 *")))
    assert [one["id"] for one in Played.made[0].wishes[-1]["watch"]] == ["p/a"]
    bare.engine_dies()
    bare.boot()
    assert [one["id"] for one in Played.made[1].wishes[-1]["watch"]] == ["p/a"]


# -- the helper's rules


class Desk:
    """The helper in this process: turns by hand, on a real folder, with its own clock."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.now = 100.0
        self.said: list[dict[str, Any]] = []
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        monkeypatch.setattr(filewatch_helper, "say", self._say)
        self.watching = Watching(watchfiles.DefaultFilter())

    def _say(self, line: dict[str, Any]) -> None:
        self.said.append(line)

    def wish(self, *paths: str, ignore: tuple[str, ...] = (), never: tuple[str, ...] = ()) -> None:
        absolute = [str(self.folder / path) for path in paths]
        ignored = [str(self.folder / one) if "/" in one else one for one in ignore]
        watch = [{"id": "a", "paths": absolute, "ignore": ignored, "debounce": 0.5}]
        outside = [str(self.folder / one) for one in never]
        self.watching.wish({"watch": watch, "never": outside, "home": "/nowhere", "most": 10.0, "roots": 2.0})

    def turn(self, seconds: float = 0.1) -> list[dict[str, Any]]:
        """The kernel reports to a thread of the library: ask until it has nothing more, then let time pass."""
        self.now += seconds
        for _ in range(40):
            self.watching.turn()
        told = [line for line in self.said if "changed" in line]
        self.said = [line for line in self.said if "changed" not in line]
        return told

    def write(self, name: str, text: str = "x") -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def told(self) -> set[str]:
        """What is told once it has been quiet for long enough, relative to the folder."""
        found = self.turn(0.1) + self.turn(2.1) + self.turn(0.6)
        return {os.path.relpath(path, self.folder) for line in found for path in line["paths"]}

    def close(self) -> None:
        for notifier in self.watching.notifiers:
            notifier.close()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    folder = Path(os.path.realpath(tmp_path)) / "shop"
    folder.mkdir()
    made = Desk(folder, monkeypatch)
    yield made
    made.close()


def test_what_counts_and_what_does_not(desk: Desk) -> None:
    """Caches, version control, editors' files and our own are left out; so is what `ignore` names."""
    desk.write("src/a.py")
    desk.wish("src", "*.toml", ignore=("*.log", "src/gen/**"), never=("src/logs",))
    assert desk.told() == set()
    for name in (
        "src/__pycache__/a.pyc", "src/.git/index", "src/.a.py.swp", "src/a.py~", "src/node_modules/x/y.js", "src/x.log",
        "src/gen/deep/x.py", "src/logs/out", "other/x.py", "x.py", "sub/x.toml", "src/.venv/lib/x.py",
    ):  # fmt: skip
        desk.write(name)
    assert desk.told() <= {"src/gen", "src/logs", "src/node_modules"}  # folders made just now, no file in them
    desk.write("src/a.py", "y")
    assert "src/a.py" in desk.told()
    desk.write("midwatch.toml")
    assert desk.told() == {"midwatch.toml"}


def test_the_project_may_live_below_a_folder_with_such_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is below the watched folder is judged by its name."""
    folder = Path(os.path.realpath(tmp_path)) / "node_modules" / "mine"
    folder.mkdir(parents=True)
    desk = Desk(folder, monkeypatch)
    desk.wish("src")
    desk.write("src/a.py")
    assert desk.told()
    desk.write("src/a.py", "y")
    assert desk.told() == {"src/a.py"}
    desk.close()


def test_a_path_that_appears_goes_and_comes_back(desk: Desk) -> None:
    """Also when its parents are not there yet."""
    desk.wish("not/yet/there.conf", "lib")
    assert desk.told() == set()
    desk.write("not/yet/there.conf")
    assert "not/yet/there.conf" in desk.told()
    (desk.folder / "not/yet/there.conf").unlink()
    assert desk.told() == {"not/yet/there.conf"}
    desk.write("not/yet/there.conf", "back")
    assert desk.told() == {"not/yet/there.conf"}
    desk.write("lib/x.py")
    assert "lib" in desk.told()
    desk.write("lib/x.py", "again")
    assert desk.told() == {"lib/x.py"}


def test_an_editors_save_replaces_the_file(desk: Desk) -> None:
    """Written beside it and renamed: three times, since a watch of the file itself would see only the first."""
    desk.write("app.conf", "0")
    desk.wish("app.conf")
    assert desk.told() == set()
    for number in range(3):
        desk.write(".app.conf.new", "x" * (number + 2))
        os.rename(desk.folder / ".app.conf.new", desk.folder / "app.conf")
        assert desk.told() == {"app.conf"}


def test_a_folder_that_is_replaced_by_another_one_is_followed_on(desk: Desk) -> None:
    """A checkout, a deployment: the old folder's watch says nothing any more."""
    desk.write("src/a.py")
    desk.wish("src")
    desk.told()
    os.rename(desk.folder / "src", desk.folder / "old")
    desk.write("src/b.py")
    assert desk.told()
    desk.write("src/b.py", "y")
    assert desk.told() == {"src/b.py"}
    desk.write("old/a.py", "y")
    assert desk.told() == set()


def test_symbolic_links_count_with_what_they_lead_to(desk: Desk) -> None:
    """A change there, and another target (deployments by `current`, config maps)."""
    desk.write("v1/conf", "1")
    desk.write("v2/conf", "22")
    os.symlink("v1", desk.folder / "current")
    os.symlink("v1/conf", desk.folder / "link.conf")
    desk.wish("current", "link.conf")
    assert desk.told() == set()
    desk.write("v1/conf", "111")
    assert desk.told() == {"current/conf", "link.conf"}
    os.symlink("v2", desk.folder / "next")
    os.rename(desk.folder / "next", desk.folder / "current")
    assert desk.told() == {"current"}
    desk.write("v2/conf", "2222")
    assert desk.told() == {"current/conf"}


def test_it_is_told_once_it_is_quiet_and_at_last_anyway(desk: Desk) -> None:
    """Debounce 0.5 s; changes without a pause are told after 10 s."""
    desk.write("src/a.py")
    desk.wish("src")
    desk.told()
    desk.write("src/a.py", "1")
    assert desk.turn(0.1) == []
    desk.write("src/a.py", "2")
    assert desk.turn(0.4) == []
    (line,) = desk.turn(0.6)
    assert (line["changed"], line["count"]) == ("a", 1)
    told = []
    for number in range(30):
        desk.write("src/a.py", str(number))
        told += desk.turn(0.4)
    assert len(told) == 1


def test_ten_paths_are_named_and_the_rest_counted(desk: Desk) -> None:
    desk.write("src/a.py")
    desk.wish("src")
    desk.told()
    for number in range(50):
        desk.write(f"src/{number}.py")
    desk.turn(0.1)
    (line,) = desk.turn(0.6)
    assert (len(line["paths"]), line["count"]) == (10, 50)


@pytest.mark.parametrize(
    ("words", "knob"),
    [("OS file watch limit reached", "max_user_watches"), ("Too many open files (os error 24)", "max_user_instances")],
)
def test_without_inotify_it_looks_and_says_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, words: str, knob: str
) -> None:
    """ENOSPC, EMFILE: every file is looked at instead; the message names the limit to raise."""
    real = watchfiles.watch

    def limited(*paths: str, force_polling: bool, **options: Any) -> Any:
        if not force_polling:
            raise OSError(words)
        return real(*paths, force_polling=True, **options)

    monkeypatch.setattr(watchfiles, "watch", limited)
    desk.write("src/a.py")
    desk.wish("src")
    assert desk.watching.polling
    (warning,) = [line["warning"] for line in desk.said if "warning" in line]
    assert words in warning
    assert f"raise fs.inotify.{knob}" in warning
    assert {"watching": 1, "polling": True} in desk.said


def test_patterns() -> None:
    """* stops at a slash, ** does not."""
    translated = filewatch_helper._translated
    for pattern, yes, no in (
        ("*.py", ["a.py", ".py"], ["a/b.py", "a.pyc"]),
        ("**/*.py", ["a.py", "a/b.py", "a/b/c.py"], ["a.txt"]),
        ("src/**", ["src/a", "src/a/b"], ["src2/a"]),
        ("[ab]?.[!c]", ["a1.d", "b2.e"], ["c1.d", "a1.c", "a.d"]),
        ("a+b(c)", ["a+b(c)"], ["aab(c)"]),
    ):
        expression = re.compile(translated(pattern))
        assert all(expression.fullmatch(name) for name in yes), pattern
        assert not any(expression.fullmatch(name) for name in no), pattern


def test_a_line_fits_its_bound() -> None:
    """Ten paths of 500 characters, each at worst escaped."""
    line = {"changed": "p/" + "x" * 64, "paths": ["\x01" * 500] * 10, "count": 10**9}
    assert len(json.dumps(line)) < defaults.WATCH_LINE_BYTES
