"""The pages that people write by hand are true: links, files, commands, options, configuration.

The generated reference is checked by its generator (`make docs-check`). Must not judge style.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from midwatch import config
from midwatch.config.keys import reference_rows
from midwatch.front.cli.verbs import VERBS, load
from midwatch.policy.events import EVENTS

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)\s#]+)(?:#[^)]*)?\)")
ANCHOR = re.compile(r"\]\((?!https?:|mailto:)([^)\s#]*)#([^)\s]+)\)")
SHOWN_EVENT = re.compile(r"^ *\d\d:\d\d:\d\d  \S+  ([a-z]+(?:\.[a-z_]+)?)\b(?=  )", re.MULTILINE)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# `midwatch verb ...` inside back quotes, or in a shell block after a prompt or at the start of a line.
CALL = re.compile(r"(?:^ *(?:\$ )?|`|&& |\|\| |\| )midwatch ([a-z][a-z-]*)([^`#\n|&]*)", re.MULTILINE)

KEYS = {row.key.removeprefix("service.NAME.") for row in reference_rows()}
TABLES = {key.partition(".")[0] for key in KEYS if "." in key} - {"midwatch"}

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
def test_anchors_exist(page: Path) -> None:
    """Every link to a heading names one that is there."""
    missing = []
    for link, anchor in ANCHOR.findall(page.read_text()):
        target = page.parent / link if link else page
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
        slugs = {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
        missing += [f"{link}#{anchor}"] if anchor not in slugs else []
    assert not missing


@pages
def test_keys_and_events_exist(page: Path) -> None:
    """Every `table.key` of a service and every event in shown output is one that exists."""
    text = page.read_text()
    wrong = [
        key
        for key in re.findall(rf"`((?:{'|'.join(sorted(TABLES))})\.\w+)", text)
        if key not in KEYS and key not in EVENTS
    ]
    for kind, block in BLOCK.findall(text):
        if kind == "console":
            wrong += [name for name in SHOWN_EVENT.findall(block) if name not in EVENTS]
    assert not wrong


def test_every_page_is_found_from_the_index() -> None:
    """docs/README.md links to every page; none is lost."""
    index = (ROOT / "docs/README.md").read_text()
    pages_below = [page for page in (ROOT / "docs").rglob("*.md") if page.name != "README.md"]
    assert not [page.name for page in pages_below if f"{page.relative_to(ROOT / 'docs')})" not in index]


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
