"""Bounded execution with real commands: scenarios S1 to S13 and S54 of the specification, by their numbers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.bounded.growing import grown

from midwatch.bounded import Limits, Result, run
from midwatch.bounded.spool import Store

pytestmark = pytest.mark.usefixtures("home")
MIB = 1 << 20
LINES = "import os,sys; line = b'%07d the quick brown fox jumps over the lazy dog and goes on for a while\\n'"


def lines(count: int, then: str = "") -> list[str]:
    """A program that prints so many bytes of numbered lines, fast."""
    body = "b = b''.join(line % n for n in range(4096))\nleft = {}\nwhile left > 0: left -= os.write(1, b[:left])\n{}"
    return [sys.executable, "-c", f"{LINES}\n{body.format(count, then)}"]


def gone(pid: int) -> bool:
    """It has ended; its parent may not have reaped it yet."""
    try:
        return b") Z " in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True


def whole(result: Result) -> bytes:
    """All of a spool, page after page."""
    assert result.spool
    store, at, parts = Store(), 0, []
    while True:
        page = store.read(result.spool, offset=at, length=32768, raw=True)
        parts.append(page.data)
        if page.eof:
            return b"".join(parts)
        at = page.next_offset


@pytest.mark.slow
def test_s1_a_flood_is_killed_at_a_gibibyte() -> None:
    """S1: 10 GiB of lines end at 1 GiB, with 8 MiB of memory, 40,960 bytes of text and 64 MiB on disk."""
    found = grown(
        "r = run('yes this is a line of text that goes on for ever and ever')\n"
        "out.update(state=r.state, reason=r.reason, total=r.bytes_total, text=len(r.text.encode()), ref=r.spool,\n"
        "           complete=r.spool_complete, code=r.code, notice=r.notice)"
    )
    assert (found["state"], found["reason"], found["complete"]) == ("output_limit", "output_limit", False)
    assert 1024 * MIB <= found["total"] <= 1032 * MIB
    assert found["grown"] <= 8 * MIB
    assert found["text"] <= 40_960
    assert found["code"] != 0
    info = Store().info(found["ref"])
    assert info.bytes_kept <= 64 * MIB
    assert info.kept[0] == (0, 48 * MIB)
    assert info.kept[-1] == (found["total"] - 16 * MIB, found["total"])
    assert "more than 1,073,741,824 bytes" in found["notice"]


@pytest.mark.slow
def test_s2_a_long_output_and_its_exit_code() -> None:
    """S2: 200 MiB, exit 3: exact counts, the first 12,288 bytes, the last line, a reference, 4 MiB of memory."""
    command = lines(200 * MIB, r"os.write(1, b'THE END\n'); sys.exit(3)")
    code = (
        f"cmd = {command!r}\n"
        "r = run(cmd)\n"
        "out.update(state=r.state, code=r.exit_code, total=r.bytes_total, lines=r.lines_total, head=r.head,\n"
        "           tail=r.tail, notice=r.notice, ref=r.spool, text=r.text)"
    )
    found = grown(code)
    line = b"%07d the quick brown fox jumps over the lazy dog and goes on for a while\n"
    block = b"".join(line % n for n in range(4096))
    times, rest = divmod(200 * MIB, len(block))
    assert (found["state"], found["code"]) == ("exited", 3)
    assert found["total"] == 200 * MIB + 8
    assert found["lines"] == times * 4096 + block[:rest].count(b"\n") + 1
    assert found["head"].encode() == block[:12_288]
    assert found["tail"].endswith("THE END\n")
    assert found["ref"] in found["notice"]
    assert found["text"].endswith(found["notice"] + "\n")
    assert found["grown"] <= 4 * MIB


def test_s3_what_fits_costs_no_file(home: Path) -> None:
    """S3: 39,000 bytes are shown whole, without a notice, and no spool is made."""
    result = run(lines(39_000))
    assert (result.spool, result.spool_complete, result.bytes_total) == (None, True, 39_000)
    assert (len(result.text), result.notice, result.head) == (39_000, "", result.text)
    assert not list(home.glob("spool/*"))


@pytest.mark.slow
def test_s4_one_endless_line() -> None:
    """S4: 300 MiB without a newline: no shown line over 2,048 bytes, 4 MiB of memory, a page at 299 MiB."""
    found = grown(
        "r = run(\"head -c 314572800 /dev/zero | tr '\\\\0' a\", limits=Limits(spool_cap=400 * MIB))\n"
        "lengths = list(map(len, r.text.encode().split(b'\\n')[:-2]))\n"
        "out.update(lines=r.lines_total, total=r.bytes_total, longest=max(lengths), ref=r.spool, notice=r.notice)"
    )
    assert (found["lines"], found["total"]) == (0, 300 * MIB)
    assert found["longest"] <= 2048
    assert found["grown"] <= 4 * MIB
    assert "--offset 1536" in found["notice"]
    page = Store(limits=Limits(spool_cap=400 * MIB)).read(found["ref"], line=1, column=299 * MIB, length=1000)
    assert page.data == b"a" * 1000


@pytest.mark.slow
def test_s5_a_timeout_ends_who_ignores_term() -> None:
    """S5: TERM is trapped, output goes on: over within timeout + 4 s, nobody left, no descriptor left."""
    found = grown(
        "began = time.monotonic()\n"
        "r = run(\"trap '' TERM; echo $$; while :; do yes | head -c 1000000; done\", timeout=2)\n"
        "out.update(state=r.state, code=r.code, took=time.monotonic() - began, pid=int(r.head.split()[0]))\n"
    )
    assert (found["state"], found["code"]) == ("timeout", 137)
    assert found["took"] <= 6
    assert (found["fds"], found["threads"]) == (0, 1)
    assert gone(found["pid"])


def test_s6_a_holder_of_the_pipe_is_listed_and_ended() -> None:
    """S6: the leader has ended, somebody in a session of his own holds its output: back soon, he is named and ended."""
    began = time.monotonic()
    result = run("setsid sleep 600 & exit 0")
    assert time.monotonic() - began <= 3  # 1.5 on an idle machine
    assert (result.state, result.exit_code) == ("exited", 0)
    assert [(holder.command, holder.ended) for holder in result.holders] == [("sleep 600", True)]
    assert gone(result.holders[0].pid)
    assert f"{result.holders[0].pid} (sleep 600)" in result.notice


def test_a_holder_without_marker_or_session_is_found_by_the_pipe() -> None:
    """A14: neither a cleared environment nor a double fork hides who holds our pipe."""
    result = run("(env -i setsid /bin/sleep 601 &) ; exit 4")
    assert result.exit_code == 4
    assert [holder.command for holder in result.holders] == ["/bin/sleep 601"]
    assert gone(result.holders[0].pid)


def test_who_may_go_on_goes_on() -> None:
    """detach_ok: the holder is listed and left alone."""
    result = run("sleep 3 & exit 0", detach_ok=True)
    assert [holder.ended for holder in result.holders] == [False]
    pid = result.holders[0].pid
    assert "were left running" in result.notice
    os.kill(pid, 9)


def test_who_holds_nothing_is_left_alone() -> None:
    """A helper that a command leaves in the background on purpose, without our pipe, is nobody's business."""
    result = run("sleep 3 >/dev/null 2>&1 & echo $!")
    assert (result.notice, result.holders) == ("", ())
    os.kill(int(result.text), 9)


@pytest.mark.slow
def test_s7_a_slow_disk_slows_the_command() -> None:
    """S7: where the spool takes few bytes a second, the command waits; nothing is lost, nothing grows."""
    found = grown(
        "import midwatch.bounded.spool.writer as w\n"
        "real, began = os.pwrite, time.monotonic()\n"
        "sent = [0]\n"
        "class Slow:\n"  # a token bucket at the one place where a spool's data are written
        "    def __getattr__(self, name): return getattr(os, name)\n"
        "    def pwrite(self, fd, data, at):\n"
        "        sent[0] += len(data)\n"
        "        time.sleep(max(0.0, began + sent[0] / (10 * MIB) - time.monotonic()))\n"
        "        return real(fd, data, at)\n"
        "w.os = Slow()\n"
        f"r = run({lines(50 * 10**6)!r})\n"
        "out.update(state=r.state, total=r.bytes_total, complete=r.spool_complete, took=r.duration, ref=r.spool)\n"
    )
    assert (found["state"], found["total"], found["complete"]) == ("exited", 50 * 10**6, True)
    assert found["took"] >= 4
    assert found["grown"] <= 2 * MIB
    info = Store().info(found["ref"])
    assert (info.bytes_kept, info.why) == (50 * 10**6, "")


def test_s8_a_full_disk_costs_the_spool_not_the_command() -> None:
    """S8: ENOSPC after 5 MiB: exit 0 is told, the spool is incomplete and says why, the preview is right."""
    found = grown(
        "import errno\n"
        "import midwatch.bounded.spool.writer as w\n"
        "real, room = os.pwrite, [5 * MIB]\n"
        "class Full:\n"
        "    def __getattr__(self, name): return getattr(os, name)\n"
        "    def pwrite(self, fd, data, at):\n"
        "        if room[0] <= 0 and len(data) > 200: raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "        room[0] -= len(data)\n"
        "        return real(fd, data, at)\n"
        "w.os = Full()\n"
        f"r = run({lines(100 * 10**6)!r})\n"
        "out.update(state=r.state, code=r.exit_code, total=r.bytes_total, complete=r.spool_complete, why=r.spool_why,\n"
        "           head=r.head, notice=r.notice, tail=r.tail)\n"
    )
    assert (found["state"], found["code"], found["total"]) == ("exited", 0, 100 * 10**6)
    assert found["complete"] is False
    assert "No space left" in found["why"]
    assert "No space left" in found["notice"]
    assert found["head"].startswith("0000000 the quick")
    assert len(found["head"]) == 12_288


@pytest.mark.root("mounts a small tmpfs")
def test_s8_a_small_file_system_is_full(home: Path) -> None:
    """S8 for real: a tmpfs of 8 MiB under the spool."""
    place = home / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this system does not let root mount")
    try:
        result = run(lines(100 * 10**6), folder=place / "spool", limits=Limits(spool_free=1))
        assert (result.state, result.exit_code, result.bytes_total) == ("exited", 0, 100 * 10**6)
        assert (result.spool_complete, bool(result.spool_why)) == (False, True)
        assert result.tail.endswith("for a while\n") or not result.tail.endswith("\n")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_s9_stderr_is_seen_beside_a_flood() -> None:
    """S9: 300 bytes of stderr first, then 50 MB of stdout: all 300 are shown."""
    error = "E" * 299 + "\n"
    cmd = lines(50 * 10**6)
    cmd[2] = f"import os\nos.write(2, b'E' * 299 + b'\\n')\n{cmd[2]}"
    result = run(cmd, streams="split")
    assert result.stderr is not None
    assert result.stderr.head == error
    assert error in result.text
    assert (result.bytes_total, result.stderr.bytes_total) == (50 * 10**6 + 300, 300)
    assert len(result.text.encode()) <= 40_960


def test_split_streams_never_block_each_other() -> None:
    """A2: stderr alone floods while stdout is silent."""
    result = run("yes error | head -c 20000000 >&2; echo done", streams="split")
    assert result.stdout is not None
    assert result.stderr is not None
    assert (result.stdout.head, result.stderr.bytes_total) == ("done\n", 20_000_000)


def test_s10_a_cut_inside_of_a_character() -> None:
    """S10: text of 4-byte characters: valid, no U+FFFD, and the pages are the spool's bytes."""
    result = run([sys.executable, "-c", "print('x' + '😀' * 14 + '\\n' + ('😀' * 20 + '\\n') * 3000)"])
    assert "�" not in result.text
    assert result.head.startswith("x😀")
    data = ("x" + "😀" * 14 + "\n" + ("😀" * 20 + "\n") * 3000 + "\n").encode()
    assert result.bytes_total == len(data)
    assert data.startswith(result.head.encode())
    assert 12_288 - 4 < len(result.head.encode()) <= 12_288
    assert whole(result) == data


def test_s11_binary_output() -> None:
    """S11: 5 MB of noise: said, 256 bytes of it in hex, no text."""
    result = run(["head", "-c", "5000000", "/dev/urandom"])
    assert (result.binary, result.bytes_total, result.tail) == (True, 5_000_000, "")
    assert result.head.startswith("[binary output: 5,000,000 bytes")
    assert len(bytes.fromhex("".join(result.head.split("\n")[1:]))) == 256
    assert "binary" in result.notice
    assert result.spool
    page = Store().read(result.spool, offset=1_000_000, length=1000, raw=True)
    assert page.encoding == "base64"
    assert 997 <= len(page.data) <= 1000  # never half a character, even of noise


def test_s12_progress_bars() -> None:
    """S12: two million updates of one line, coloured: its last state, no escape, and the raw bytes in the spool."""
    code = (
        "import sys\nfor n in range(200):\n"
        " sys.stdout.write(''.join(f'\\r\\x1b[32m{n * 10000 + i:>8} of 2000000\\x1b[0m' for i in range(10000)))\n"
        "print('\\r\\x1b[1mdone: 2000000\\x1b[0m')"
    )
    result = run([sys.executable, "-c", code])
    assert result.text.count("\n") <= 50
    assert "\x1b" not in result.text
    assert "done: 2000000" in result.tail
    assert result.lines_total == 1
    assert result.spool
    assert b"\r\x1b[32m       0 of 2000000\x1b[0m\r" in Store().read(result.spool, offset=0, length=200, raw=True).data


def test_a_coloured_tail_is_still_full() -> None:
    """A3: four times the tail is kept raw, so that it is full when the colours are gone."""
    result = run([sys.executable, "-c", "for n in range(30000): print(f'\\x1b[38;5;{n % 256}mline {n:>6}\\x1b[0m')"])
    assert "\x1b" not in result.text
    assert len(result.tail) > 5000  # 400 lines of 12 bytes
    assert result.tail.endswith("line  29999\n")


@pytest.mark.slow
def test_s13_64_runs_at_once() -> None:
    """S13: 64 runs of 20 MiB: memory for all, no thread and no descriptor left, nobody starves."""
    found = grown(
        "results = [None] * 64\n"
        "def one(n): results[n] = run('head -c 20971520 /dev/zero | tr \"\\\\0\" \"\\\\n\"')\n"
        "threads = [threading.Thread(target=one, args=(n,)) for n in range(64)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "out.update(totals={r.bytes_total for r in results} and sorted({r.bytes_total for r in results}),\n"
        "           states=sorted({r.state for r in results}))\n"
    )
    assert (found["totals"], found["states"]) == ([20 * MIB], ["exited"])
    assert found["grown"] <= 64 * MIB
    assert (found["fds"], found["threads"]) == (0, 1)


def test_a_repeated_command_is_told_of_its_earlier_spool() -> None:
    """A19, S54: the same command again within minutes is run, and its notice names the first reference."""
    first = run("seq 1 20000")
    other = run("seq 1 20001")
    second = run("seq 1 20000")
    assert first.spool
    assert (other.earlier, second.earlier) == (None, first.spool)
    assert f"spool {first.spool}" in second.notice
    assert run("echo short").earlier is None


def test_no_spool_keeps_nothing(home: Path) -> None:
    """Without a spool there is a preview, and the notice does not offer what is not there."""
    result = run("seq 1 20000", spool=False)
    assert (result.spool, result.spool_complete) == (None, False)
    assert "midwatch spool" not in result.text
    assert "the rest is not kept" in result.notice
    assert not list(home.glob("spool/*"))


def test_a_spool_folder_that_cannot_be_used(home: Path) -> None:
    """A run goes on when its spool cannot be made, and says so."""
    (home / "spool").write_text("a file")
    result = run("seq 1 20000")
    assert (result.state, result.lines_total, result.spool, result.spool_complete) == ("exited", 20_000, None, False)
    assert "is not kept" in result.notice


@pytest.mark.parametrize("script", ["printf '%03000d\\n' 7", "seq 1 5; printf '%03000d\\n' 7; seq 1 5"])
def test_what_is_missing_inside_of_a_line_is_where_the_notice_says(script: str) -> None:
    """A16: everything else is shown, so reading on at the line behind the last one gave nothing."""
    result = run(script)
    assert "shown from end to end" in result.notice
    words = result.notice.partition("spool read ")[2].rstrip("]").split()
    assert words[1] == "--offset"
    page = Store().read(words[0], offset=int(words[2]), length=int(words[4]))
    assert page.text.startswith(f"{7:03000d}"[1536:])


def test_a_hidden_line_in_the_middle_is_read_on_by_bytes() -> None:
    """A16: what is missing has no newline, and a line over the cap stands before it."""
    result = run("printf '%03000d\\n' 7; head -c 90000 /dev/zero | tr '\\0' x")
    words = result.notice.partition("spool read ")[2].rstrip("]").split()
    assert words[1] == "--offset"
    page = Store().read(words[0], offset=int(words[2]), length=int(words[4]))
    assert page.text.strip("x") == ""
    assert len(page.text) == 16384
