"""The reference says what the code does: generated pages are current and complete, marked examples run.

A fenced block that begins with ```sh test is run in a fresh folder with an instance of its own, line by line as a
shell would, and has to end with 0. What people write by hand is checked in test_prose.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from midwatch.config import reference_rows
from midwatch.engine.methods import Methods
from midwatch.front.cli.codes import EXIT_CODES
from midwatch.front.cli.verbs import VERBS, load
from midwatch.policy.events import EVENTS

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
BLOCK = re.compile(r"^```sh test\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
CONVENTION = (
    "# A page\n\n```sh test\nmidwatch --version\nmidwatch ps && exit 1 || true\n```\n"  # there is always one
)
RUNNABLE = [(Path("the convention"), text) for text in BLOCK.findall(CONVENTION)]
RUNNABLE += [(page.relative_to(ROOT), text) for page in PAGES for text in BLOCK.findall(page.read_text())]


def _generator() -> Any:
    spec = util.spec_from_file_location("docs_generator", ROOT / "scripts" / "docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = _generator()


@pytest.mark.parametrize("name", list(GENERATOR.PAGES))
def test_the_generated_pages_are_current(name: str) -> None:
    """docs/reference is what scripts/docs.py makes of this code (`make docs` renews it)."""
    assert (REFERENCE / name).read_text() == GENERATOR.NOTE + GENERATOR.PAGES[name]()


def test_no_page_is_left_over() -> None:
    """A page whose generator is gone is gone too."""
    assert {path.name for path in REFERENCE.glob("*.md")} == set(GENERATOR.PAGES)


@pytest.mark.parametrize("name", VERBS)
def test_every_command_is_documented(name: str) -> None:
    """Each verb with each of its options, its help and an example."""
    text = (REFERENCE / "commands.md").read_text().partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    verb = load(name)
    assert verb.help in text
    assert verb.detail
    assert verb.examples
    assert all(f"`{flag}" in text for opt in verb.opts for flag in opt.flags)


def test_every_key_event_code_and_method_is_documented() -> None:
    """The closed sets of the code are in the reference, each of them."""
    pages = {path.name: path.read_text() for path in REFERENCE.glob("*.md")}
    assert not [row.key for row in reference_rows() if f"`{row.key}`" not in pages["config.md"]]
    assert not [name for name in EVENTS if f"`{name}`" not in pages["events.md"]]
    assert not [code for code, _, _ in EXIT_CODES if f"| {code} |" not in pages["exit-codes.md"]]
    assert not [name for name in Methods.TABLE if f"`{name}`" not in pages["control.md"]]


def test_help_names_only_documented_exit_codes() -> None:
    """Codes that a verb's help speaks of are in the table."""
    known = {code for code, _, _ in EXIT_CODES} | {128}
    said = {int(code) for name in VERBS for code in re.findall(r"(?<![\w.])\d+(?=[ ,])", load(name).codes)}
    assert said <= known, said - known


def test_check_says_what_is_stale(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`scripts/docs.py --check` ends with 1 and names the page, and writes nothing."""
    monkeypatch.setitem(GENERATOR.PAGES, "commands.md", lambda: "something else\n")
    before = (REFERENCE / "commands.md").read_text()
    assert GENERATOR.main(["--check"]) == 1
    assert "commands.md" in capsys.readouterr().out
    assert (REFERENCE / "commands.md").read_text() == before


@pytest.mark.parametrize(("page", "text"), RUNNABLE, ids=[f"{page}" for page, _ in RUNNABLE])
def test_marked_examples_run(page: Path, text: str, home: Path, tmp_path: Path) -> None:
    """A block marked `sh test` runs as it stands, with `midwatch` being this one."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "midwatch").write_text(f'#!/bin/sh\nexec {sys.executable} -m midwatch "$@"\n')
    (tools / "midwatch").chmod(0o755)
    environ = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "MIDWATCH_HOME": str(home)}
    environ["PYTHONPATH"] = str(ROOT / "src")
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        ["sh", "-e", "-c", text],
        check=False,
        cwd=work,
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{page}:\n{done.stdout}{done.stderr}"
