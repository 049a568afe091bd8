"""Where engines are looked for: what is named, the current context, the usual sockets; never another machine."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path

import pytest

from midwatch.inspect.containers import endpoints


def _listen(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    return made


@pytest.fixture
def nobody(tmp_path: Path) -> dict[str, str]:
    """An environment in which no usual socket of this machine is found but those of root."""
    return {"XDG_RUNTIME_DIR": str(tmp_path / "run")}


def test_named_engines_are_the_only_ones() -> None:
    """DOCKER_HOST and CONTAINER_HOST; the same socket under two names is one."""
    named = {"DOCKER_HOST": "unix:///tmp/a.sock", "CONTAINER_HOST": "unix:///tmp/../tmp/a.sock"}
    assert endpoints.find(named, "/nowhere", 1) == (["unix:///tmp/a.sock"], [])
    near = {"DOCKER_HOST": "tcp://127.0.0.1:2375"}
    assert endpoints.find(near, "/nowhere", 1) == (["tcp://127.0.0.1:2375"], [])


@pytest.mark.parametrize("host", ["ssh://bob:hunter22@far", "tcp://10.0.0.7:2376"])
def test_another_machine_is_left_out_with_words(host: str) -> None:
    """Nothing is connected to, and a password in the address is not repeated."""
    found, missing = endpoints.find({"DOCKER_HOST": host}, "/nowhere", 1)
    assert found == []
    assert "another machine" in missing[0]
    assert "hunter22" not in missing[0]


def test_the_current_context_is_followed(tmp_path: Path, nobody: dict[str, str]) -> None:
    """As the docker command does: config.json names it, its folder is the digest of its name."""
    meta = tmp_path / ".docker/contexts/meta" / hashlib.sha256(b"colima").hexdigest()
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(
        json.dumps({"Name": "colima", "Endpoints": {"docker": {"Host": "unix:///c.sock"}}})
    )
    (tmp_path / ".docker/config.json").write_text('{"currentContext": "colima"}')
    assert endpoints.find(nobody, str(tmp_path), 1)[0][0] == "unix:///c.sock"
    (tmp_path / ".docker/config.json").write_text('{"currentContext": 5')
    assert "unix:///c.sock" not in endpoints.find(nobody, str(tmp_path), 1)[0]
    assert endpoints.find({**nobody, "DOCKER_CONTEXT": "colima"}, str(tmp_path), 1)[0] == ["unix:///c.sock"]


def test_the_usual_sockets_are_found_where_they_are(tmp_path: Path, nobody: dict[str, str]) -> None:
    """Rootless docker and podman, and the apps' own; a plain file in that place is none."""
    short = Path(nobody["XDG_RUNTIME_DIR"])
    with _listen(short / "podman/podman.sock"), _listen(tmp_path / ".colima/default/docker.sock"):
        (tmp_path / ".rd").mkdir()
        (tmp_path / ".rd/docker.sock").write_text("")
        found = endpoints.find(nobody, str(tmp_path), 1)[0]
    assert f"unix://{short}/podman/podman.sock" in found
    assert f"unix://{tmp_path}/.colima/default/docker.sock" in found
    assert not any(".rd" in one for one in found)
