"""`replay`: a journal goes through the rules again; the same, different, and "not recorded" are told apart."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.front.conftest import Done

from midwatch import config
from midwatch.front.cli import backtest
from midwatch.model import event as ev
from midwatch.model.action import Note
from midwatch.model.exit import ExitFacts
from midwatch.model.identity import Now
from midwatch.policy.replay import NOT_RECORDED, Compared
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


def test_what_would_have_changed_by_service(cli: Cli, journal: Path, tmp_path: Path) -> None:
    """The first other decision with both sides' arithmetic, counts of what differs, the waits, and what guards say."""
    other = tmp_path / "other.toml"
    other.write_text(TOML + 'backoff = { first = "3s", jitter = 0.0 }\n')
    out = cli("replay", str(journal), "--config", str(other)).out
    assert "shop/web: 3 of 7 decisions" in out
    assert out.count("recorded:") == 1, "only the first"
    assert "next try in 3 s" in out.partition("now:")[2]
    assert re.search(r"waits in all +3\.\ds +9s", out), out
    assert "the same: 2 other kinds" in out
    assert "when other lines would have been crossed is not recorded" in " ".join(out.split())
    found = cli("replay", str(journal), "--config", str(other), "--json").json["services"]["shop/web"]
    assert (found["different"], found["guards"], found["first"]["input"]) == (3, 0, "exited")
    assert found["waits_ms"]["now"] == 9000
    assert found["counts"]["exit crash"] == {"recorded": 2, "now": 2}


def test_nothing_would_have_changed(cli: Cli, journal: Path, tmp_path: Path) -> None:
    """The same rules in another file: said for each service; one that the file has not is named."""
    same, none = tmp_path / "same.toml", tmp_path / "none.toml"
    same.write_text(TOML)
    none.write_text(TOML.replace("service.web", "service.other"))
    alike = cli("replay", str(journal), "--config", str(same)).out
    assert "shop/web: nothing would have changed in 7 decisions" in alike
    out = cli("replay", str(journal), "--config", str(none)).out
    assert "not in that file, so decided by their own rules: shop/web" in out


def test_guards_are_counted_where_they_are_recorded() -> None:
    """A proposal that the other lines would not have met is told apart, in neither column."""
    tripped = (("guard.tripped", {"guard": "memory", "level": "hard", "decision": "530M held"}),)
    one = Compared("2026-06-02T02:31:00.000Z", 1.0, "shop/web", "tripped", tripped, tripped, True)
    gone = Compared("", 2.0, "shop/web", "tripped", tripped, (), False, f"{NOT_RECORDED}: no hard line then")
    services = backtest.by_service([one, gone])
    assert services["shop/web"]["guards"] == 2
    assert backtest.document(services, str)["shop/web"]["counts"] == {"guard memory hard": {"recorded": 1, "now": 1}}
    text = "\n".join(backtest.screen(services, 80))
    assert "shop/web: 1 of 2 decisions would have been others" in text
    assert "now:      no hard line then is not recorded" in text
    assert "2 proposals of guards are in the record, 1 of them would not have come" in text
