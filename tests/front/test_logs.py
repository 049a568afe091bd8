"""`logs`: exactly the service's bytes, by run, with times, and what is missing is said."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.front.conftest import Daemon, Done, write_log

from midwatch.engine.layout import Layout

Cli = Callable[..., Done]
RAW = b"one\n\x00\xff\x1b[31mtwo\r\nthree without an end"


def _bytes(home: Path, *words: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "midwatch", "logs", *words],
        capture_output=True,
        timeout=50,
        cwd=home,
        check=True,
    )
    return done.stdout


def test_exactly_the_bytes(layout: Layout, home: Path) -> None:
    """No byte is added, dropped or decoded; also without a daemon, and over several runs."""
    write_log(layout, "shop/web", 1, b"first run\n")
    write_log(layout, "shop/web", 2, RAW)
    assert _bytes(home, "web", "-n", "0") == b"first run\n" + RAW
    assert _bytes(home, "web", "-n", "1") == b"three without an end"


def test_one_run(cli: Cli, layout: Layout) -> None:
    """--previous, --run by number or id; a run that is not there is exit 1 and names those that are."""
    for number in (1, 2, 3):
        write_log(layout, "shop/web", number, f"run {number}\n".encode())
    assert cli("logs", "web", "--previous").out == "run 2\n"
    assert cli("logs", "web", "--run", "1").out == "run 1\n"
    assert cli("logs", "shop/web", "--run", "shop.web.3").out == "run 3\n"
    gone = cli("logs", "web", "--run", "9")
    assert gone.code == 1
    assert "shop.web.3" in gone.err


def test_times_come_from_the_index(cli: Cli, layout: Layout) -> None:
    """-t: the second of arrival by the sidecar index, "-" where it is unknown; --json wraps each line."""
    write_log(layout, "shop/web", 1, b"a\nb\n")
    folder = layout.service_logs("shop/web")
    (folder / "shop.web.1.out.1.log.idx").write_bytes(struct.pack("<QdQd", 0, 1e9, 2, 1e9 + 60))
    assert cli("logs", "web", "-t").out == "2001-09-09T01:46:40Z a\n2001-09-09T01:47:40Z b\n"
    document = cli("logs", "web", "--json", "-n", "1").json
    assert document == {
        "schema_version": 1, "ts": "2001-09-09T01:47:40Z", "service": "shop/web", "stream": "out", "text": "b",
    }  # fmt: skip
    write_log(layout, "shop/db", 1, b"x\n")
    assert cli("logs", "db", "-t").out == "- x\n"


def test_stderr_kept_apart_is_named(cli: Cli, layout: Layout) -> None:
    """No merged view is invented: stdout is shown, stderr has its option."""
    write_log(layout, "shop/web", 1, b"out\n")
    write_log(layout, "shop/web", 1, b"err\n", stream="err")
    both = cli("logs", "web")
    assert both.out == "out\n"
    assert "--stream err" in both.err
    assert cli("logs", "web", "--stream", "err").out == "err\n"


def test_what_rotation_dropped_is_said(cli: Cli, layout: Layout) -> None:
    """Missing files are named on stderr; stdout stays exact."""
    write_log(layout, "shop/web", 1, b"later\n", n=3)
    done = cli("logs", "web", "-n", "0")
    assert done.out == "later\n"
    assert "bytes of shop.web.1 out are gone (files" in done.err


def test_follow_goes_on(layout: Layout, home: Path) -> None:
    """-f shows the newest lines, then new ones as they are written, and ends quietly with its reader."""
    write_log(layout, "shop/web", 1, b"old\nnew\n")
    follower = subprocess.Popen(
        [sys.executable, "-m", "midwatch", "logs", "-f", "-n", "1", "web"], stdout=subprocess.PIPE, cwd=home
    )
    try:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"new\n"
        with (layout.service_logs("shop/web") / "shop.web.1.out.1.log").open("ab") as file:
            file.write(b"more\n")
        assert follower.stdout.readline() == b"more\n"
    finally:
        follower.terminate()
        follower.communicate(timeout=20)


@pytest.mark.parametrize(
    ("words", "code"),
    [(["logs", "web", "-n", "-1"], 2), (["logs", "web", "--previous", "-f"], 2), (["logs", "nope"], 2)],
)
def test_wrong_use(cli: Cli, layout: Layout, words: list[str], code: int) -> None:
    """Contradictions and unknown names are usage errors."""
    write_log(layout, "shop/web", 1, b"x\n")
    assert cli(*words).code == code


def test_silence_is_said(cli: Cli, daemon: Daemon) -> None:
    """A service that has printed nothing yet: exit 0, one line on stderr."""
    del daemon
    done = cli("logs", "web")
    assert (done.code, done.out) == (0, "")
    assert "has printed nothing yet" in done.err


def test_a_stuck_daemon_does_not_hide_the_record(cli: Cli, daemon: Daemon) -> None:
    """The daemon refuses to say its status: logs, events and why read the record, ps says what is wrong."""
    daemon.answers["ps"] = {"error": {"code": -32603, "message": "own fault"}}
    write_log(daemon.layout, "shop/web", 1, b"still here\n")
    assert cli("logs", "web").out == "still here\n"
    assert cli("events").code == 0
    assert cli("why", "web").code == 0
    assert cli("ps").code == 1
