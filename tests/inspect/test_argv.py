"""What a command line says it runs: tables of real ones, hostile ones, and generated ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.inspect import argv
from midwatch.inspect.argv import Shape, shape
from midwatch.model.look import Proc


def proc(*words: str, name: str = "x") -> Proc:
    return Proc(pid=9, start=1, ppid=1, pgid=9, sid=9, uid=0, name=name, argv=words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("node", "--require", "x.js", "/srv/a.js", "serve"), Shape("node", "/srv/a.js", rest=("serve",))),
        (("node", "--max-old-space-size=4096", "a.js"), Shape("node", "a.js")),
        (("node", "-e", "console.log(1)", "a.js"), Shape("node")),
        (("python3.11", "-X", "dev", "-m", "x.y", "80"), Shape("python3.11", module="x.y", rest=("80",))),
        (("python3", "-c", "import x", "a.py"), Shape("python3")),
        (("python", "-u", "s.py"), Shape("python", "s.py")),
        (("bun", "run", "x.ts"), Shape("bun", "x.ts")),
        (("bash", "/srv/start.sh", "x"), Shape("bash", "/srv/start.sh", rest=("x",))),
        (("-zsh",), Shape("-zsh")),
        (("npx", "-y", "a@1.2", "b"), Shape("npx", package="a", rest=("b",))),
        (("npx", "-p", "k", "@s/n@latest"), Shape("npx", package="@s/n")),
        (("npm", "exec", "--", "a@latest"), Shape("npm", package="a")),
        (("npm exec a@latest",), Shape("npm", package="a")),
        (("npm exec a@latest", "--port", "5"), Shape("npm", package="a", rest=("--port", "5"))),
        (("npm", "run", "dev"), Shape("npm", rest=("run", "dev"))),
        (("uv", "tool", "run", "ruff==1"), Shape("uv", package="ruff")),
        (("uv", "tool", "uvx", "mcp-x"), Shape("uv", package="mcp-x")),
        (("uv", "pip", "install", "x"), Shape("uv", rest=("pip", "install", "x"))),
        (("uvx", "--from", "git+https://x", "cmd", "-v"), Shape("uvx", package="cmd", rest=("-v",))),
        (("npx",), Shape("npx")),
        (("postgres: writer process",), Shape("postgres:", rest=("writer", "process"))),
        (("/Applications/A B.app/Contents/MacOS/A B",), Shape("/Applications/A B.app/Contents/MacOS/A B")),
        ((), Shape("x")),
        (("", ""), Shape("x")),
        (("python3", "-m"), Shape("python3")),
        (("node", "--require"), Shape("node")),
    ],
)  # fmt: skip
def test_what_runs(words: tuple[str, ...], expected: Shape) -> None:
    """Interpreters, runners, titles, and what is not there."""
    assert shape(proc(*words)) == expected


@pytest.mark.parametrize(
    ("path", "tail", "yes"),
    [
        ("/a/b/c", "b/c", True), ("/a/xb/c", "b/c", False), ("c", "b/c", False), ("/s/mcp-x", "*-x", True),
        ("/a/b/c", "*/c", True), ("/a/b", "a/*", True), ("/a/b/c", "a/*", False), ("codex", "codex", True),
        ("/home/me/codex-notes", "codex", False),
    ],
)  # fmt: skip
def test_whole_parts_only(path: str, tail: str, yes: bool) -> None:
    assert argv.ends_with(path, tail) is yes


def test_parts_in_the_middle() -> None:
    assert argv.passes("/x/node_modules/@m/server-a/dist/i.js", "node_modules/@m/server-*")
    assert not argv.passes("/x/my_node_modules/@m/server-a", "node_modules/@m/server-*")
    assert not argv.passes("", "node_modules/x")


@pytest.mark.parametrize(
    ("words", "yes"),
    [
        (("-bash",), True), (("bash",), True), (("zsh", "-l", "-i"), True), (("/bin/sh", "-c", "x"), False),
        (("bash", "start.sh"), False), (("zsh", "-lc", "x"), False), (("vim",), False), (("fish",), True),
    ],
)  # fmt: skip
def test_where_a_person_works(words: tuple[str, ...], yes: bool) -> None:
    """A shell that runs a script or -c is a program like any other."""
    assert argv.is_shell(proc(*words)) is yes


@pytest.mark.parametrize(
    ("words", "label"),
    [
        (("node", "/x/vite.js", "dev"), "node vite.js dev"), (("npx", "-y", "a@1"), "npx a"),
        (("codex", "app-server"), "codex app-server"), (("postgres", "-D", "/x"), "postgres"),
        (("curl", "https://u:p@h/"), "curl"), (("python3", "-m", "http.server"), "python3 http.server"),
        ((), "[x]"),
        (("timeout", "-k", "5", "600", "make", "all"), "make all"), (("env", "A=1", "python3", "x.py"), "python3 x.py"),
        (("sudo",), "sudo"), (("bash", "/dev/fd/3"), "bash"), (("python", "/x/web/server.py"), "python web/server.py"),
        (("grep", "Hunter2!"), "grep"),
    ],
)  # fmt: skip
def test_a_few_words_for_a_person(words: tuple[str, ...], label: str) -> None:
    """What it is; never an address, a path or a prompt."""
    assert argv.label(proc(*words)) == label


@given(st.lists(st.text(max_size=30), max_size=8))
def test_any_words_have_a_shape(words: list[str]) -> None:
    """Bad input: whatever a program calls itself."""
    found = shape(proc(*words))
    assert isinstance(found.program, str)
    argv.label(proc(*words))
    argv.is_shell(proc(*words))


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        ("npx -y x", True), ("npm exec x", True), ("uv run x", True), ("timeout 9 x", True),
        ("node /usr/bin/pnpm dlx x", True),
        ("node /usr/lib/node_modules/npm/bin/npx-cli.js x", True), ("python3 /usr/bin/pipx run x", True),
        ("python3 scrape.py npx", False), ("node /srv/app/server.js", False), ("x npx", False),
    ],
)  # fmt: skip
def test_runners(words: str, runs: bool) -> None:
    """What starts another program and is nothing itself; a program that mentions one is none."""
    assert argv.is_runner(proc(*words.split())) is runs
