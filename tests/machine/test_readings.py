"""Readings and limits on real processes, with psutil as the oracle (F8-F10, H15, HLT-2)."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest

from midwatch.machine.linux import procfs, sockets
from midwatch.machine.linux.adapter import LinuxMachine

MIB = 1 << 20
ROOT = os.geteuid() == 0


def test_held_memory_agrees_with_the_oracle(linux: Any) -> None:
    """RssAnon + RssShmem + VmSwap is psutil's rss less its file-backed part (F1)."""
    tree = linux.start()
    linux.tell(tree, "grow", size=40 * MIB)
    info = psutil.Process(tree.main.pid).memory_full_info()
    ours = linux.machine.held(tree).value
    file_backed = next(
        int(line.split()[1]) * 1024
        for line in Path(f"/proc/{tree.main.pid}/status").read_text().splitlines()
        if line.startswith("RssFile")
    )
    assert abs(ours - (info.rss - file_backed + info.swap)) < 2 * MIB


def test_anonymous_memory_counts_once_and_fully(linux: Any) -> None:
    """F9: 200 MiB anonymous => the figure rises by 200 +- 10 MiB."""
    tree = linux.start()
    before = linux.machine.held(tree).value
    linux.tell(tree, "grow", size=200 * MIB)
    assert abs(linux.machine.held(tree).value - before - 200 * MIB) < 10 * MIB


def test_mapped_files_do_not_count(linux: Any, tmp_path: Path) -> None:
    """F8 (scaled to 200 MiB): touching a mapped file is not held memory."""
    file = tmp_path / "big"
    with file.open("wb") as out:
        out.truncate(200 * MIB)
    tree = linux.start()
    before = linux.machine.held(tree).value
    linux.tell(tree, "map_file", path=str(file))
    assert psutil.Process(tree.main.pid).memory_info().rss > 200 * MIB
    assert linux.machine.held(tree).value - before < 10 * MIB


def test_memory_of_a_grandchild_is_the_runs(linux: Any) -> None:
    """F10: what a descendant in another session holds is counted."""
    tree = linux.start()
    before = linux.machine.held(tree).value
    child = linux.child(tree, new_session=True)
    linux.machine.members(tree)
    both = linux.machine.held(tree)
    assert both.value >= before + linux.machine.held_one(child).value - MIB
    assert both.quality == "upper-bound"


def test_open_descriptors_agree_with_the_oracle(linux: Any) -> None:
    """The size trick, and the listing of older kernels, give psutil's number; the limit is the soft one."""
    tree = linux.start()
    linux.tell(tree, "fds", count=30)
    count, limit = linux.machine.open_fds(tree.main.pid)
    assert count == psutil.Process(tree.main.pid).num_fds()
    assert limit == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@pytest.mark.parametrize(
    ("bound", "asked"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "localhost")]
)
def test_the_listener_is_in_the_tree(linux: Any, bound: str, asked: str) -> None:
    """HLT-2: a listener of the run, whatever address it is bound to; the same port is not another run's."""
    if ":" in bound and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    tree, other = linux.start(), linux.start()
    port = linux.tell(tree, "listen", host=bound)
    assert linux.machine.listener_in_tree(tree, asked, port) is True
    assert linux.machine.listener_in_tree(other, asked, port) is False


def test_a_strangers_listener_is_not_ours(linux: Any) -> None:
    """HLT-2: somebody else answers; nobody listens: it cannot be told."""
    tree = linux.start()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        assert linux.machine.listener_in_tree(tree, "127.0.0.1", sock.getsockname()[1]) is False
        port = sock.getsockname()[1]
    assert linux.machine.listener_in_tree(tree, "127.0.0.1", port) is None
    assert linux.machine.listener_in_tree(tree, "some.host.name", port) is None


def test_a_strangers_specific_address_beats_our_wildcard(linux: Any) -> None:
    """A connection to 127.0.0.1 reaches who is bound to exactly that, not our 0.0.0.0."""
    tree = linux.start()
    listener = procfs.TcpSocket
    found = [listener(b"\0\0\0\0", 80, 1), listener(b"\x7f\0\0\1", 80, 2)]
    assert linux.machine.listener_in_tree(tree, "127.0.0.1", 1) is None
    assert sockets.answering(found, "127.0.0.1") == {2}
    assert sockets.answering(found[:1], "localhost") == {1}
    assert sockets.answering([listener(b"\0" * 16, 80, 3)], "127.0.0.1") == {3}


def test_limits_are_set_before_the_run_begins(linux: Any, launch: Any) -> None:
    """rlimits down, nice up, oom_score_adj up: permitted to everybody, no warning."""
    tree = linux.start()
    pid = tree.main.pid
    spec = launch(rlimits={"nofile": (100, 200), "core": (0, 0)}, nice=5, oom_score_adj=500)
    assert linux.machine.prepare(pid, spec) == []
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (100, 200)
    assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
    assert os.getpriority(os.PRIO_PROCESS, pid) == 5
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "500\n"
    assert linux.machine.open_fds(pid)[1] == 100


def test_what_is_not_permitted_is_one_warning(linux: Any, launch: Any) -> None:
    """H15: nice -5 without privilege runs, requested and effective are named."""
    if ROOT:
        pytest.skip("root may lower nice")
    tree = linux.start()
    warnings = linux.machine.prepare(tree.main.pid, launch(nice=-5))
    assert len(warnings) == 1
    assert "-5" in warnings[0]
    assert "effective 0" in warnings[0]


def test_a_hard_limit_that_cannot_be_raised_is_met_as_far_as_possible(linux: Any, launch: Any) -> None:
    """More files than the hard limit: as many as there may be, and a warning with both numbers."""
    tree = linux.start()
    pid = tree.main.pid
    assert linux.machine.prepare(pid, launch(rlimits={"nofile": (50, 60)})) == []
    warnings = linux.machine.prepare(pid, launch(rlimits={"nofile": (100, 100)}))
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    if hard == 100:
        assert warnings == []  # CAP_SYS_RESOURCE
        return
    assert len(warnings) == 1
    assert "100:100" in warnings[0]
    assert "60:60" in warnings[0]


def test_odd_limits_are_warnings(linux: Any, launch: Any) -> None:
    """An unknown limit and a process that is gone never raise."""
    tree = linux.start()
    assert "no such limit" in linux.machine.prepare(tree.main.pid, launch(rlimits={"zork": (1, 1)}))[0]
    assert "gone" in linux.machine.prepare(2**22 + 5, launch(nice=3, rlimits={"nofile": (5, 5)}))[0]
    assert "gone" in linux.machine.prepare(2**22 + 5, launch(oom_score_adj=3))[0]


def test_the_host_of_this_test_is_described(linux: Any) -> None:
    """Kernel, boot id and each rung with yes or a reason."""
    host = linux.machine.host()
    assert host.kernel == os.uname().release
    assert len(host.boot) == 36
    assert {"pidfd", "cgroup", "cgroup.kill", "memory limit", "pressure", "subreaper"} <= set(host.rungs)
    assert linux.machine.host() is host


def test_an_old_kernel_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """design 4: below 5.3 `check` refuses and names the kernel."""
    facts = os.uname()
    monkeypatch.setattr(
        os, "uname", lambda: os.uname_result((facts[0], facts[1], "4.19.0", facts[3], facts[4]))
    )
    refusal = LinuxMachine("old", 1).host().refusal
    assert refusal
    assert "4.19.0" in refusal
    assert "5.3" in refusal


def test_sleep_is_the_difference_of_two_clocks(linux: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """CLOCK_BOOTTIME goes on while the machine sleeps, the awake clock does not; never negative by a rounding."""
    import time

    awake = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: awake)
    monkeypatch.setattr(time, "clock_gettime", lambda clock: awake + 3600.0)
    assert linux.machine.suspended() == pytest.approx(3600.0)
    monkeypatch.setattr(time, "clock_gettime", lambda clock: awake - 0.000001)
    assert linux.machine.suspended() == 0.0
