"""What a name means: this project's service, else the only one, else an error with the nearest (design 6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from midwatch.config import project_of
from midwatch.front.cli import project
from midwatch.front.cli.declare import Usage
from midwatch.front.cli.names import resolve

IDS = ["shop/web", "shop/worker-1", "shop/worker-2", "shop/worker-10", "blog/web", "blog/db", "run/sleep"]


@pytest.mark.parametrize(
    ("words", "here", "meant"),
    [
        (["web"], "shop", ["shop/web"]),
        (["web"], "blog", ["blog/web"]),
        (["blog/web"], "shop", ["blog/web"]),
        (["db"], "shop", ["blog/db"]),
        (["db"], None, ["blog/db"]),
        (["worker"], "shop", ["shop/worker-1", "shop/worker-2", "shop/worker-10"]),
        (["worker"], None, ["shop/worker-1", "shop/worker-2", "shop/worker-10"]),
        (["shop/worker"], "blog", ["shop/worker-1", "shop/worker-2", "shop/worker-10"]),
        (["worker-2", "worker"], "shop", ["shop/worker-2", "shop/worker-1", "shop/worker-10"]),
        (["sleep"], None, ["run/sleep"]),
    ],
)
def test_names(words: list[str], here: str | None, meant: list[str]) -> None:
    """A name is the project's own, the only one, exact with PROJECT/, or all instances together; each once."""
    assert resolve(words, IDS, here) == meant


@pytest.mark.parametrize(
    ("word", "here", "said"),
    [
        ("web", None, "several projects.*blog/web, shop/web"),
        ("wbe", "shop", "did you mean 'web'"),
        ("dbb", "shop", "did you mean 'blog/db'"),
        ("shop/wbe", None, "did you mean 'shop/web'"),
        ("zzzzzz", None, "known: blog/db"),
    ],
)
def test_unknown_names(word: str, here: str | None, said: str) -> None:
    """An unknown or ambiguous name changes nothing and says what was probably meant."""
    with pytest.raises(Usage, match=said) as caught:
        resolve([word], IDS, here)
    assert caught.value.code == 2
    assert "nothing was done" in caught.value.text


def test_no_service_at_all() -> None:
    """Nothing is known: say how to get something."""
    with pytest.raises(Usage, match="midwatch up"):
        resolve(["web"], [], None)


def test_the_project_is_found_upward(tmp_path: Path) -> None:
    """The nearest midwatch.toml from the current folder upward names the project; a broken one names none."""
    below = tmp_path / "My Shop" / "a" / "b"
    below.mkdir(parents=True)
    assert project.find(below) is None
    file = tmp_path / "My Shop" / "midwatch.toml"
    file.write_text("[service.web]\ncommand = ['x']\n")
    assert project.find(below) == file
    assert project.name_of(file) == project_of(file) == "My-Shop"
    file.write_text('[midwatch]\nproject = "shop"\n')
    assert project.name_of(file) == "shop"
    file.write_text("[[[")
    assert project.name_of(file) is None
