"""The whole look: a recorded Mac with six sessions, whatever hangs, verdicts, and what this machine really shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.inspect.doctor.machines import NOW, Machine, proc

from midwatch.inspect.look import document as lookdoc
from midwatch.inspect.look import hostfacts
from midwatch.inspect.look import picture as look
from midwatch.inspect.look.forecast import Level
from midwatch.inspect.look.loops import Loop
from midwatch.inspect.sources import Ran, Table
from midwatch.inspect.sources.live import Live
from midwatch.inspect.sources.recorded import Recorded
from midwatch.model.look import Proc
from midwatch.policy import defaults_inspect as d

MAC = Path(__file__).parent / "recordings" / "mac-six-sessions"


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a loaded machine no part may be late, but where lateness is what is tested."""
    if "hanging" not in request.fixturenames:
        for name in ("LOOK_FIRST", "LOOK_PART", "LOOK_SAVE", "TABLE_STALL"):
            monkeypatch.setattr(d, name, 30.0)


@pytest.fixture
def mac() -> look.Look:
    return look.look(Recorded(MAC))


def test_a_mac_with_six_sessions(mac: look.Look) -> None:
    """Users.md 5.1 from recorded files: sessions with helpers and idleness, what runs out, the loop, the death."""
    claude = [one for one in mac.sessions if (one.agent.pack, one.agent.role) == ("claude-code", "session")]
    assert len(claude) == 6
    assert sum(one.activity == "idle" for one in claude) == 4
    assert min(one.idle_s or 0.0 for one in claude if one.activity == "idle") > 5 * 3600
    assert sum(one.count("mcp") for one in claude) == 22
    assert [(loop.name, loop.runs) for loop in mac.loops] == [("com.me.webui", 412)]
    assert [(one.name, one.pid) for one in mac.deaths] == [("docker-agent", 66283)]
    told = {level.kind: level for level in mac.forecasts[::-1] if level.state != "calm"}
    assert told["fds"].detail == "109 are state.db"
    assert (told["ptys"].used, told["ptys"].limit) == (383, 511)
    assert told["folder"].subject == "/private/tmp/claude-501"
    assert mac.host.pressure == "high"
    assert mac.host.total_bytes == 36 << 30
    assert mac.verdict == "danger"


def test_the_document_is_json_and_complete(mac: look.Look) -> None:
    """Design 6: host, trees, leftovers, forecasts, loops, deaths; and containers and what is missing."""
    document = lookdoc.document(mac)
    assert set(document) >= {
        "host",
        "trees",
        "leftovers",
        "forecasts",
        "loops",
        "deaths",
        "containers",
        "missing",
    }
    assert msgspec.json.decode(msgspec.json.encode(document)) == document
    assert (document["state"], document["exit_code"]) == ("danger", 2)


class Hanging(Machine):
    """Whatever is named in `stuck` never answers."""

    def __init__(self, *stuck: str) -> None:
        super().__init__()
        self.stuck = stuck
        self.free = threading.Event()
        self.add(proc(20, "claude", held=1 << 30, quality="exact"))

    def _wait(self, name: str) -> None:
        if name in self.stuck:
            self.free.wait(60)

    def table(self) -> Table:
        self._wait("table")
        return super().table()

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        self._wait("read")
        return super().read(path, limit)

    def names(self, folder: str, limit: int = 10_000) -> list[str]:
        self._wait("names")
        return super().names(folder, limit)

    def space(self, path: str) -> tuple[int, int, int, int]:
        self._wait("space")
        return super().space(path)

    def run(self, argv: tuple[str, ...], seconds: float = 5.0) -> Ran:
        self._wait("run")
        return super().run(argv, seconds)


@pytest.fixture
def hanging() -> Iterator[Any]:
    made: list[Hanging] = []

    def make(*stuck: str) -> Hanging:
        made.append(Hanging(*stuck))
        return made[-1]

    yield make
    for one in made:
        one.free.set()


@pytest.mark.parametrize("stuck", ["table", "names", "space", "run", "everything"])
def test_whatever_hangs_the_screen_comes(stuck: str, hanging: Any) -> None:
    """LOOK_FIRST and LOOK_PART: a part that is late is named, the others are there; the bound is the program's own."""
    machine = hanging(*(("table", "read", "names", "space", "run") if stuck == "everything" else (stuck,)))
    asked = threading.Event()

    def ask() -> look.Given:
        if stuck == "everything":
            machine.free.wait(60)
        asked.set()
        return look.Given()

    begun = time.monotonic()
    found = look.look(machine, ask)
    assert time.monotonic() - begun < 30.0  # a loaded machine; the deadlines themselves add up to 1.6 s
    assert found.missing
    assert d.LOOK_FIRST + d.LOOK_PART <= 1.7
    assert bool(found.sessions) is (stuck not in {"table", "everything"})
    lookdoc.document(found)


def test_a_table_that_is_late_is_shown_as_far_as_it_came(hanging: Any) -> None:
    machine = hanging("table")
    machine.partial = lambda: Table({20: machine.procs[20]}, NOW, ("only 1 processes were read in time",))
    found = look.look(machine)
    assert [one.tree.name for one in found.sessions] == ["claude"]
    assert "only 1 processes were read in time" in found.missing


def test_a_part_that_breaks_is_named() -> None:
    class Broken(Machine):
        def space(self, path: str) -> tuple[int, int, int, int]:
            raise RuntimeError("odd")

    assert "disks and processes: RuntimeError: odd" in look.look(Broken()).missing


def test_what_the_caller_does_not_know_is_said() -> None:
    """A daemon that hangs or fails: what is known otherwise still counts."""

    def fails() -> look.Given:
        raise OSError(5, "daemon gone")

    found = look.look(Machine(), fails, look.Given(packs="/none"))
    assert any("our own services" in text for text in found.missing)
    assert "half" in look.look(Machine(), lambda: look.Given(problem="half")).missing


def seen(**changes: Any) -> look.Look:
    host = hostfacts.Host("linux", pressure=changes.pop("pressure", "calm"), total_bytes=100)
    return look.Look(host, Table({}, NOW), **changes)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (seen(), "calm"), (seen(missing=["x"]), "calm"), (seen(pressure="high"), "attention"),
        (seen(pressure="critical"), "danger"), (seen(pressure="unknown"), "calm"),
        (seen(forecasts=[Level("k", "fds", "x", 1)]), "calm"),
        (seen(forecasts=[Level("k", "fds", "x", 1, state="warn")]), "attention"),
        (seen(forecasts=[Level("k", "fds", "x", 1, state="danger")]), "danger"),
        (seen(loops=[Loop("launchd", "x", 9, "", "")]), "attention"),
    ],
)  # fmt: skip
def test_the_verdict_is_fit_for_a_prompt(found: look.Look, verdict: str) -> None:
    """0 calm, 1 attention, 2 danger; what could not be seen is no alarm."""
    assert found.verdict == verdict
    assert look.CODES == {"calm": 0, "attention": 1, "danger": 2}


def test_the_second_look_knows_how_fast(tmp_path: Path) -> None:
    """The first keeps a few numbers, the second tells the time; a recording keeps nothing."""
    machine = Machine()
    machine.put("/proc/sys/kernel/random/boot_id", "boot-1\n")
    machine.sysctls |= {"kernel.pty.nr": "100", "kernel.pty.max": "511"}
    given = look.Given(keep=str(tmp_path / "home"))
    first = look.look(machine, otherwise=given)
    assert first.first
    machine.time += 3600.0
    machine.sysctls["kernel.pty.nr"] = "160"
    second = look.look(machine, otherwise=given)
    assert not second.first
    (ptys,) = [level for level in second.forecasts if level.kind == "ptys"]
    assert ptys.full_in == pytest.approx((511 - 160) / 60 * 3600)
    look.look(Recorded(MAC), otherwise=look.Given(keep=str(tmp_path / "other")))
    assert not (tmp_path / "other").exists()


def test_a_secret_in_an_argument_is_not_in_the_document() -> None:
    """H8, GEN-4: tokens of strangers appear nowhere; names do."""
    machine = Machine()
    machine.add(
        proc(20, "server --token s3cretvalue --db postgres://u:hunter2@h/x", held=1 << 30, quality="exact"),
        Proc(
            30,
            1,
            1,
            30,
            30,
            1000,
            "x",
            ("curl", "-H", "Authorization: Bearer abcdefghijklmnop"),
            NOW,
            held=9 << 20,
        ),
    )
    text = str(lookdoc.document(look.look(machine)))
    assert "server" in text
    for secret in ("s3cretvalue", "hunter2", "abcdefghijklmnop"):
        assert secret not in text


def test_ten_thousand_processes() -> None:
    """Bad input: a table of 10,000 different programs below each other still becomes a screen of the largest."""
    machine = Machine()
    for pid in range(3, 10_003):
        argv = f"node /srv/{pid}/node_modules/x/server{pid}.js" if pid % 5 else "npx -y some-mcp"
        machine.add(proc(pid, argv, ppid=pid // 2, start=pid, held=pid << 10, quality="exact"))
    document = lookdoc.document(look.look(machine))
    assert document["processes"] == 10_000
    assert len([tree for tree in document["trees"] if tree["kind"] == "program"]) <= lookdoc.TREES
    assert len(document["trees"]) <= lookdoc.TREES + lookdoc.NAMED
    assert document["trees"] or any(
        "memory by tree" in text for text in document["missing"]
    )  # a loaded machine


def test_this_machine() -> None:
    """No recording and no daemon: it is looked at, and something is known of it."""
    found = look.look(Live())
    assert found.table.procs
    assert found.host.total_bytes
    assert found.forest.trees
    assert found.took_s > 0
