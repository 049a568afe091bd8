"""Packs: each recognises what it says it does and nothing that looks alike; a mistake in one names its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from midwatch.inspect import agents
from midwatch.inspect.agents import HELPERS, Example, Pack, PackError, Packs
from midwatch.model.look import Proc

OURS = agents.load()
WANTED = {
    "claude-code", "codex", "opencode", "goose", "gemini-cli", "cursor", "openclaw", "hermes", "docker-agent", "ollama",
    "aider", "copilot", "amp", "crush", "qwen-code", "mcp-servers", "language-servers", "browsers",
}  # fmt: skip
EXAMPLES = [
    pytest.param(pack, example, id=f"{pack.name}-{' '.join(example.argv)[:50]}")
    for pack in OURS.all.values()
    for example in pack.example
]


HEAD = 'schema = 1\nname = "x"\ntitle = "x"\n'


def proc(*argv: str) -> Proc:
    return Proc(pid=9, start=1, ppid=1, pgid=9, sid=9, uid=0, name="x", argv=argv)


def test_every_pack_of_ours_is_right_and_all_agents_are_there() -> None:
    """No pack has a mistake; the agents that users run are known."""
    assert OURS.problems == ()
    assert set(OURS.all) >= WANTED


@pytest.mark.parametrize(("pack", "example"), EXAMPLES)
def test_a_pack_knows_its_own_and_no_look_alike(pack: Pack, example: Example) -> None:
    """Users.md 2.2, trap 18: by structure of the command line; a prompt, a path or a similar name is nobody."""
    found = Packs([pack]).who(proc(*example.argv))
    assert (found.role if found else "") == example.role


@pytest.mark.parametrize("pack", OURS.all.values(), ids=OURS.all)
def test_each_pack_shows_both_kinds_of_examples(pack: Pack) -> None:
    """One that matches for every role it has, one that must not, and a folder for every agent."""
    roles = {example.role for example in pack.example}
    assert "" in roles
    assert roles - {""}
    assert {pattern.role for pattern in pack.process} & roles
    assert pack.process[0].role in HELPERS or pack.state.folders


def test_agents_come_before_helpers() -> None:
    """A session whose name would also fit a helper's pattern is the session."""
    order = [pack.process[0].role in HELPERS for pack in OURS.all.values() if pack.name != "opencode"]
    assert order == sorted(order)
    known = OURS.who(proc("codex", "mcp-server"))
    assert known is not None
    assert (known.pack, known.role) == ("codex", "mcp")


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (HEAD + "process = []\ncolour = 1\n", ":5: colour", "unknown key"),
        (HEAD + '[[process]]\nrole = "boss"\n', ":5: process.role", "boss"),
        (HEAD + '\n[[process]]\nrole = "mcp"\nprogramm = ["y"]\n', ":7: process.programm", "unknown"),
        (HEAD + '[[process]]\nrole = "mcp"\ncommand = ["y"]\n', ":4: process", "needs one of"),
        ('schema = 1\nname = "x"\ntitle = 5\nprocess = []\n', ":3: title", "str"),
        ('schema = 2\nname = "x"\ntitle = "x"\nprocess = []\n', ":1: schema", "2"),
        ('name = "x"\nname = "y"\n', ":2:", "overwrite"),
        ("schema = 1\n", ":1:", "name"),
    ],
)  # fmt: skip
def test_a_mistake_names_file_line_and_key(text: str, place: str, words: str) -> None:
    """Unknown keys are refused, too."""
    with pytest.raises(PackError) as error:
        agents.parse(text, "/p/x.toml")
    assert str(error.value).startswith("/p/x.toml" + place)
    assert words in str(error.value)


def test_a_persons_own_pack_joins_and_replaces(tmp_path: Path) -> None:
    """Own packs are read from a folder; one of the same name wins; a bad one is said and the others still count."""
    own = '\n[[process]]\nrole = "session"\nprogram = ["robot"]\n'
    (tmp_path / "robot.toml").write_text('schema = 1\nname = "robot"\ntitle = "robot"' + own)
    (tmp_path / "aider.toml").write_text(
        'schema = 1\nname = "aider"\ntitle = "my aider"' + own.replace("robot", "aider2")
    )
    (tmp_path / "bad.toml").write_text("schema = 1\nname name\n")
    (tmp_path / "huge.toml").write_text("#" * (agents.MOST_BYTES + 5))
    (tmp_path / "note.txt").write_text("x")
    found = agents.load(str(tmp_path))
    robot = found.who(proc("/usr/bin/robot"))
    assert robot is not None
    assert robot.title == "robot"
    assert found.who(proc("aider")) is None
    assert found.who(proc("aider2")) is not None
    assert len(found.problems) == 2
    assert any("bad.toml:2" in text for text in found.problems)


def test_a_fifo_among_the_packs_hangs_nobody(tmp_path: Path) -> None:
    """It is read as what it is: empty."""
    import os

    os.mkfifo(tmp_path / "pipe.toml")
    assert any("pipe.toml" in text for text in agents.load(str(tmp_path)).problems)


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (("npm exec chrome-devtools-mcp@latest",), "chrome-devtools-mcp"),
        (("node", "/h/.npm/_npx/1/node_modules/.bin/context7-mcp"), "context7-mcp"),
        (("node", "/h/node_modules/@modelcontextprotocol/server-a/i.js"), "@modelcontextprotocol/server-a"),
        (("python3", "-m", "mcp_server_time"), "mcp_server_time"),
    ],
)  # fmt: skip
def test_a_helper_is_called_by_its_package(argv: tuple[str, ...], name: str) -> None:
    """So that 23 copies of one server are one line."""
    known = OURS.who(proc(*argv))
    assert known is not None
    assert known.name == name
