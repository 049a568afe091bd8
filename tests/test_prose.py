"""The pages that people write by hand are true: links, files, commands, options, configuration.

The generated reference is checked by its generator (`make docs-check`). Must not judge style.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from midwatch import config
from midwatch.front.cli.verbs import VERBS, load

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)\s#]+)(?:#[^)]*)?\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# `midwatch verb ...` inside back quotes or at the start of a line of a shell block.
CALL = re.compile(r"(?:^|`|&& |\|\| |\| )midwatch ([a-z][a-z-]*)([^`#\n|&]*)", re.MULTILINE)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pages
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that exists."""
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing


@pages
def test_commands_exist(page: Path) -> None:
    """Every `midwatch VERB --option` that is shown is a verb with that option."""
    wrong = []
    for verb, rest in CALL.findall(page.read_text()):
        if verb not in VERBS:
            wrong.append(f"midwatch {verb}")
            continue
        known = {flag for option in load(verb).opts for flag in option.flags} | {"-h", "--help"}
        shown = re.findall(r"(?<!\S)--?[a-z][\w-]*", rest.split(" -- ")[0])
        wrong += [f"midwatch {verb} {flag}" for flag in shown if flag not in known]
    assert not wrong


@pages
def test_configuration_is_valid(page: Path, tmp_path: Path) -> None:
    """Every TOML block is a configuration that loads without a problem."""
    for kind, text in BLOCK.findall(page.read_text()):
        if kind == "toml":
            file = tmp_path / "midwatch.toml"
            file.write_text(text)
            config.load(file, environ={"PATH": "/usr/bin:/bin"})


def test_the_map_for_contributors_names_real_files() -> None:
    """Every path in CONTRIBUTING.md exists."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:src|tests|scripts|docs)/[\w./*-]+)`", text)
    assert not [path for path in named if not list(ROOT.glob(path.rstrip("/")))]
