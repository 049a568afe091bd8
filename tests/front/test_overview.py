"""`midwatch` alone: read-only, the ten largest trees, held memory and not RSS, named when it is RSS."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from tests.front.conftest import Daemon, Done, row

from midwatch.front.cli import overview as o

Cli = Callable[..., Done]


def proc(pid: int, parent: int, session: int, name: str, held: int = 10, exact: bool = True) -> o.Proc:
    return o.Proc(pid, parent, session, name, held << 20, exact)


def test_held_memory_is_anonymous_shared_and_swapped() -> None:
    """RssAnon + RssShmem + VmSwap; file pages do not count; absent is None, never 0."""
    status = b"VmRSS:\t9999 kB\nRssAnon:\t 100 kB\nRssFile:\t 500 kB\nRssShmem:\t 20 kB\nVmSwap:\t 3 kB\n"
    assert o.held_fields(status) == 123 * 1024
    assert o.held_fields(b"VmRSS: 5 kB\nVmSwap: 3 kB\n") is None
    assert o.held_fields(b"RssAnon:\tnotanumber\nRssShmem:\t0 kB\n") == 0


def test_what_counts_as_one_tree() -> None:
    """A session's processes count together; each job of a shell alone; a service's own session is its own tree."""
    procs = [
        proc(1, 0, 1, "init"),
        proc(10, 1, 10, "bash"),
        proc(20, 10, 10, "make"),
        proc(21, 20, 10, "cc", 50),
        proc(30, 10, 10, "vim"),
        proc(40, 1, 40, "postgres"),
        proc(41, 40, 40, "postgres", 100),
        proc(50, 41, 50, "helper", 5),
    ]
    found = {(tree.root.pid, tree.processes, tree.held >> 20) for tree in o.largest(procs)}
    assert found == {(1, 1, 10), (10, 1, 10), (20, 2, 60), (30, 1, 10), (40, 2, 110), (50, 1, 5)}
    assert [tree.root.pid for tree in o.largest(procs, 2)] == [40, 20]
    assert len(o.largest([proc(n, 1, n, "x") for n in range(2, 40)])) == 10


def test_a_circle_of_parents_ends() -> None:
    """Damaged or racing data must not hang the screen."""
    o.largest([proc(2, 3, 2, "a"), proc(3, 2, 2, "b")])


def test_rss_is_named_as_such() -> None:
    """Where the kernel does not show held memory the column says so."""
    trees = o.largest([proc(2, 1, 2, "a", 9, exact=False), proc(3, 1, 3, "b", 6)])
    lines = o.screen([], None, trees, {2: "a --x", 3: "b"}, 80, 0.0)
    assert lines[-3].split() == ["HELD/RSS", "PROCS", "PID", "LARGEST", "TREES"]
    assert lines[-2].split() == ["9.0M", "rss", "1", "2", "a", "--x"]


def test_noise_is_left_out() -> None:
    """Trees below 5 MB are not listed, and this process does not count itself."""
    assert [tree.root.pid for tree in o.largest([proc(2, 1, 2, "a", 4), proc(3, 1, 3, "b", 5)])] == [3]
    assert os.getpid() not in {one.pid for one in o.processes()}


@pytest.mark.parametrize(
    ("state", "said"),
    [(None, "midwatch run -- CMD"), ("held", "'midwatch why shop/web'"), ("up", "'midwatch ps'")],
)
def test_the_last_line_says_what_to_type_next(state: str | None, said: str) -> None:
    """One line, in 100 columns, whatever stands there."""
    line = o.next_line([row("web", state)] if state else [])
    assert line.startswith("next: ")
    assert said in line
    assert len(line) <= 100


def test_the_screen(cli: Cli, daemon: Daemon) -> None:
    """Services and trees in 80 columns, exit 0, and only the status was asked."""
    done = cli()
    assert done.code == 0
    assert "LARGEST TREES" in done.out
    assert "worker" in done.out
    assert "nothing was changed" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert {method for method, _ in daemon.asked} == {"ps"}


def test_json_and_no_secret(cli: Cli) -> None:
    """H8: a token in another program's arguments does not appear; the numbers carry what they are."""
    words = [
        sys.executable,
        "-c",
        "x = bytearray(64 << 20); print('ready', flush=True); input()",
        "--token",
        "s3cretvalue",
    ]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        document = cli("--json").json
        me = [tree for tree in document["trees"] if tree["pid"] == child.pid]
        child.communicate(b"\n", timeout=20)
    assert len(document["trees"]) <= 10
    assert document["processes"] > 1
    assert "s3cretvalue" not in str(document)
    if me and os.path.exists("/proc/self/status"):
        assert me[0]["held_bytes"] > 60 << 20
