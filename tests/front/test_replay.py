"""`replay`: a journal goes through the rules again; the same, different, and "not recorded" are told apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.front.conftest import Done

from midwatch import config
from midwatch.model import event as ev
from midwatch.model.action import Note
from midwatch.model.exit import ExitFacts
from midwatch.model.identity import Now
from midwatch.policy.step import initial, step

Cli = Callable[..., Done]
TOML = '[midwatch]\nproject = "shop"\n[service.web]\ncommand = ["true"]\n'


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A start and two crashes of shop/web as the engine writes them."""
    file = tmp_path / "midwatch.toml"
    file.write_text(TOML)
    (spec,) = config.load(file, environ={"PATH": "/bin"}).specs
    state = initial(spec.id, spec.rules, Now(0.0, 0.0, "b"))
    snapshot = {"now": {"awake": 0.0, "wall": 0.0, "boot": "b"}, "states": [msgspec.to_builtins(state)]}
    lines: list[dict[str, Any]] = [
        {"ts": "2026-06-02T02:31:00.000Z", "event": "journal.opened", "snapshot": snapshot}
    ]
    world: list[tuple[float, ev.Event]] = [
        (1.0, ev.Ask("start", "j", "me")),
        (1.1, ev.Permit()),
        (1.2, ev.Spawned("shop.web.1", 77)),
        (2.0, ev.Exited("shop.web.1", ExitFacts(3 << 8, 0.8))),
        (4.0, ev.Tick()),
        (4.1, ev.Spawned("shop.web.2", 78)),
        (5.0, ev.Exited("shop.web.2", ExitFacts(3 << 8, 0.9))),
    ]
    for awake, event in world:
        done = step(state, event, Now(awake, 0.0, "b"))
        state, cause = done.state, msgspec.to_builtins(event)
        for note in [action for action in done.actions if isinstance(action, Note)]:
            line: dict[str, Any] = {
                "ts": f"2026-06-02T02:31:{int(awake):02}.000Z",
                "event": note.event,
                "service": spec.id,
            }
            line |= msgspec.to_builtins(note.fields)
            if cause is not None:
                line |= {"input": cause, "awake": awake}
            lines.append(line)
            cause = None
    path = tmp_path / "2026-W23.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"torn')
    return path


def test_the_rules_of_the_time_decide_the_same(cli: Cli, journal: Path) -> None:
    """Every recorded event comes out as it was; a folder works like its file; --all shows each."""
    done = cli("replay", str(journal))
    assert done.code == 0
    assert done.out.strip().endswith("0 differently, 0 not recorded")
    document = cli("replay", str(journal), "--json").json
    assert document["inputs"] == len(document["decisions"]) > 4
    assert all(one["same"] for one in document["decisions"])
    assert "run.exited" in cli("replay", str(journal), "--all").out
    folder = journal.parent / "journal"
    folder.mkdir()
    journal.rename(folder / journal.name)
    assert cli("replay", str(folder)).code == 0


def test_other_rules_are_a_back_test(cli: Cli, journal: Path, tmp_path: Path) -> None:
    """--config: what would have been decided; a difference is an answer, not a failure."""
    other = tmp_path / "other.toml"
    other.write_text(TOML + "restart = { crash_hard = 2 }\n")
    done = cli("replay", str(journal), "--config", str(other))
    assert done.code == 0
    assert "recorded:" in done.out
    assert "supervision.gave_up" in done.out.partition("now:")[2]
    assert cli("replay", str(journal), "--config", "/nonexistent").code == 78


def test_what_the_journal_lacks_is_not_recorded(cli: Cli, journal: Path) -> None:
    """Without its snapshot a service's past is unknown, and that is said."""
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[1:]))
    done = cli("replay", str(journal))
    assert "not recorded" in done.out.splitlines()[0]


def test_a_tampered_record_differs(cli: Cli, journal: Path) -> None:
    """A decision that does not follow from its event is a finding: exit 1."""
    journal.write_text(journal.read_text().replace('"crash_count": 1', '"crash_count": 5'))
    done = cli("replay", str(journal))
    assert done.code == 1
    assert "recorded:" in done.out


def test_not_a_journal(cli: Cli, tmp_path: Path) -> None:
    """A missing file is one line, exit 1."""
    done = cli("replay", str(tmp_path / "none.jsonl"))
    assert done.code == 1
    assert "is not a journal" in done.err
