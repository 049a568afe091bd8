"""Names protect and never accuse; a browser is a driven one only with both signs."""

from __future__ import annotations

import pytest
from tests.inspect.played import proc

from midwatch.inspect.agents import load
from midwatch.inspect.leftovers import kinds

TMP = "--user-data-dir=/tmp/playwright_chromiumdev_profile-x"


@pytest.mark.parametrize(
    ("words", "driven"),
    [
        (f"chrome --headless {TMP}", True), (f"chrome --headless=new {TMP}", True), (f"headless_shell {TMP}", True),
        ("firefox -headless -profile /tmp/rust_mozprofile1", True), (f"chrome {TMP}", False),
        ("chrome --headless --user-data-dir=/home/me/p", False), ("chrome --user-data-dir=/home/me/.config", False),
        ("headless_shell", False), ("firefox -headless", False),
    ],
)  # fmt: skip
def test_a_persons_browser_is_never_a_driven_one(words: str, driven: bool) -> None:
    """Without a window AND with a profile in a temporary folder."""
    assert kinds.is_driven(proc(5, words)) is driven


def test_every_mark_belongs_to_a_pack() -> None:
    """packs/sweep.toml and packs/agents agree."""
    assert set(kinds.words().marks.values()) <= set(load().all)


def test_marks_are_names_of_variables() -> None:
    """The values are not looked at."""
    assert kinds.marked({"PATH": "x", "CLAUDECODE": "1"}) == ("claude-code", "CLAUDECODE")
    assert kinds.marked({"PATH": "CLAUDECODE=1"}) == ("", "")


def test_a_torn_environment_is_read() -> None:
    """No end, no equals sign, no text: what can be told is told."""
    assert kinds.environment(b"A=1\0B\0=x\0C=\xff\0D=1=2") == {"A": "1", "": "x", "C": "\ufffd", "D": "1=2"}


@pytest.mark.parametrize("words", ["-bash", "-zsh", "-fish"])
def test_login_shells(words: str) -> None:
    """Their names begin with a dash."""
    assert kinds.is_login(proc(5, words))
    assert not kinds.is_login(proc(5, words[1:]))
