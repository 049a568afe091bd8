"""The engine's small parts by themselves: HTTP of the probes, the layout of an instance, batches, accepted specs."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine.conftest import FakeLoop, a_spec

from midwatch.engine.batch import Batcher, Workers
from midwatch.engine.http import parse_head, request_for, split_url, unchunk
from midwatch.engine.layout import SOCKET_PATH_MAX, Layout, LayoutError
from midwatch.engine.specs import load_specs, save_specs, share, strictest
from midwatch.machine.fake import FakeMachine
from midwatch.policy import defaults


@pytest.mark.parametrize(
    ("text", "tls", "host", "port", "path"),
    [
        ("http://127.0.0.1:8787/health", False, "127.0.0.1", 8787, "/health"),
        ("http://localhost", False, "localhost", 80, "/"),
        ("https://example.test/a/b?c=d#e", True, "example.test", 443, "/a/b?c=d#e"),
        ("HTTP://h:1/", False, "h", 1, "/"),
        ("http://[::1]:8080/x", False, "::1", 8080, "/x"),
        ("http://[::1]/x", False, "::1", 80, "/x"),
        ("http://0.0.0.0:80/", False, "127.0.0.1", 80, "/"),
        ("http://[::]:80/", False, "::1", 80, "/"),
        ("http://:81/", False, "127.0.0.1", 81, "/"),
    ],
)
def test_a_url_is_cut_up(text: str, tls: bool, host: str, port: int, path: str) -> None:
    """ORP-3: wildcard addresses mean loopback; default ports by scheme."""
    url = split_url(text)
    assert (url.tls, url.host, url.port, url.path) == (tls, host, port, path)
    assert request_for(url).startswith(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: ")


@pytest.mark.parametrize(
    "text", ["", "x", "ftp://h/", "http://u:p@h/", "http://h:0/", "http://h:65536/", "http://h:x/", "//h"]
)
def test_a_wrong_url_is_refused(text: str) -> None:
    """ValueError, never something else."""
    with pytest.raises(ValueError, match=r"."):
        split_url(text)


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"HTTP/1.1 200 OK", (200, None, False)),
        (b"HTTP/1.0 503", (503, None, False)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX: y", (200, 12, False)),
        (b"HTTP/1.1 200 OK\r\ncontent-length:7", (200, 7, False)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1", (200, None, False)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked", (200, None, True)),
        (b"HTTP/1.1 204 No Content\r\nno colon here", (204, None, False)),
    ],
)
def test_the_head_of_an_answer(head: bytes, found: tuple[int, int | None, bool]) -> None:
    """Status, length, chunked."""
    assert parse_head(head) == found


@pytest.mark.parametrize("head", [b"", b"HTTP/2 200", b"SSH-2.0-x", b"HTTP/1.1 abc", b"HTTP/1.1", b"\0\xff"])
def test_what_is_no_http_is_said_so(head: bytes) -> None:
    with pytest.raises(ValueError, match="not an HTTP answer"):
        parse_head(head)


@pytest.mark.parametrize(
    ("body", "whole"),
    [
        (b"", b""),
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n", b"abcde"),
        (b"A\r\n0123456789\r\n", b"0123456789"),
        (b"5\r\nab", b"ab"),
        (b"zz\r\nabc", b""),
        (b"3\r\nabc\r\nnonsense", b"abc"),
    ],
)
def test_chunks_are_put_together_as_far_as_they_go(body: bytes, whole: bytes) -> None:
    """A cut or broken body gives what is complete, and always ends."""
    assert unchunk(body) == whole


def test_e10_the_default_layout_does_not_follow_the_callers_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """E10: HOME and XDG differ between a shell, cron and sudo; the paths do not."""
    monkeypatch.delenv("MIDWATCH_HOME", raising=False)
    plain = Layout.default()
    for name in ("HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "USER", "LOGNAME", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    again = Layout.default()
    assert (again.home, again.control, again.instance) == (plain.home, plain.control, plain.instance)
    monkeypatch.setenv("MIDWATCH_HOME", str(tmp_path / "x"))
    assert Layout.default().home == tmp_path / "x"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIDWATCH_HOME", "x")
    assert Layout.default().home == tmp_path / "x", "relative names mean one place, too"


def test_a_long_home_gets_a_short_runtime_folder_of_its_own() -> None:
    """AF_UNIX ends at 107 bytes: every socket path of every home fits, and two homes never share one."""
    homes = [Path("/tmp") / ("x" * n) for n in range(1, 300, 7)] + [Path("/tmp") / ("ü" * n) for n in range(20, 140, 9)]
    layouts = [Layout.for_home(home) for home in homes]
    layouts += [layout.foreground("p-name-12345") for layout in layouts]
    for layout in layouts:
        assert len(bytes(layout.control)) <= SOCKET_PATH_MAX
    assert len({layout.control for layout in layouts}) == len(layouts)


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """An instance whose runtime folder, outside of tmp_path, is removed afterwards."""
    made = Layout.for_home(tmp_path / "h")
    yield made
    shutil.rmtree(made.runtime, ignore_errors=True)


def test_ensure_makes_private_folders_and_mends_open_ones(layout: Layout) -> None:
    """0700, also where somebody had made them wider."""
    layout.ensure()
    layout.logs.chmod(0o755)
    layout.ensure()
    for folder in (layout.home, layout.runtime, layout.runs, layout.journal, layout.logs, layout.fifos, layout.notify):
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.root("to give a folder to somebody else")
def test_a_folder_of_somebody_else_is_refused(layout: Layout) -> None:
    """A prepared /tmp folder of an attacker: not used, named, with the remedy."""
    layout.ensure()
    os.chown(layout.runtime, 65534, 65534)
    with pytest.raises(LayoutError, match=r"not a folder of user 0.*MIDWATCH_HOME"):
        layout.ensure()


def test_a_symlink_in_place_of_a_folder_is_refused(layout: Layout, tmp_path: Path) -> None:
    """The link's target may be anybody's."""
    layout.ensure()
    layout.notify.rmdir()
    layout.notify.symlink_to(tmp_path)
    with pytest.raises(LayoutError, match=str(layout.notify)):
        layout.ensure()


def test_a_batch_collects_while_another_is_under_way_and_outlives_a_failure() -> None:
    """One call for what came in one turn; a batch that blows up does not keep the next one waiting."""
    calls: list[list[int]] = []
    results: list[int] = []

    def work(items: list[int]) -> list[int]:
        calls.append(items)
        if 0 in items:
            raise ZeroDivisionError
        return [item * 2 for item in items]

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        blown: list[object] = []
        loop.set_exception_handler(lambda _, context: blown.append(context["exception"]))
        batcher = Batcher(work)
        for wave in ([1, 2, 3], [0], [4, 5]):
            for item in wave:
                batcher.add(item, results.append)
            for _ in range(10):  # turns of the loop, which does blocking work at once
                await asyncio.sleep(0)
            assert not batcher._busy
        assert isinstance(blown[0], ZeroDivisionError)

    with asyncio.Runner(loop_factory=lambda: FakeLoop(FakeMachine())) as runner:
        runner.run(scenario())
    assert calls == [[1, 2, 3], [0], [4, 5]]
    assert results == [2, 4, 6, 8, 10]


def test_work_waits_for_the_threads_there_are_when_no_more_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """EAGAIN for a thread: what was handed in is done all the same."""
    with Workers() as workers:

        def refused(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refused)
        done = [workers.submit(pow, n, 2) for n in range(20)]
        assert [future.result(30) for future in done] == [n * n for n in range(20)]


def test_specs_come_back_as_they_were_and_are_private(tmp_path: Path) -> None:
    path = tmp_path / "specs.json"
    specs = [a_spec("a", launch={"env": {"K": "v"}}), a_spec("b")]
    save_specs(path, specs, {})
    assert load_specs(path)[0].specs == specs
    assert load_specs(path)[1] == ""
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    assert load_specs(tmp_path / "none.json")[0].specs == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"specs": 5}', b'{"specs":["\xff"]}', b"[" * 100_000, None])
def test_damaged_specs_are_replaced_by_their_copy_and_said(tmp_path: Path, content: bytes | None) -> None:
    """The copy is used and the file repaired; without a copy it says what to do, and never raises."""
    path = tmp_path / "specs.json"
    save_specs(path, [a_spec()], {})
    path.unlink() if content is None else path.write_bytes(content)
    accepted, problem = load_specs(path)
    assert [spec.id for spec in accepted.specs] == ["p/a"]
    assert str(path) in problem
    assert load_specs(path)[1] == ""
    for file in tmp_path.iterdir():
        file.write_bytes(content or b"x")
    accepted, problem = load_specs(path)
    assert accepted.specs == []
    assert "midwatch up" in problem


def test_shared_parts_are_equal_parts(tmp_path: Path) -> None:
    """Five hundred services of one shell hold one environment."""
    specs = [a_spec(f"s{n}", launch={"env": {"PATH": "/bin"}}) for n in range(3)]
    shared = share(specs)
    assert shared == specs
    assert shared[0].launch.env is shared[2].launch.env
    assert shared[0].rules is shared[2].rules


def test_the_strictest_bound_holds_and_none_means_the_default() -> None:
    assert strictest([]).log_total == defaults.LOG_TOTAL
    small = strictest([])
    assert strictest([small, type(small)(1, 2, 3, 4), type(small)(9, 9, 9, 9)]) == type(small)(1, 2, 3, 9)
