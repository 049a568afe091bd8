"""`midwatch spool`: what a person and a script see, and what is refused."""

from __future__ import annotations

import base64
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from midwatch.bounded.limits import Limits
from midwatch.bounded.spool import Store
from midwatch.front.cli.declare import Failure, Usage
from midwatch.front.cli.quick import read
from midwatch.front.cli.spool import VERB


def spool(*words: str) -> int:
    values = read(VERB, list(words))
    assert values is not None
    return VERB.run(**values)


@pytest.fixture
def store(home: Path) -> Store:
    return Store(home / "spool", Limits(spool_free=1))


@pytest.fixture
def ref(store: Store) -> str:
    writer = store.begin(command=["make", "all"], cwd="/src")
    writer.write(b"".join(b"line %04d\n" % number for number in range(1, 2001)) + b"error: last\n")
    return writer.close({"exit_code": 3, "state": "exited", "reason": None}).ref


def test_a_page_says_how_to_read_on(ref: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By line on by line, by byte on by byte; the offered command is one."""
    assert spool("read", ref, "--line", "10", "--count", "2") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[:2] == ["line 0010", "line 0011"]
    assert out[2] == f"[bytes 90 to 109 of 20,012, lines 10 to 11; more: midwatch spool read {ref} --line 12]"
    assert spool("read", ref, "--offset", "95", "--length", "4") == 0
    assert capsys.readouterr().out.endswith(
        f"[bytes 95 to 98 of 20,012, line 10; more: midwatch spool read {ref} --offset 99]\n"
    )
    assert spool("read", ref, "--line", "2001") == 0
    assert capsys.readouterr().out.endswith("line 2,001; this is the end]\n")


def test_raw_is_for_pipes(store: Store, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """The very bytes on stdout, also binary ones; the notice on stderr."""
    writer = store.begin()
    writer.write(bytes(range(256)) * 10)
    found = writer.close()
    assert spool("read", found.ref, "--raw") == 0
    out, err = capfdbinary.readouterr()
    assert out == bytes(range(256)) * 10
    assert err.startswith(b"[bytes 0 to 2,559 of 2,560")
    assert spool("read", found.ref, "--json") == 0
    page = json.loads(capfdbinary.readouterr().out)
    assert base64.b64decode(page["text"]) == out


def test_search_tail_info(ref: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Matches with lines around them; exit 1 where there is none; facts of the command."""
    assert spool("search", ref, "^err", "-B", "1") == 0
    assert capsys.readouterr().out == "2000- line 2000\n2001:1: error: last\n--\n[1 match]\n"
    assert spool("search", ref, "^warn") == 1
    assert spool("search", ref, "LINE 0001", "-i", "-F", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["matches"][0]["line"] == 1
    assert spool("tail", ref, "-n", "1") == 0
    assert capsys.readouterr().out.startswith(
        "error: last\n[bytes 20,000 to 20,011 of 20,012, line 2,001; this is the end]"
    )
    assert spool("tail", ref, "-f") == 0
    assert spool("info", ref) == 0
    out = capsys.readouterr().out
    assert "of         make all\nin         /src\n" in out
    assert "output     20,012 bytes, 2,001 lines\nkept       bytes 0 to 20,011\n" in out
    assert "exit code  3\nresult     exited\n" in out
    assert "reason" not in out


def test_follow_ends_with_its_command(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """tail -f shows what comes, once, and ends when the writer does."""
    writer = store.begin()
    writer.write(b"one\ntwo\n")
    assert writer.ref is not None

    def later() -> None:
        time.sleep(0.5)
        writer.write(b"three\n")
        time.sleep(0.5)
        writer.write(b"four\n")
        writer.close()

    thread = threading.Thread(target=later)
    thread.start()
    assert spool("tail", writer.ref, "-n", "1", "-f") == 0
    thread.join()
    out = capsys.readouterr().out
    assert out.startswith("two\nthree\nfour\n[")
    assert out.endswith("this is the end]\n")


def test_list_and_release(ref: str, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a word: all of them. What is released is still listed, as gone, with its reason."""
    assert spool() == 0
    out = capsys.readouterr().out
    assert ref in out
    assert f"1 spool, 20K in {store.folder}" in out
    assert spool("release", ref) == 0
    assert capsys.readouterr().out == f"{ref} released, 20K are free again\n"
    assert spool("list", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema_version"] == 1
    assert (told["spools"][0]["state"], told["spools"][0]["bytes_kept"]) == ("gone", 0)
    with pytest.raises(Failure, match="released; 'midwatch spool list' shows all") as caught:
        spool("read", ref)
    assert caught.value.code == 1
    assert spool("info", ref) == 0
    assert "kept       nothing: removed at" in capsys.readouterr().out


def test_nothing_yet(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An instance without spools says where they would be."""
    assert spool() == 0
    assert f"no spools in {home}/spool" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["eat"], "there is no 'spool eat'"),
        (["read"], "which spool?"),
        (["read", "a", "b"], "'b' is too many"),
        (["read", "../../etc/passwd"], "no spool reference"),
        (["read", "REF", "--line", "0"], "line is 0"),
        (["read", "REF", "--line", "1", "--offset", "1"], "either an offset or a line"),
        (["search", "REF"], "one reference and one pattern"),
        (["search", "REF", "("], "bad pattern"),
        (["search", "REF", "x", "--max", "9999"], "max is 9999: 1 to 200"),
        (["info", "REF", "-f"], "--follow does not belong to 'spool info'"),
        (["tail", "REF", "--line", "3"], "--line does not belong to 'spool tail'"),
        (["list", "REF"], "takes nothing"),
    ],
)
def test_what_is_wrong_is_said(ref: str, words: list[str], said: str) -> None:
    """Exit 2, one line, nothing done."""
    with pytest.raises((Usage, Failure)) as caught:
        spool(*(ref if word == "REF" else word for word in words))
    assert said in str(caught.value)
    assert caught.value.code == 2


def test_every_option_belongs_somewhere() -> None:
    """An option that no action takes would be refused by all."""
    from midwatch.front.cli import spool as module

    taken: set[Any] = set().union(*module._FOR.values())
    assert {opt.dest for opt in VERB.opts} - {"json", "session"} == taken


def test_a_session_sees_its_own(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was kept for a token is unknown to another one; without a token the owner sees all."""
    limits = Limits(spool_free=1)
    refs = []
    for token in ("mine", "other"):
        writer = Store(home / "spool", limits, session=token).begin(command=["make"])
        writer.write(b"text\n")
        refs.append(writer.close({}).ref)
    assert spool("read", refs[0], "--session", "mine") == 0
    with pytest.raises(Failure, match="no spool") as caught:
        spool("read", refs[1], "--session", "mine")
    assert caught.value.code == 2
    capsys.readouterr()
    assert spool("list", "--session", "other", "--json") == 0
    assert [one["ref"] for one in json.loads(capsys.readouterr().out)["spools"]] == [refs[1]]
    assert spool("read", refs[0]) == spool("read", refs[1]) == 0


def test_json_offers_the_same_command(ref: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By line on by line, as the text does."""
    assert spool("read", ref, "--line", "10", "--count", "2", "--json") == 0
    assert json.loads(capsys.readouterr().out)["notice"].endswith(f"{ref} --line 12]")
