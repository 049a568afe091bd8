"""A flood past a full spool: moved by the kernel, and not one byte, line or page is different for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from midwatch.bounded import Limits, Result, flood, run
from midwatch.bounded.spool import Store

pytestmark = pytest.mark.usefixtures("home")
MIB = 1 << 20
SMALL = Limits(spool_cap=4 * MIB, spool_free=1)  # 3 from the start, a ring of 1


def program(lines: int, pause: str = "") -> list[str]:
    """Numbered lines, so that each page tells whether it is the right one."""
    code = (
        "import os, sys, time\n"
        f"for at in range(0, {lines}, 1000):\n"
        " b = b''.join(b'%09d and so on and on\\n' % n for n in range(at, at + 1000))\n"
        " while b: b = b[os.write(1, b):]\n"
        f" {pause}"
    )
    return [sys.executable, "-c", code]


WIDTH = len(b"%09d and so on and on\n" % 0)


def check(result: Result, lines: int) -> None:
    """Everything that can be told of it is what the program printed."""
    total = lines * WIDTH
    assert (result.state, result.bytes_total, result.lines_total) == ("exited", total, lines)
    assert result.head.startswith("000000000 and so on")
    assert result.tail.endswith(f"{lines - 1:09d} and so on and on\n")
    assert result.spool
    store = Store(limits=SMALL)
    info = store.info(result.spool)
    assert info.kept == ((0, 3 * MIB), (total - MIB, total))
    assert (info.bytes_total, info.lines_total, info.complete) == (total, lines, False)
    first = (total - MIB) // WIDTH + 2  # the first whole line of the ring, from 1
    for number in (1, 3 * MIB // WIDTH, first, first + 5000, lines - 3000, lines):
        assert store.read(result.spool, line=number, count=1).text.startswith(f"{number - 1:09d} and so on")
    raw = store.read(result.spool, offset=total - MIB, length=2000, raw=True)
    assert raw.data == b"".join(b"%09d and so on and on\n" % n for n in range(first - 2, first + 100))[
        (total - MIB) % WIDTH :
    ][: len(raw.data)]


@pytest.mark.parametrize("lines", [200_000, 203_000, 400_000, 1_000_000])
def test_it_is_as_if_it_had_been_read(lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts, tail, both kept stretches, pages by line in each: whether it just began or has turned often."""
    made: list[Any] = []
    real = flood.Flood.__init__

    def make(self: Any, *words: Any) -> None:
        made.append(self)
        real(self, *words)

    monkeypatch.setattr(flood.Flood, "__init__", make)
    check(run(program(lines), limits=SMALL), lines)
    assert len(made) == 1


@pytest.mark.parametrize("missing", ["wc", "tee", "room"])
def test_without_it_the_ordinary_way_goes_on(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = SMALL
    if missing == "wc":
        monkeypatch.setattr(flood, "_WC", "/no/such/wc")
    elif missing == "tee":

        def refused(*_: object) -> None:
            raise OSError(38, "no such call")

        monkeypatch.setattr(flood.Flood, "__init__", refused)
    else:
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((4096, 4096, 10, 10, 0, 0, 0, 0, 0, 255)))
    before = len(os.listdir("/proc/self/fd"))
    result = run(program(300_000), limits=limits)
    assert (result.bytes_total, result.lines_total) == (300_000 * WIDTH, 300_000)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_wc_that_dies_costs_the_count_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes go on; that the number of lines is too low is said."""
    real = flood.Flood.move

    def move(self: Any, pipe: int) -> int:
        if self.moved > 2 * MIB:
            self._wc.kill()
        return real(self, pipe)

    monkeypatch.setattr(flood.Flood, "move", move)
    result = run(program(400_000), limits=SMALL)
    assert (result.bytes_total, result.exit_code) == (400_000 * WIDTH, 0)
    assert result.lines_total < 400_000
    assert "not all lines could be counted" in result.warnings[0]
    assert result.tail.endswith("000399999 and so on and on\n")


def test_a_flood_that_is_ended_in_the_middle_leaves_nothing() -> None:
    """A timeout and an output limit during a flood: exact so far, wc gone, no descriptor left."""
    before = len(os.listdir("/proc/self/fd"))
    result = run(program(10**9), limits=Limits(spool_cap=4 * MIB, spool_free=1, output_kill=40 * MIB))
    assert (result.state, result.reason) == ("output_limit", "output_limit")
    assert 40 * MIB <= result.bytes_total <= 44 * MIB
    assert abs(result.lines_total - result.bytes_total / WIDTH) <= 1
    result = run("trap '' TERM; yes", timeout=1, limits=SMALL)
    assert result.state in ("timeout", "output_limit")
    assert result.lines_total * 2 == result.bytes_total
    assert len(os.listdir("/proc/self/fd")) == before
    mine = subprocess.run(["pgrep", "-P", str(os.getpid()), "-x", "wc"], capture_output=True, check=False)
    assert mine.stdout == b""


def test_an_interrupt_in_the_middle_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised while it floods: descriptors, wc and the nameless ring are gone."""
    real = flood.Flood.move

    def move(self: Any, pipe: int) -> int:
        if self.moved > MIB:
            raise KeyboardInterrupt
        return real(self, pipe)

    monkeypatch.setattr(flood.Flood, "move", move)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyboardInterrupt):
        run(program(10**9), limits=SMALL)
    assert len(os.listdir("/proc/self/fd")) == before
    assert Store(limits=SMALL).list()[0].state == "done"
