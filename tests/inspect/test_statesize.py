"""How much agents keep: bounded walks, links not followed, what is too large or growing."""

from __future__ import annotations

import os
import time
from pathlib import Path

from midwatch.inspect import agents
from midwatch.inspect.look import forecast, statesize
from midwatch.inspect.look.past import Look
from midwatch.inspect.sources.live import Live
from midwatch.policy import defaults_inspect as d

PACK = 'schema = 1\nname = "{0}"\ntitle = "{0}"\nprocess = []\n'
PACK += '[state]\nfolders = ["{1}"]\ntemporary = ["{1}/t-{{uid}}"]\n'


def packs(folder: Path) -> agents.Packs:
    return agents.Packs([agents.parse(PACK.format("robot", folder), "x.toml")])


def walk(folder: Path, seconds: float = 30.0) -> list[statesize.Folder]:
    return statesize.folders(Live(), packs(folder), time.monotonic() + seconds)


def test_files_are_summed_and_links_are_not_followed(tmp_path: Path) -> None:
    """A link to elsewhere and a loop of links cost nothing; the largest file is named."""
    (tmp_path / "state" / "a").mkdir(parents=True)
    (tmp_path / "state" / "a" / "big").write_bytes(b"x" * 5000)
    (tmp_path / "state" / "small").write_bytes(b"x" * 10)
    os.symlink("/", tmp_path / "state" / "root")
    os.symlink(".", tmp_path / "state" / "loop")
    os.mkfifo(tmp_path / "state" / "pipe")
    (found,) = walk(tmp_path / "state")
    assert (found.agent, found.size, found.whole) == ("robot", 5010, True)
    assert found.largest == (str(tmp_path / "state" / "a" / "big"), 5000)


def test_temporary_folders_know_the_user(tmp_path: Path) -> None:
    (tmp_path / f"t-{os.geteuid()}").mkdir()
    (tmp_path / f"t-{os.geteuid()}" / "out").write_bytes(b"x" * 77)
    assert {folder.size for folder in walk(tmp_path)} == {77}


def test_a_large_folder_is_at_least_so_large(tmp_path: Path) -> None:
    """LOOK_FOLDERS files or no more time: the size is a lower bound and says so."""
    for number in range(200):
        (tmp_path / str(number)).write_bytes(b"x" * 10)
    (found,) = walk(tmp_path, -1.0)
    assert not found.whole
    assert 0 < found.files < 200
    (level,) = statesize.levels(Live(), [found])
    assert level.at_least
    assert d.LOOK_FOLDERS == 20_000


def test_a_folder_that_is_too_large_is_told() -> None:
    """STATE_LARGE: CC#35121; and users.md 5.1: 212 GB, one file, with its rate and the disk's end."""
    assert [statesize.large(size << 30) for size in (19, 20, 100)] == ["calm", "warn", "danger"]
    folder = statesize.Folder("claude", "/tmp", 212 << 30, 1, True, ("/tmp/x.out", 212 << 30))
    (level,) = statesize.levels(Live(), [folder])
    assert level.detail == "of claude, most of it one file (x.out)"
    (judged,) = forecast.judge(
        [level], [Look(0.0, "b", {level.key: float((212 << 30) - (11000 << 20))})], 600.0
    )
    assert judged.state == "danger"
    assert judged.full_in is not None
    assert judged.rate is not None
    assert round(judged.rate * 60 / (1 << 20)) == 1100


def test_folders_that_do_not_exist_are_nothing(tmp_path: Path) -> None:
    assert walk(tmp_path / "none") == []
    assert statesize.levels(Live(), [statesize.Folder("x", "/no/such/place", 5, 1, True)]) == []
