"""The port check on the fake machine: who is in the way, in which class, what is told, and what never happens."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import pytest
from tests.engine.conftest import Stagehand, a_spec

from midwatch.engine import ports
from midwatch.engine.portsight import in_the_way, probed_hosts, survey
from midwatch.machine.ports import Listener
from midwatch.model.service import Probe

PORT = 8787


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What strangers do when they are asked: nothing wrong, unless a test says so."""
    said = {"": ""}

    async def answer(listener: Listener) -> str:
        said["asked"] = said.get("asked", "") + "x"
        return said[""]

    monkeypatch.setattr(ports, "answer_of", answer)
    return said


def served(name: str = "a", **facts: Any) -> Any:
    return a_spec(name, launch={"port": PORT, **facts.pop("launch", {})}, **facts)


def stranger(stage: Stagehand, argv: tuple[str, ...] = ("python", "server.py"), **facts: Any) -> int:
    """A process of nobody's that listens on the port."""
    pid = stage.machine.stranger().pid
    process = stage.machine.procs[pid]
    process.argv, process.user = argv, "bob"
    for name, value in facts.items():
        setattr(process, name, value)
    stage.machine.listen(pid, PORT)
    return pid


def conflict(stage: Stagehand) -> dict[str, Any]:
    return stage.events("port.conflict")[-1]


def test_a_free_port_costs_one_bind_and_starts_at_once(stage: Stagehand) -> None:
    """ORP-2: the fast path; no look at anybody's descriptors."""
    stage.machine.fail("listeners", AssertionError("looked"), 0)
    stage.apply(served())
    assert stage.phase() == "up"
    assert stage.events("port.conflict") == []


def test_orp1_a_stranger_is_named_and_nothing_is_started(bare: Stagehand) -> None:
    """ORP-1, ORP-6: pid, command, age, user, class and the command that frees it; nobody is signalled."""
    pid = stranger(bare)
    bare.pass_time(120)
    bare.apply(served())
    assert (bare.phase(), bare.keeper.ops("spawn")) == ("waiting", [])
    assert not list(bare.layout.runs.glob("*")), "no run record of what was never started (scenario 15)"
    line = conflict(bare)
    assert (line["port"], line["pid"], line["class"]) == (PORT, pid, "stranger")
    assert line["owner"] == f"python server.py (pid {pid}, 2 m old, user bob), a stranger"
    assert f"kill {pid}" in line["do"]
    assert bare.machine.signals == []
    assert bare.service().state.crash_count == 0


def test_it_starts_by_itself_when_the_port_is_free(bare: Stagehand) -> None:
    """ORP-10 as amended: retried slowly, costs no crash; the same run id is used at last."""
    pid = stranger(bare)
    bare.apply(served())
    bare.pass_time(30)
    assert bare.phase() == "waiting"
    assert len(bare.events("port.conflict")) == 1, "the same owner is told once"
    bare.do(lambda: bare.machine.exit(pid))
    bare.pass_time(61)
    assert (bare.phase(), bare.service().state.run) == ("up", "p.a.1")
    assert bare.service().state.restarts.get("crash") is None


def test_a_stop_while_it_waits_ends_at_once(bare: Stagehand) -> None:
    """Nothing runs: stopped."""
    stranger(bare)
    bare.apply(served())
    job = bare.ask("stop", "a")
    assert (bare.phase(), bare.job(job)["state"]) == ("stopped", "done")


def test_orp1_another_service_of_ours(bare: Stagehand) -> None:
    """Class ours: which run, and how to stop it."""
    bare.apply(a_spec("b"))
    bare.machine.listen(bare.pid("b"), PORT)
    bare.apply(a_spec("b"), served())
    line = conflict(bare)
    assert (line["class"], line["do"]) == ("ours", "midwatch stop p/b")
    assert "run p.b.1" in line["owner"]


def test_orp1_a_process_of_ours_that_has_cleared_its_environment(stage: Stagehand) -> None:
    """It cannot leave the cgroup of its run."""
    stage.apply(a_spec("b"))
    child = stage.do(lambda: stage.machine.fork(stage.pid("b"), new_session=True, env={})).pid
    stage.machine.listen(child, PORT)
    stage.apply(a_spec("b"), served())
    line = conflict(stage)
    assert (line["class"], line["pid"], line["do"]) == ("ours", child, "midwatch stop p/b")


def test_secrets_of_a_holders_command_line_are_taken_out(bare: Stagehand) -> None:
    """It is shown in ps, why and the journal."""
    stranger(bare, ("server", "--token", "sk-abcdefghijklmnopqrstuvwxyz"))
    bare.apply(served())
    assert "abcdefghijklmnop" not in bare.service().state.decision
    assert "server --token" in bare.service().state.decision


def test_orp7_a_left_over_of_ours_is_an_orphan(bare: Stagehand) -> None:
    """Our marker, no living run of that name; whatever its parent is (scenario 23)."""
    for ppid in (1, bare.machine.engine):
        pid = bare.machine.stranger(ppid=ppid).pid
        bare.machine.procs[pid].env = {"MIDWATCH_RUN": bare.engine.spawner.marker("p.old.7")}
        bare.machine.listen(pid, PORT)
        bare.apply(served())
        line = conflict(bare)
        assert line["class"] == "orphan"
        assert "left over from p/old" in line["owner"]
        bare.do(partial(bare.machine.exit, pid))
        bare.pass_time(61)
        assert bare.phase() == "up"
        bare.apply()


def test_orp1_another_managers(bare: Stagehand) -> None:
    """Class manager: its own words, and its own command."""
    stranger(bare, unit="web.service", manager="systemd unit web.service")
    bare.apply(served())
    line = conflict(bare)
    assert (line["class"], line["do"]) == ("manager", "systemctl stop web.service")
    assert "managed by systemd unit web.service" in line["owner"]


def test_orp1_a_midwatch_of_another_home(bare: Stagehand) -> None:
    """A kill would only make it start again: its own stop is named."""
    home = "midwatch of another home (4fb83e6e)"
    stranger(bare, manager=home, env={"MIDWATCH_RUN": "4fb83e6e:run.ui.3"})
    bare.apply(served())
    line = conflict(bare)
    assert (line["class"], line["do"].split("  ")[0]) == ("manager", "midwatch stop run/ui")


def test_orp1_a_holder_that_cannot_be_read(bare: Stagehand) -> None:
    """Class unknown: still a conflict, and how to find out."""
    pid = stranger(bare)
    bare.machine.procs[pid].queues[PORT].readable = False
    bare.apply(served())
    line = conflict(bare)
    assert line["class"] == "unknown"
    assert "may not look at" in line["owner"]
    assert f":{PORT}" in line["do"]


def test_nobody_listens_and_it_cannot_be_bound(bare: Stagehand) -> None:
    """ORP-2: free is no listener and a bind that works."""
    bare.machine.blocked[PORT] = "connections of an earlier run that are still closing"
    bare.apply(served())
    line = conflict(bare)
    assert (line["class"], line["owner"]) == ("unknown", "connections of an earlier run that are still closing")
    bare.machine.blocked.clear()
    bare.pass_time(61)
    assert bare.phase() == "up"


def test_19_a_unit_between_two_starts_is_a_conflict(bare: Stagehand, monkeypatch: pytest.MonkeyPatch) -> None:
    """ORP-5, scenario 19: asked before a start that somebody wants, not before a restart; another port is allowed."""
    questions = []
    facts = {"Id": "ui.service", "ActiveState": "activating", "SubState": "auto-restart", "Environment": "PORT=8787"}

    async def units() -> list[tuple[dict[str, str], bool]]:
        questions.append(1)
        return [(facts, False)]

    monkeypatch.setattr(ports, "BOOTED", "/")
    monkeypatch.setattr(ports, "restarting", units)
    other = a_spec("b", launch={"port": 9999})
    bare.apply(served(), other)
    line = conflict(bare)
    assert (line["class"], line["do"]) == ("manager", "systemctl stop ui.service")
    assert "ui.service, which is activating (auto-restart)" in line["owner"]
    assert (bare.phase("a"), bare.phase("b"), questions) == ("waiting", "up", [1])
    bare.exits("b", code=1)
    bare.pass_time(2)
    assert (bare.phase("b"), questions) == ("up", [1]), "a restart asks nobody"
    facts["Environment"] = ""
    bare.pass_time(60)
    assert bare.phase("a") == "up"


def test_16_who_accepts_and_says_nothing_is_wedged(bare: Stagehand, answers: dict[str, str]) -> None:
    """Scenario 16: class wedged, not free; asked once, not at every retry."""
    answers[""] = "it accepts connections and answers nothing within 2 s: wedged"
    stranger(bare)
    bare.apply(served())
    line = conflict(bare)
    assert line["class"] == "wedged"
    assert "a stranger; it accepts connections and answers nothing" in line["owner"]
    bare.pass_time(200)
    assert bare.phase() == "waiting"
    assert answers["asked"] == "x"


def test_a_look_that_fails_does_not_keep_it_from_starting(bare: Stagehand) -> None:
    """The service itself will say what is wrong."""
    bare.machine.blocked[PORT] = "x"
    bare.machine.fail("listeners", OSError(13, "Permission denied"))
    bare.apply(served())
    assert bare.phase() == "up"


def test_17_a_v6_listener_beside_a_v4_service_is_a_warning(bare: Stagehand) -> None:
    """Scenario 17: told once with its owner; the service starts."""
    pid = stranger(bare)
    bare.machine.procs[pid].queues[PORT].address = "::1"
    probe = Probe(http=f"http://localhost:{PORT}/")
    bare.apply(served(health=probe))
    assert bare.phase() == "up"
    [line] = bare.events("limit.warning")
    assert f"port {PORT} is also served on [::1], by python server.py (pid {pid}" in line["message"]
    bare.exits(code=1)
    bare.pass_time(2)
    assert bare.phase() == "up"
    assert len(bare.events("limit.warning")) == 1


def test_instances_of_one_table_share_their_port(bare: Stagehand) -> None:
    """`instances` with SO_REUSEPORT: no conflict among them."""
    pair = [msgspec.structs.replace(served(name), source="f:3") for name in ("a-1", "a-2")]
    bare.apply(pair[0])
    bare.machine.listen(bare.pid("a-1"), PORT)
    bare.apply(*pair)
    assert bare.phase("a-2") == "up"


def test_sockets_that_the_keeper_passes_on_are_its_own(bare: Stagehand) -> None:
    """The keeper holds the port for this service; for another one it is a conflict with that service."""
    bare.machine.listen(bare.machine.keeper, PORT)
    engine = bare.engine
    own = served(launch={"listen": (f"127.0.0.1:{PORT}",)})
    other = served("b")
    from midwatch.engine.core import Service
    from midwatch.policy.step import initial

    now = bare.machine.now()
    mine, theirs = (Service(spec, initial(spec.id, spec.rules, now)) for spec in (own, other))
    engine.services = {own.id: mine, other.id: theirs}
    assert engine.ports.free(mine)
    assert not engine.ports.free(theirs)
    seen = survey(bare.machine, PORT)
    owner = engine.ports._in_the_way(theirs, seen)
    assert owner is not None
    assert (owner.klass, owner.do) == ("ours", "midwatch stop p/a")


def test_a_service_that_lost_the_race_waits_and_counts_no_crash(bare: Stagehand) -> None:
    """ORP-11: between our look and its bind somebody came; the failed start is a port conflict."""
    bare.apply(served())
    pid = stranger(bare)
    bare.exits(code=1)
    [exited] = bare.events("run.exited")
    assert exited["cause"] == "port-conflict"
    assert any(f"(pid {pid}, " in words for words in exited["because"])
    assert (bare.phase(), bare.service().state.crash_count) == ("waiting", 0)


def test_orp8_a_stop_says_who_still_answers(bare: Stagehand) -> None:
    """ORP-8: our own tree is gone, the port is not: said, with the holder."""
    bare.apply(served())
    pid = stranger(bare)
    job = bare.ask("stop", "a")
    assert bare.phase() == "stopped"
    message = bare.job(job)["services"]["p/a"]["message"]
    assert message.startswith("stopped, verified by")
    assert f"port {PORT} is still served, by python server.py (pid {pid}" in message
    assert message.endswith("not managed by midwatch")


def test_an_engine_that_dies_while_it_waits_waits_on(bare: Stagehand) -> None:
    """The wait is carried over; the port is looked at again."""
    stranger(bare)
    bare.apply(served())
    bare.engine_dies()
    bare.boot()
    assert bare.phase() == "waiting"
    bare.pass_time(61)
    assert (bare.phase(), bare.keeper.ops("spawn")) == ("waiting", [])


ANY, V4, V6 = frozenset[str](), frozenset({"127.0.0.1"}), frozenset({"::1"})


@pytest.mark.parametrize(
    ("address", "v6only", "hosts", "blocks"),
    [
        ("0.0.0.0", None, ANY, True),
        ("0.0.0.0", None, V6, True),
        ("127.0.0.1", None, ANY, True),
        ("127.0.0.1", None, V4, True),
        ("192.168.1.5", None, ANY, True),
        ("192.168.1.5", None, V4, False),
        ("::", False, V4, True),
        ("::", None, V4, True),
        ("::", True, V4, False),
        ("::", True, ANY, False),
        ("::", True, V6, True),
        ("::1", None, ANY, False),
        ("::1", None, V4, False),
        ("::1", None, V6, True),
        ("::ffff:127.0.0.1", None, V4, True),
        ("fe80::1%eth0", None, V4, False),
    ],
)
def test_which_address_is_in_the_way(address: str, v6only: bool | None, hosts: frozenset[str], blocks: bool) -> None:
    """ORP-1: all addresses and families; scenario 17."""
    family: Any = "inet6" if ":" in address else "inet"
    listener = Listener(address, PORT, family, 1, 0, 0, None, (), v6only)
    assert in_the_way(listener, hosts) is blocks


def test_the_hosts_that_probes_name() -> None:
    """localhost is IPv4 here; names are not resolved; an any_owner probe may ask somebody else."""
    rules = a_spec(
        ready=Probe(tcp="localhost:1"), health=Probe(http="http://[::1]:1/"), deep=Probe(http="http://web:1/")
    ).rules
    assert probed_hosts(rules) == {"127.0.0.1", "::1"}
    assert probed_hosts(a_spec(ready=Probe(tcp="127.0.0.1:1", any_owner=True)).rules) == frozenset()
