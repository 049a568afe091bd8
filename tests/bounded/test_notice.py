"""A16: one last line that a model can act on."""

from __future__ import annotations

from midwatch.bounded import notice
from midwatch.bounded.notice import Kept
from midwatch.bounded.preview import Shown

CUT = Shown("head", "tail", 12_288, 900_000, False, next_line=154, lines_left=9000)
REF = "0123456789abcdef0123456789abcdef"


def test_a_cut_is_no_error_and_the_next_command_is_there() -> None:
    """Numbers of what is missing, how it ended, and a command that works as it stands."""
    line = notice.write("finished, exit 0", [CUT], 920_480, 11_000, Kept(REF, True), [])
    assert "finished, exit 0; the output is long, that is not an error" in line
    assert "920,480 bytes, 11,000 lines in all" in line
    assert "omitted: bytes 12,288 to 899,999 (887,712)" in line
    assert f"midwatch spool read {REF} --line 154 --count" in line
    assert "\n" not in line


def test_without_newlines_it_goes_on_by_bytes() -> None:
    one = CUT._replace(lines_left=0)
    line = notice.write("finished, exit 0", [one], 920_480, 0, Kept(REF, True), [])
    assert f"midwatch spool read {REF} --offset 12288 --length" in line


def test_what_is_not_kept_is_said_with_its_reason() -> None:
    lost = notice.write("finished, exit 0", [CUT], 1, 1, Kept(None, False, "no spool was wanted"), [])
    assert "the rest is not kept (no spool was wanted)" in lost
    half = notice.write("finished, exit 0", [CUT], 1, 1, Kept(REF, False, "the disk is full"), [])
    assert "the spool is not complete (the disk is full)" in half


def test_it_stays_one_short_line_whatever_others_say() -> None:
    """A command's name or an error's text cannot break the line nor blow it up."""
    long = notice.holders([(4711, "evil\nname\x1b[31m" * 40)] * 20, left=False)
    line = notice.write("not started: " + "x" * 100, [], 0, 0, Kept(None, True), [long, "y" * 5000])
    assert line.isprintable()
    assert len(line) < 700
    assert "and 16 more" in long


def test_endings_in_words() -> None:
    assert notice.ended("signaled", None, 9, "") == "ended by SIGKILL, which midwatch did not send"
    assert notice.ended("signaled", None, 250, "") == "ended by signal 250, which midwatch did not send"
    assert notice.ended("exited", None, None, "") == "finished, exit code unknown"
    assert notice.ended("timeout", None, 15, "ended after 2 s") == "ended after 2 s"
