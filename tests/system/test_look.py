"""`midwatch look` on real processes: a toy agent with helpers, descriptors and terminals that run out, what hangs."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.system.conftest import Instance

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
Start = Callable[..., "subprocess.Popen[bytes]"]

HELPERS = (
    "(exec -a mcp-server-github sleep 600) & "
    "(exec -a mcp-server-github sleep 600) & "
    "(exec -a 'npm exec chrome-devtools-mcp@latest' bash -c '(exec -a chrome-devtools-mcp sleep 600) & wait') & "
    "(exec -a gopls sleep 600) & "
    "sh -c 'sleep 600' & echo ready; wait"
)
FDS = (
    "import resource; hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; "
    "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)); "
    "kept = [open('/etc/passwd') for _ in range(int(input() or 0))]; print('ready', flush=True); "
    "kept += [open('/etc/passwd') for _ in range(int(input() or 0))]; print('ready', flush=True); input()"
)
PTYS = "import os; kept = [os.openpty() for _ in range(60)]; print('ready', flush=True); input()"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program in a session of its own and wait for its first line; all are ended, whole, at the end."""
    begun: list[subprocess.Popen[bytes]] = []

    def run(*argv: str, say: bytes = b"", **options: Any) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, **options
        )
        begun.append(child)
        assert child.stdout is not None
        if say:
            tell(child, say)
        else:
            child.stdout.readline()
        return child

    yield run
    for child in begun:
        os.killpg(child.pid, 9)
        child.communicate()


def tell(child: subprocess.Popen[bytes], words: bytes) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(words + b"\n")
    child.stdin.flush()
    child.stdout.readline()


def seen(instance: Instance) -> dict[str, Any]:
    """The document. A machine that is so loaded that parts were late (they say so) is asked again."""
    document: dict[str, Any] = {}
    for _ in range(20):
        done = instance.cli("look", "--json")
        document = json.loads(done.stdout)
        assert done.returncode == document["exit_code"], done.stderr
        if not any("time" in text for text in document["missing"]):
            break
    return document


@LINUX
def test_story_2_a_session_is_shown_with_its_helpers(instance: Instance, start: Start) -> None:
    """CX#25015: helpers by kind and name, wrappers not counted twice, the agent's own tool commands are no helpers."""
    if shutil.which("bash") is None:
        pytest.skip("no bash here: exec -a makes the toys")
    child = start("claude", "-c", HELPERS, executable=shutil.which("bash"))
    document = seen(instance)
    (session,) = [one for one in document["sessions"] if one["pid"] == child.pid]
    assert (session["agent"], session["processes"]) == ("claude-code", 8)
    assert {(one["role"], one["name"], one["count"]) for one in session["helpers"]} == {
        ("mcp", "mcp-server-github", 2), ("mcp", "chrome-devtools-mcp", 1), ("language-server", "gopls", 1),
    }  # fmt: skip
    (tree,) = [one for one in document["trees"] if one["pid"] == child.pid]
    assert (tree["kind"], tree["name"], tree["quality"]) == ("agent", "claude", "upper-bound")


@LINUX
def test_story_1_my_live_session_is_no_leftover(instance: Instance, start: Start) -> None:
    """OC#14504: what lives and belongs to somebody is shown as memory, never as a leftover."""
    if shutil.which("bash") is None:
        pytest.skip("no bash here: exec -a makes the toys")
    child = start("claude", "-c", HELPERS, executable=shutil.which("bash"))
    document = seen(instance)
    mine = {
        child.pid,
        *(pid for one in document["sessions"] for helper in one["helpers"] for pid in helper["pids"]),
    }
    assert not mine & {left["pid"] for left in document["leftovers"] if left["certain"]}


@LINUX
def test_story_5_descriptors_run_out_and_the_second_look_knows_when(instance: Instance, start: Start) -> None:
    """The first look tells the level and which file it is; a later one the rate and the time that is left."""
    child = start(sys.executable, "-c", FDS, say=b"200")
    first = fds_of(seen(instance), child.pid)
    assert (first["used"] >= 200, first["limit"], first["state"], first["full_in_s"]) == (
        True,
        256,
        "warn",
        None,
    )
    assert "are passwd" in first["detail"]
    kept = instance.home / "looks.json"
    looks = json.loads(kept.read_bytes())
    for look in looks["looks"]:
        look["at"] -= 600.0  # ten minutes pass
    kept.write_text(json.dumps(looks))
    tell(child, b"20")
    second = fds_of(seen(instance), child.pid)
    assert second["state"] == "danger"
    assert 0 < second["full_in_s"] < 3600
    assert abs(second["rate_per_s"] - 20 / 600) < 0.02


def fds_of(document: dict[str, Any], pid: int) -> dict[str, Any]:
    (level,) = [one for one in document["forecasts"] if one["kind"] == "fds" and one["pid"] == pid]
    return dict(level)


@LINUX
def test_story_7_who_has_the_terminals(instance: Instance, start: Start) -> None:
    """CC#67402: the holder is named beside the level."""
    try:
        child = start(sys.executable, "-c", PTYS)
        (level,) = [one for one in seen(instance)["forecasts"] if one["kind"] == "ptys"]
    except ValueError:
        pytest.skip("this machine does not tell its terminals")
    assert level["used"] >= 60
    assert f"(pid {child.pid}) has 60 ptys" in level["detail"]


def test_a_container_engine_that_hangs_does_not_hold_the_screen(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bad input: a socket that accepts and says nothing."""
    path = f"{tmp_path}/d.sock" if len(str(tmp_path)) < 80 else f"/tmp/mw-hung-{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(8)
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        document = seen(instance)
        os.unlink(path)
    assert document["trees"]
    assert document["took_s"] < 20.0  # the deadlines add up to two; a loaded machine


@LINUX
@pytest.mark.root("mounts a /proc of its own with hidepid")
def test_hidepid_is_told_and_the_rest_is_shown(tmp_path: Path) -> None:
    """Bad input: other users' processes are invisible; ours are shown, and that others are not."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare here")
    code = (
        "import json, os\n"
        "from midwatch.inspect.look import picture as look, document as lookdoc\n"
        "from midwatch.inspect.sources.live import Live\n"
        "from midwatch.inspect.leftovers.find import find as leftovers\n"
        "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "print(json.dumps(lookdoc.document(look.look(Live()))))\n"
    )
    mount = 'mount --make-rprivate / && mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    done = subprocess.run(
        [unshare, "-m", "sh", "-c", mount, "sh", sys.executable, "-c", code],
        capture_output=True, text=True, timeout=60, check=False, cwd="/",
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )  # fmt: skip
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"no mount here: {done.stderr.strip()[:80]}")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert any("hidepid" in text for text in document["missing"])
    assert document["processes"] >= 1
    assert {tree["uid"] for tree in document["trees"]} == {65534}


def test_a_service_of_ours_is_its_own_tree(instance: Instance) -> None:
    """Our runs are named as services, keeper and engine as midwatch; nothing of ours is a leftover."""
    instance.up('[service.web]\ncommand = ["sleep", "600"]\n')
    document = seen(instance)
    names = {(tree["kind"], tree["name"]) for tree in document["trees"]}
    assert ("service", "p/web") in names
    assert ("midwatch", "midwatch") in names
    pids = {left["pid"] for left in document["leftovers"]}
    assert not pids & {row["pid"] for row in instance.ps().values()}
