"""Two readers, one meaning: what `quick` accepts, Typer reads the same way; everything else goes to Typer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.exceptions import TyperException
from typer.main import get_command

from midwatch.front.cli import typer_app
from midwatch.front.cli.declare import Arg, Opt, Usage, Verb
from midwatch.front.cli.quick import read

OPTS = (
    Opt("follow", ("-f", "--follow"), "x"),
    Opt("count", ("-n", "--lines"), "x", "int", "N", default=7),
    Opt("service", ("-s", "--service"), "x", "many", "NAME"),
    Opt("until", ("--until",), "x", "text", "S", default="ready", choices=("ready", "done")),
)
ARGS = {
    "none": None,
    "one": Arg("what", "WHAT", "x"),
    "needed": Arg("what", "WHAT", "x", required=True),
    "many": Arg("what", "WHAT", "x", many=True),
    "rest": Arg("what", "WHAT", "x", many=True, rest=True),
}


class Slow:
    """Typer's reading of a line by the same declaration."""

    def __init__(self, arg: Arg | None, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[dict[str, Any]] = []
        verb = Verb("verb", "h.", "d.", ("midwatch verb",), self._run, OPTS, arg)
        self.verb = verb
        monkeypatch.setattr(typer_app, "VERBS", ("verb",))
        monkeypatch.setattr(typer_app, "load", lambda _: verb)
        self.command = get_command(typer_app.build())

    def _run(self, **values: Any) -> int:
        self.seen.append(values)
        return 0

    def read(self, words: list[str]) -> dict[str, Any] | None:
        self.seen.clear()
        try:
            self.command.main(args=["verb", *words], prog_name="m", standalone_mode=False)
        except TyperException:
            return None
        return self.seen[0] if self.seen else None


@pytest.fixture(scope="module", params=list(ARGS))
def slow(request: pytest.FixtureRequest) -> Any:
    patch = pytest.MonkeyPatch()
    yield Slow(ARGS[request.param], patch)
    patch.undo()


WORDS = st.lists(
    st.sampled_from(
        ["-f", "--follow", "-n", "3", "-n=3", "--lines=4", "--lines", "x", "a", "-", "--", "-s", "--service=b", "-ff",
         "--until", "done", "--until=never", "--nope", "--follow=1", "", "-5", "b c"]
    ),
    max_size=6,
)  # fmt: skip


@settings(max_examples=60)
@given(words=WORDS)
def test_both_readers_agree(slow: Slow, words: list[str]) -> None:
    """A line that the quick reader accepts has the same values in Typer; a bad value is refused by both."""
    try:
        quick = read(slow.verb, words)
    except Usage:
        assert not _accepted(slow, words)
        return
    if quick is not None:
        assert slow.read(words) == quick


def _accepted(slow: Slow, words: list[str]) -> bool:
    try:
        return slow.read(words) is not None
    except Usage:
        return False


def test_the_command_of_run_is_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options of CMD stay CMD's: with `--`, and from the first word that is no option."""
    slow = Slow(ARGS["rest"], monkeypatch)
    for words in (["-f", "--", "sh", "-c", "x", "--", "-n", "9"], ["-f", "sh", "-c", "x", "--", "-n", "9"]):
        found = read(slow.verb, words)
        assert found is not None
        assert found["what"] == ["sh", "-c", "x", "--", "-n", "9"]
        assert found["count"] == 7
        assert slow.read(words) == found
