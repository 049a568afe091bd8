"""Confirmation by page walk, on a forked tree whose truth is known (guards 2.3, 13 test 2)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from midwatch.machine.linux import confirm
from midwatch.machine.linux.adapter import LinuxMachine
from midwatch.machine.ports import Containment, Tree

MIB = 1 << 20
FORKED = """
import mmap, os, sys, time
private = bytearray(b"x") * (300 << 20)
shared = mmap.mmap(-1, 100 << 20)
for at in range(0, len(shared), 4096): shared[at] = 1
for _ in range(4):
    if os.fork() == 0:
        for at in range(0, 20 << 20, 4096): private[at] = 2
        for at in range(0, len(shared), 4096): shared[at]
        sys.stdout.write("."); sys.stdout.flush()
        time.sleep(60); os._exit(0)
sys.stdout.write("."); sys.stdout.flush()
time.sleep(60)
"""
ROLLUP = """5594 7ffe ---p 00000000 00:00 0    [rollup]
Rss:               9000 kB
Pss:               5000 kB
Pss_Dirty:         4000 kB
Pss_Anon:          3000 kB
Pss_File:          1500 kB
Pss_Shmem:          500 kB
Shared_Hugetlb:      64 kB
Private_Hugetlb:     32 kB
Swap:               100 kB
SwapPss:             50 kB
"""


@pytest.fixture
def forked() -> Iterator[tuple[LinuxMachine, Tree]]:
    """Five processes: 300 MiB anonymous and 100 MiB mapped shared by all, 20 MiB of its own in each child."""
    main = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", FORKED], stdout=subprocess.PIPE, start_new_session=True,
        env={"MIDWATCH_RUN": "p.forked.1"},
    )  # fmt: skip
    machine = LinuxMachine("confirm", os.getpid())
    try:
        assert main.stdout
        for _ in range(5):
            assert main.stdout.read(1) == b"."
        proc = machine.identify(main.pid)
        assert proc
        yield machine, Tree("p.forked.1", proc, "p.forked.1", Containment(), os.getpid())
    finally:
        os.killpg(main.pid, 9)
        main.communicate()


def test_a_forked_tree_is_confirmed_at_its_true_size(forked: tuple[LinuxMachine, Tree]) -> None:
    """guards 13 test 2: 400 MiB shared by five: the cheap sum is some 2 GB, the confirmation 480 MiB and Python."""
    machine, tree = forked
    cheap = machine.meter(tree).read(1.0)
    assert cheap.members == 5
    assert cheap.held.quality == "upper-bound"
    assert cheap.held.value
    assert cheap.held.value > 2000 * MIB
    true = machine.confirm(tree, 5)
    assert true.quality == "exact"
    assert true.value
    assert 480 * MIB <= true.value < 560 * MIB


def test_out_of_time_the_rest_is_counted_whole(forked: tuple[LinuxMachine, Tree], monkeypatch: Any) -> None:
    """Never too low: the largest is walked, the others count with all they hold, and it says so."""
    machine, tree = forked
    true = machine.confirm(tree, 5).value
    late = machine.confirm(tree, 0.0)
    assert late.quality == "approximate"
    assert "4 of 5" in late.why
    assert true
    assert late.value
    assert late.value > true


def test_the_rollup_is_read_without_mapped_files() -> None:
    """Pss_Anon + Pss_Shmem + SwapPss + hugetlb; Linux < 5.5 has only the whole Pss; nothing is None."""
    assert confirm.rollup(ROLLUP.encode()) == (3000 + 500 + 64 + 32 + 50) * 1024
    old = "".join(line for line in ROLLUP.splitlines(True) if not line.startswith("Pss_"))
    assert confirm.rollup(old.encode()) == (5000 + 64 + 32 + 50) * 1024
    assert confirm.rollup(b"") is None
    assert confirm.rollup(ROLLUP.encode()[:150]) == 5000 * 1024


@contextmanager
def nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("needs a process that we may not look into")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_looked_at_is_absent_with_the_reason(linux: Any) -> None:
    """EPERM is absent, never 0."""
    tree = linux.start()
    members = linux.machine.members(tree)
    with nobody():
        refused = confirm.confirm(members, 5)
    assert (refused.value, refused.quality) == (None, "absent")
    assert f"smaps_rollup of {tree.main.pid}: Permission denied" in refused.why


def test_nobody_is_nothing(world: Any) -> None:
    """A tree that has ended has no confirmation; a living one has a number not above its sum."""
    tree = world.start()
    world.ignore(tree)  # answered: it has grown up
    sample = world.machine.meter(tree).read(1.0)
    true = world.machine.confirm(tree, 5)
    assert true.quality == "exact"
    assert true.value <= sample.held.value + 64 * 1024
    world.machine.end(tree, 0, 10)
    world.reap(tree)
    assert world.machine.confirm(tree, 5).quality == "absent"
