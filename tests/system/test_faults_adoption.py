"""What keeper and engine left behind is damaged before the next start: another boot's, container's or user's records,
recycled numbers, replaced FIFOs, torn files, services that die while they are adopted (D9, E5, ORP-7, scenario 22).

In each a bystander looks like what was recorded, and lives on: nothing foreign is ever signalled.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.system.conftest import Instance, alive, kill, wait_for

from midwatch.engine.layout import Layout

SLEEP = '[service.{name}]\ncommand = ["sleep", "1000"]\n'
DEATHS, ROUNDS = 40, 3


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Somebody else's process that looks like a service: a session of its own, the same program."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("MIDWATCH")}
    env["MIDWATCH_RUN"] = "0a1b2c3d:p.a.1"  # of a home that is not ours
    with subprocess.Popen(["sleep", "1000"], start_new_session=True, env=env) as made:
        yield made
        unharmed = made.poll() is None
        made.kill()
    assert unharmed, "the bystander was signalled"


def both_die(instance: Instance) -> None:
    """kill -9 of keeper and engine; returns when both are gone."""
    daemon = instance.daemon()
    for pid in (daemon["keeper_pid"], daemon["pid"]):
        try:
            kill(pid)
        except ProcessLookupError:
            continue  # the engine left when its keeper was gone
    wait_for(lambda: not alive(daemon["keeper_pid"]) and not alive(daemon["pid"]), "both are gone")


def end(pid: int) -> None:
    """A service of ours dies while nobody looks."""
    kill(pid)
    wait_for(lambda: not alive(pid), "it is gone")


def start_of(pid: int) -> int:
    """Field 22: when it began."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def rewrite(instance: Instance, row: dict[str, Any], **fields: Any) -> None:
    """Change a run record."""
    path = instance.home / "runs" / f"{row['run_id']}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def copies(instance: Instance, run: str = "") -> list[int]:
    """Living processes that carry the marker of this instance, or of one of its runs."""
    sought = f"MIDWATCH_RUN={Layout.for_home(instance.home).instance}:{run}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            environ = (entry / "environ").read_bytes().split(b"\0") if entry.name.isdecimal() else []
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if any(v.startswith(sought) for v in environ) and b"midwatch-gate" not in words and alive(int(entry.name)):
            found.append(int(entry.name))
    return found


def up_again(instance: Instance) -> dict[str, Any]:
    """The next daemon; every service is up."""
    instance.ok("up", "-d")
    return instance.until(lambda rows: all(row["state"] == "up" and row["pid"] for row in rows.values()), "all are up")


@pytest.mark.parametrize("how", ["another boot", "recycled", "another run", "another home"])
def test_a_record_that_names_somebody_else(instance: Instance, bystander: subprocess.Popen[bytes], how: str) -> None:
    """E5, GEN-5: the service is dead and its record names a living stranger: of an older boot, by the number alone, or
    with the stranger's own start time and the marker of another run. Started anew, the stranger is left alone."""
    instance.up(SLEEP.format(name="a") + SLEEP.format(name="b"))
    before = instance.ps()
    both_die(instance)
    end(before["a"]["pid"])
    victim = before["b"]["pid"] if how == "another run" else bystander.pid
    fields: dict[str, Any] = {"pid": victim}
    if how != "recycled":
        fields["start"] = start_of(victim)
    if how == "another boot":
        fields["boot"] = "11111111-2222-3333-4444-555555555555"
    rewrite(instance, before["a"], **fields)
    rows = up_again(instance)
    assert rows["a"]["pid"] not in (before["a"]["pid"], victim)
    assert rows["b"]["pid"] == before["b"]["pid"]
    told = [line["problem"] for line in instance.journal("state.damaged")]
    assert len(told) == (1 if how in ("another run", "another home") else 0), told
    adopted = [line["service"] for line in instance.journal("run.adopted")]
    assert adopted == ["p/b"]
    instance.ok("stop", "a", "b")
    assert not alive(rows["a"]["pid"])


@pytest.mark.parametrize("how", ["file", "link", "folder", "gone", "stranger's"])
def test_a_fifo_that_was_replaced(instance: Instance, bystander: subprocess.Popen[bytes], how: str) -> None:
    """Adopted all the same, once, said; what stands in its place is not touched."""
    if how == "stranger's" and os.geteuid() != 0:
        pytest.skip("needs root: to give a FIFO to another user")
    instance.up(SLEEP.format(name="a"))
    before = instance.ps()["a"]
    [fifo] = (instance.home / "run" / "fifo").glob(f"{before['run_id']}.*")
    both_die(instance)
    fifo.unlink()
    other = instance.home / "other"
    other.write_text("precious")
    if how == "file":
        fifo.write_text("precious")
    elif how == "link":
        fifo.symlink_to(other)
    elif how == "folder":
        fifo.mkdir()
    elif how == "stranger's":
        os.mkfifo(fifo)
        os.chown(fifo, 65534, 65534)
    rows = up_again(instance)
    assert rows["a"]["pid"] == before["pid"]
    [damaged] = instance.journal("state.damaged")
    assert str(fifo) in damaged["problem"]
    assert other.read_text() == "precious"
    instance.ok("restart", "a")
    assert not alive(before["pid"])
    assert copies(instance) == [instance.ps()["a"]["pid"]]


def torn(body: bytes, number: int) -> bytes:
    """Empty, cut in the middle, and without its end."""
    return (b"", body[: len(body.rstrip()) // 2], body.rstrip()[:-2])[number]


FILES = ("runs", "journal", "specs.json", "jobs.json", "keeper.json", "request.json", "lock", "beat")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", FILES)
def test_a_torn_state_file_between_two_daemons(
    instance: Instance, bystander: subprocess.Popen[bytes], name: str
) -> None:
    """Each file of ours cut short while nobody lives: the next daemon starts, and has the same process, never two."""
    instance.up(SLEEP.format(name="a"))
    before = instance.ps()["a"]["pid"]
    for where in range(3):
        both_die(instance)
        path = instance.home / name
        if not path.exists():  # the last engine needed none of it any more
            path.write_text('{"boot":"' + "x" * 36 + '","jobs":[{"id":"j1","verb":"stop","asked":[["p/a","stop"]]}]}')
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            file.write_bytes(torn(file.read_bytes(), where))
        rows = up_again(instance)
        assert copies(instance) == [rows["a"]["pid"]], where
        assert rows["a"]["pid"] == before, where


def test_a_home_of_another_user(instance: Instance, bystander: subprocess.Popen[bytes]) -> None:
    """A clear refusal with 78 that names the folder; nothing is started, changed or signalled."""
    if os.geteuid() != 0:
        pytest.skip("needs root: to give the folder to another user")
    instance.up(SLEEP.format(name="a"))
    before = instance.ps()["a"]["pid"]
    both_die(instance)
    os.chown(instance.home, 65534, 65534)
    try:
        done = instance.cli("up", "-d")
    finally:
        os.chown(instance.home, 0, 0)
    assert done.returncode == 78, done
    assert f"{instance.home} is not a folder of user 0" in done.stderr
    assert alive(before)
    assert up_again(instance)["a"]["pid"] == before


INSIDE = """\
import json, os, pathlib, signal, subprocess, sys
kept = {k: v for k, v in os.environ.items() if not k.startswith("MIDWATCH")}
strangers = [subprocess.Popen(["sleep", "1000"], start_new_session=True, env=kept) for _ in range(4)]
for path, stranger in zip(pathlib.Path(sys.argv[1], "runs").glob("*.json"), strangers):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pid": stranger.pid}))
def cli(*words):
    done = subprocess.run([sys.executable, "-m", "midwatch", *words], capture_output=True, text=True)
    print(*words[:2], done.returncode, done.stdout[-2000:] if "--json" in words else done.stderr[-500:], flush=True)
    return done
cli("up", "-d")
rows = {r["name"]: r for r in json.loads(cli("ps", "--json").stdout)["services"]}
cli("down", "--all")
print(json.dumps({"alive": [s.poll() is None for s in strangers], "states": {n: r["state"] for n, r in rows.items()}}))
for s in strangers:
    s.kill()
"""


@pytest.mark.parametrize("outside", ["dead", "living"])
def test_a_home_seen_from_another_container(
    instance: Instance, bystander: subprocess.Popen[bytes], outside: str
) -> None:
    """The same home in a new pid namespace: the recorded numbers are strangers there. They live on, and so does the
    bystander; a service that lives outside cannot be seen, so the new daemon's own is started."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if os.geteuid() != 0:
        unshare[1:1] = ["--user", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to make a pid namespace")
    instance.up(SLEEP.format(name="a") + SLEEP.format(name="b"))
    before = [row["pid"] for row in instance.ps().values()]
    both_die(instance)
    if outside == "dead":
        for pid in before:
            end(pid)
    done = subprocess.run(
        [*unshare, sys.executable, "-c", INSIDE, str(instance.home)], cwd=instance.folder, text=True,
        capture_output=True, timeout=55, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    said = json.loads(done.stdout.splitlines()[-1])
    assert said == {"alive": [True] * 4, "states": {"a": "up", "b": "up"}}, done.stdout
    told = [line["service"] for line in instance.journal("state.damaged") if "cannot be seen" in line["problem"]]
    assert sorted(told) == (["p/a", "p/b"] if outside == "living" else [])
    for pid in before:
        if alive(pid):
            kill(pid)


def ended(instance: Instance) -> set[str]:
    """The runs whose end is recorded."""
    return {line["run_id"] for line in instance.journal("run.exited")}


def dying(pids: list[int], spread: float) -> None:
    """Kill them one after another, spread over the time that an adoption takes."""
    rng = random.Random(3)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        time.sleep(rng.uniform(0, 2 * spread / len(pids)))


@pytest.mark.timeout(240)
@pytest.mark.slow
def test_services_that_die_while_they_are_adopted(instance: Instance, bystander: subprocess.Popen[bytes]) -> None:
    """D9: 120 deaths from before the start to after it, at every moment of it: each run has one end, by SIGKILL or
    `lost`, never another; each service is started again once, and there is one copy of each."""
    rules = 'restart = { killed = "1000 in 10m", crash = 1000 }\n'
    instance.up("".join(SLEEP.format(name=f"s{n}") + rules for n in range(DEATHS)))
    for number in range(ROUNDS):
        rows = up_again(instance) if number else instance.ps()
        both_die(instance)
        pids = [row["pid"] for row in rows.values()]
        killer = threading.Thread(target=dying, args=(pids, (0.4, 0.8, 1.2)[number]))
        killer.start()
        instance.ok("up", "-d")
        killer.join()
        old = {row["run_id"] for row in rows.values()}
        wait_for(lambda old=old: old <= ended(instance), "all ends are known")  # type: ignore[misc]
    rows = up_again(instance)
    ends = instance.journal("run.exited")
    assert len(ends) == len({line["run_id"] for line in ends}) == DEATHS * ROUNDS
    assert {(line["cause"], line["signal"], line["code"]) for line in ends} <= {
        ("killed", "SIGKILL", None), ("lost", None, None),
    }  # fmt: skip
    assert sorted(copies(instance)) == sorted(row["pid"] for row in rows.values())
    instance.ok("down", "--all", "--now")


