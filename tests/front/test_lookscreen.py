"""The screen of `look`: golden lines of a recorded Mac in 80 columns and in 40, hostile words, a calm machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from midwatch.front.cli import looknext, lookrows, lookscreen
from midwatch.inspect.look import document as lookdoc
from midwatch.inspect.look import picture as look
from midwatch.inspect.sources.recorded import Recorded
from midwatch.policy import defaults_inspect as figures

MAC = Path(__file__).parents[1] / "inspect" / "recordings" / "mac-six-sessions"
NOW = 1780367400.0
ALL = ("why", "sweep", "doctor", "recover", "run", "up", "ps")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a loaded machine no part may be late."""
    for name in ("LOOK_FIRST", "LOOK_PART", "LOOK_SAVE", "TABLE_STALL"):
        monkeypatch.setattr(figures, name, 30.0)


@pytest.fixture
def mac() -> dict[str, Any]:
    document = lookdoc.document(look.look(Recorded(MAC)))
    document["took_s"] = 1.4
    document["next"] = looknext.advice(document, ALL)
    return document


def lines(document: dict[str, Any], room: int = 80, on: bool = False) -> list[str]:
    return lookscreen.screen(document, room, NOW, on)


def test_an_orphan_that_listens_is_no_pile(mac: dict[str, Any]) -> None:
    """Offered apart because somebody may come: it has no living parent, so it does not pile up below one."""
    changes = {"name": "dev-mcp", "reason": "MCP server without a client", "respawns": ""}
    mac["leftovers"] = [mac["leftovers"][0] | changes]
    text = "\n".join(lines(mac))
    assert "old: offered apart: MCP server without a client" in " ".join(text.split())
    assert "pile-up" not in text


def test_users_5_1(mac: dict[str, Any]) -> None:
    """The first screen: a number in gigabytes that one did not know, and the command that fixes it."""
    text = "\n".join(lines(mac))
    for line in (
        "MEMORY  31G of 36G in use, pressure HIGH, 9.8G swapped",
        "  ≤7.5G    50 procs  claude (6 sessions, 4 idle > 6h, 22 MCP servers)",
        "  ≤1.4G    13 procs  codex app-server (12 MCP servers, pid 700)",
        "LEFTOVERS  none for certain",
        "  11 x node linear-mcp, 528M, 2d7h old: pile-up, offered apart: linear-mcp",
        "RUNNING OUT  how fast is known from the second look on",
        "  /private/tmp/claude-501  212G, of claude, most of it one file (b1.output)",
        "  python3 hermes-webui/server.py (pid 900)  fds 201/256, 109 are state.db",
        "  terminals  383/511, Claude (pid 812) has 383 ptys",
        "  com.me.webui  launchd, 412 runs: exits 0 each time and is started again",
        "  midwatch sweep (shows what of 528M can go)",
    ):
        assert line in text.splitlines(), line
    assert "docker-agent 66283" in text
    assert "killed by jetsam at 26.1 GiB" in text
    assert lines(mac)[-4] == "Next:"


@pytest.mark.parametrize("room", [40, 60, 80, 100, 200])
def test_it_fits(mac: dict[str, Any], room: int) -> None:
    """80 columns, and 40 on a phone: nothing wider, nothing of use lost."""
    shown = lines(mac, room)
    assert max(map(len, shown)) <= min(room, 100)
    text = " ".join(" ".join(shown).split())
    for word in (
        "claude (6 sessions",
        "22 MCP servers",
        "109 are state.db",
        "com.me.webui",
        "midwatch sweep",
    ):
        assert word in text


def test_colours_only_when_asked_for(mac: dict[str, Any]) -> None:
    assert "\x1b" not in "\n".join(lines(mac))
    coloured = "\n".join(lines(mac, on=True))
    assert "\x1b[31m" in coloured
    assert coloured.replace("\x1b[0m", "").count("\x1b[") > 5


def test_control_characters_do_not_reach_the_terminal(mac: dict[str, Any]) -> None:
    """Bad input: names with newlines, escapes, bells and marks that turn the line around."""
    evil = "x\n\x1b[2J\x07\u202e\x9b31m"
    mac["trees"][0] |= {"kind": "program", "name": evil, "agent": None}
    mac["forecasts"][0] |= {"subject": evil, "detail": evil}
    mac["loops"][0] |= {"name": evil, "words": evil}
    mac["deaths"][0] |= {"name": evil, "words": evil}
    mac["missing"] = [evil]
    mac["leftovers"][0] |= {"name": evil, "group": evil}
    text = "\n".join(lines(mac))
    assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(text)


def test_what_was_not_seen_is_said(mac: dict[str, Any]) -> None:
    mac["missing"] = ["the kernel's log of kills and crashes is not readable (sudo midwatch look)"]
    shown = lines(mac)
    assert "NOT SEEN" in shown
    assert shown[shown.index("NOT SEEN") + 1].startswith("  the kernel's log")


def calm() -> dict[str, Any]:
    found = lookdoc.document(look.look(Recorded(MAC)))
    found |= {key: [] for key in ("leftovers", "loops", "deaths", "missing", "sessions")}
    found["trees"] = [{**found["trees"][0], "kind": "program", "agent": None, "name": "vim x", "pid": 9}]
    found["forecasts"] = [
        {**level, "state": "calm"} for level in found["forecasts"] if level["kind"] == "disk"
    ]
    found["host"] = {**found["host"], "pressure": "calm", "swap_used_bytes": 0, "state_bytes": None}
    found["processes"] = 5
    return found


def test_a_kill_by_the_kernel_alone_is_none_of_doctors() -> None:
    """What the next command promises, it does: the doctor has no fix for somebody who died, a limit is one."""
    found = calm()
    found["deaths"] = [{"name": "x", "pid": 1, "at": NOW, "words": "killed", "source": "kernel", "subject": "1"}]
    (row,) = looknext.advice(found, ALL)
    assert row["command"] == "midwatch run --memory 2G -- CMD"
    found |= {"processes": 1, "next": [row]}
    assert lines(found)[0].startswith("looked at 1 process in ")


def test_a_calm_machine() -> None:
    """Few lines; still what is nearest to its end, and what to type next."""
    found = calm()
    found["next"] = looknext.advice(found, ALL)
    shown = lines(found)
    assert shown[0].startswith("looked at 5 processes in ")
    assert any("vim x (pid 9)" in line for line in shown)
    assert "RUNNING OUT  nothing; the fullest is / (disk) with 83%" in shown
    assert shown[-3:] == [
        "Next:",
        "  midwatch run -- CMD (keeps one command alive)",
        "  midwatch up (runs what midwatch.toml says)",
    ]
    found["services"] = 2
    assert looknext.advice(found, ALL)[0]["command"] == "midwatch ps"


def test_only_verbs_that_exist_are_named(mac: dict[str, Any]) -> None:
    """A verb that is not built is absent everywhere (design 6)."""
    assert [row["command"] for row in looknext.advice(mac, ("run", "up"))] == [
        "midwatch run -- CMD",
        "midwatch up",
    ]
    assert [row["command"] for row in looknext.advice(mac, ("sweep",))] == ["midwatch sweep"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"kind": "fds", "unit": "fds", "pid": 7, "rate_per_s": 0.7 / 60, "full_in_s": 4800.0},
            "x (pid 7)  fds 201/256, +0.7/min, d: full in ~1h20m",
        ),
        ({"kind": "fds", "unit": "fds", "pid": None, "rate_per_s": 1 / 3600}, "x  fds 201/256, +1.0/h, d"),
        (
            {"kind": "disk", "unit": "bytes", "used": 90 << 30, "limit": 100 << 30, "rate_per_s": (1 << 20) / 60},
            "x  10G of 100G left, +1.0M/min, d",
        ),
        ({"kind": "folder", "unit": "bytes", "used": 5 << 30, "at_least": True}, "x  ≥5.0G, d"),
        ({"kind": "ptys", "unit": "ptys", "subject": "terminals"}, "terminals  201/256, d"),
    ],
)  # fmt: skip
def test_how_a_level_is_said(changes: dict[str, Any], text: str) -> None:
    level = {"kind": "fds", "subject": "x", "pid": None, "used": 201, "limit": 256, "unit": "fds", "at_least": False,
             "rate_per_s": None, "full_in_s": None, "state": "warn", "detail": "d"}  # fmt: skip
    assert lookrows.level(level | changes) == text


def test_deaths_of_one_program_are_one_row() -> None:
    rows = [
        {"name": "python", "source": "kernel", "pid": n, "at": NOW - n, "words": "killed"} for n in range(3)
    ]
    (text,) = lookrows.deaths({"deaths": rows}, NOW)
    assert text.startswith("python  3 x, last ")


def test_sizes_say_what_they_are() -> None:
    """An upper bound, a rough sum, and what could not be read."""
    assert [lookrows.held(5 << 30, quality) for quality in ("exact", "upper-bound", "approximate")] == [
        "5.0G", "≤5.0G", "~5.0G",
    ]  # fmt: skip
    assert lookrows.held(None, "absent") == "?"
