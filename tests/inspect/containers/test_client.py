"""One look at an engine over its socket: what it says, what is missing of it, and never longer than its time."""

from __future__ import annotations

import builtins
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.inspect.containers.engine import GIB, Engine
from tests.inspect.doctor.machines import Machine

from midwatch.inspect import containers
from midwatch.inspect.containers import client, looking
from midwatch.inspect.containers.values import NoEngine
from midwatch.policy import defaults_inspect as figures


def test_everything_is_told(engine: Engine) -> None:
    """Limits, use, volumes, who the engine is; one look is shared by all who ask about the same machine."""
    engine.add("a" * 64, "free", usage=6 * GIB)
    engine.add("b" * 64, "tame", usage=GIB, HostConfig={"Memory": 2 * GIB})
    engine.answers["/volumes"] = (200, {"Volumes": [{"Name": "v1"}, {"Name": "v2"}]})
    engine.answers["/system/df"] = (
        200,
        {"Volumes": [{"Name": "v1", "UsageData": {"Size": 5}}, {"Name": "used"}]},
    )
    machine = Machine()
    seen = containers.see(machine)
    (picture,) = seen.pictures
    assert [one.name for one in picture.running()] == ["free", "tame"]
    assert picture.used() == 7 * GIB
    assert [picture.limit(one) for one in picture.running()] == [None, 2 * GIB]
    assert picture.volumes is not None
    assert (picture.volumes.names, picture.volumes.held) == (("v1", "v2"), 5)
    assert (picture.engine.kind, picture.engine.memory, picture.engine.here) == ("docker", 16 * GIB, False)
    asked = len(engine.asked)
    assert containers.see(machine) is seen
    assert len(engine.asked) == asked
    assert seen.missing == ()


def test_podman_says_who_it_is(engine: Engine) -> None:
    """By the components of its version."""
    engine.answers["/version"] = (200, {"Components": [{"Name": "Podman Engine"}, {"Name": "Conmon"}]})
    assert containers.see(Machine()).pictures[0].engine.kind == "podman"


def test_a_socket_that_never_answers_costs_its_deadline(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario 79's kin: a hung engine is a skip with words; one that hangs on a single container tells the rest."""
    monkeypatch.setattr(figures, "CONTAINERS_SECONDS", 1.0)
    monkeypatch.setattr(figures, "CONTAINERS_FIRST", 0.5)
    engine.hangs.add("/info")
    begin = time.monotonic()
    with pytest.raises(NoEngine, match="no answer in time"):
        containers.see(Machine())
    assert time.monotonic() - begin < 10
    monkeypatch.setattr(figures, "CONTAINERS_SECONDS", 4.0)
    monkeypatch.setattr(figures, "CONTAINERS_FIRST", 2.0)
    engine.hangs = {f"/containers/{'b' * 64}/stats", "/volumes"}
    engine.add("a" * 64, "well", usage=5)
    engine.add("b" * 64, "stuck", usage=5)
    seen = containers.see(Machine())
    assert seen.pictures[0].used() == 5
    assert any(
        "1 of 2 containers could not be measured: no answer in time" in words for words in seen.missing
    )
    assert any(words.startswith("volumes: ") for words in seen.missing)


def test_a_socket_nobody_reads_costs_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connected and then nothing, not even HTTP."""
    pytest.importorskip("docker", reason="the docker SDK is not installed")
    path = Path(f"/tmp/mw-{time.monotonic_ns()}.sock")
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        deaf.listen(8)
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        monkeypatch.setattr(figures, "CONTAINERS_SECONDS", 0.6)
        begin = time.monotonic()
        with pytest.raises(NoEngine, match="no answer in time"):
            containers.see(Machine())
        assert "no answer in time" in containers.quick(Machine(), 0.3).words
        assert time.monotonic() - begin < 10
    path.unlink()


def test_the_first_screen_waits_no_longer_than_its_share(engine: Engine) -> None:
    """`quick` asks for limits only: no statistics, no volumes; an engine that hangs is said in words."""
    engine.add("a" * 64, "free", usage=1)
    engine.add("b" * 64, "tame", HostConfig={"Memory": GIB})
    found = containers.quick(Machine(), 5.0)
    assert (found.containers, [one.name for one in found.unlimited], found.words) == (2, ["free"], "")
    assert not any("/stats" in asked or "/volumes" in asked for asked in engine.asked)
    assert containers.quick.__defaults__ == (figures.CONTAINERS_QUICK,)
    engine.hangs.add("/containers/json")
    assert "no answer in time" in containers.quick(Machine(), 0.3).words


def test_more_containers_than_are_looked_at_are_counted(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded, and said."""
    monkeypatch.setattr(figures, "CONTAINERS_MOST", 2)
    for number in range(5):
        engine.add(f"{number}" * 64, f"c{number}", usage=1)
    seen = containers.see(Machine())
    assert len(seen.pictures[0].containers) == 2
    assert "3 more containers were not looked at" in seen.missing


def test_what_vanishes_while_we_look_is_nobodys_loss(engine: Engine) -> None:
    """A 404 between list and inspect is no trouble; a 500 is."""
    engine.add("a" * 64, "gone")
    del engine.answers[f"/containers/{'a' * 64}/json"]
    assert containers.see(Machine()).missing == ()
    engine.answers[f"/containers/{'a' * 64}/json"] = (500, {"message": "storage is broken"})
    assert "storage is broken" in containers.see(Machine()).missing[0]


def test_an_answer_without_end_is_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """GEN-6: no more than the bound is read of any answer."""
    monkeypatch.setattr(client, "MOST_BYTES", 1000)
    engine.answers["/containers/json"] = (200, b"[" + b" " * 100_000 + b"]")
    with pytest.raises(NoEngine, match="larger than"):
        containers.see(Machine())


@pytest.mark.parametrize("told", [b"", b"not json", b"7", b"[7, null, {}]", b'{"message": 5}'])
def test_nonsense_is_no_containers(engine: Engine, told: bytes) -> None:
    """Whatever the engine sends where a list should be."""
    engine.answers["/containers/json"] = (200, told)
    assert containers.see(Machine()).pictures[0].containers == ()


def test_nobody_there_and_no_permission_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """In words with the address."""
    pytest.importorskip("docker", reason="the docker SDK is not installed")
    monkeypatch.setenv("DOCKER_HOST", "unix:///tmp/mw-none.sock")
    with pytest.raises(NoEngine, match=r"mw-none\.sock: nobody listens there"):
        containers.see(Machine())
    words = client.trouble(
        OSError("('Connection aborted.', PermissionError(13, 'Permission denied'))"), "unix:///x"
    )
    assert words == "unix:///x: permission denied (are you in its group?)"


def test_s78_without_an_engine_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario 78: absent is no error, and the first screen says nothing about it."""
    monkeypatch.setattr("midwatch.inspect.containers.endpoints.find", lambda *_: ([], []))
    with pytest.raises(NoEngine) as told:
        containers.see(Machine())
    assert "DOCKER_HOST" in told.value.how
    assert containers.quick(Machine()) == containers.Quick()


def test_without_the_sdk_the_command_is_asked_else_one_line_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing extra costs one line with the install command; where docker's command is, it stands in."""
    monkeypatch.setattr("midwatch.inspect.containers.endpoints.find", lambda *_: (["unix:///x.sock"], []))
    monkeypatch.setattr("midwatch.inspect.containers.find_spec", lambda name: None)
    with pytest.raises(NoEngine) as told:
        containers.see(Machine())
    assert told.value.how == "pip install 'midwatch[containers]'"
    machine = Machine()
    identity = "a" * 64
    form = "--format {{json .}}"
    machine.says("docker container ls -aq --no-trunc", identity + "\n")
    machine.says(
        f"docker inspect {identity}",
        f'[{{"Id": "{identity}", "Name": "/w1", "State": {{"Status": "running"}}}}]',
    )
    machine.ran[("docker", "info", "--format", "{{json .}}")] = _ran('{"MemTotal": 16000000000}')
    stats = '{"ID":"' + identity + '","Name":"w1","MemUsage":"6GiB / 14.9GiB"}'
    machine.ran[("docker", "stats", "--no-stream", "--no-trunc", *form.split(maxsplit=1))] = _ran(stats)
    assert containers.see(machine).pictures[0].used() == 6 * GIB


def test_the_sdk_is_imported_only_when_an_engine_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without engines does not pay for it."""
    real = builtins.__import__

    def guarded(name: str, *rest: Any) -> Any:
        assert name != "docker"
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", guarded)
    monkeypatch.setattr("midwatch.inspect.containers.endpoints.find", lambda *_: ([], []))
    containers.quick(Machine())
    assert looking.__name__ in sys.modules


def _ran(out: str) -> Any:
    from midwatch.inspect.sources import Ran

    return Ran(0, out)
