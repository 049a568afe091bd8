"""The worker that searches: patterns that explode, trees that are traps, and what it costs who asks."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from tests.bounded.growing import grown

from midwatch.bounded.limits import Limits
from midwatch.bounded.search import SearchError, running, search
from midwatch.bounded.spool import SpoolError, Store
from midwatch.policy import defaults_bounded as d

MIB = 1 << 20
SPOOL = """
from midwatch.bounded.spool import Store
store = Store(os.environ["FOLDER"], Limits(spool_free=1))
"""


def _spool(folder: Path, *pieces: bytes) -> str:
    writer = Store(folder, Limits(spool_free=1)).begin()
    for piece in pieces:
        writer.write(piece)
    return writer.close().ref


@pytest.mark.parametrize("end", [b"", b"b", b"\n"])
def test_s15_a_regex_that_explodes_is_stopped(tmp_path: Path, end: bytes) -> None:
    """S15: `(a+)+$` on 10 MiB of 'a': at most 2 s of CPU, the partial result says so, the next search answers."""
    ref = _spool(tmp_path / "s", b"a" * 10 * MIB, end)
    store = Store(tmp_path / "s", Limits(spool_free=1))
    before = time.process_time()
    children = _children()
    found = store.search(ref, "(a+)+$")
    assert _children() - children <= d.SEARCH_CPU + 1.0
    assert time.process_time() - before < 1.0
    if not found.complete:
        assert found.why == "stopped after 2 s of processor time: the pattern explodes on this text"
        assert "there may be more" in found.text()
    if end == b"b":
        assert not found.complete
    assert store.search(ref, "a", most=1).matches


def _children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def test_a_regex_that_explodes_in_a_tree(tmp_path: Path, home: Path) -> None:
    """One file is enough: the search ends after 2 s of CPU with what it has found before, not after 60 s."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root/1").write_text("aaab\n")
    (tmp_path / "root/2").write_text("a" * 60_000 + "c")
    (tmp_path / "root/3").write_text("aaab\n")
    began = time.monotonic()
    found = search(tmp_path / "root", "(a+)+b", regex=True)
    assert [hit.path[-1] for hit in found.hits] == ["1", "3"]  # 2 has no "b": it is not even tried
    found = search(tmp_path / "root", "(a+)+[b-]$", regex=True)
    assert [hit.path[-1] for hit in found.hits] == ["1"]
    assert not found.complete
    assert "explodes" in found.why
    assert time.monotonic() - began < 40


def test_who_needs_too_much_memory_is_stopped(tmp_path: Path) -> None:
    """A pattern whose machine would take gigabytes: refused or stopped, never grown into."""
    ref = _spool(tmp_path / "s", b"ab" * 500_000)
    store = Store(tmp_path / "s", Limits(spool_free=1))
    for pattern in (
        "(?:a|b|c){1,65000}d" * 60,
        "((((a{1,500}){1,500}){1,500}){1,500})c",
        "(" * 90 + "a" + ")" * 90,
    ):
        try:
            store.search(ref, pattern)
        except SpoolError:
            continue


def test_a_killed_worker_is_a_partial_answer(tmp_path: Path, home: Path) -> None:
    """Somebody kills it in the middle: what it said counts, the rest is said to be missing, no child is left."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "0").write_text("needle\n")
    (root / "1").write_bytes(b"a" * 5 * MIB + b"needle")
    killed = threading.Thread(target=_kill_child)
    killed.start()
    found = search(root, "(x|a|b|c)*d$|needle", regex=True)
    killed.join()
    assert not found.complete
    assert found.why
    assert not [child for child in psutil.Process().children() if "worker" in " ".join(child.cmdline())]


def _kill_child() -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for child in psutil.Process().children():
            try:
                if "worker.py" in " ".join(child.cmdline()) and child.cpu_times().user > 0.1:
                    child.send_signal(signal.SIGKILL)
                    return
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.02)


def test_a_stopped_worker_is_killed_at_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not answer at all: a second after its time it is gone."""
    monkeypatch.setattr(running, "_WORKER", os.devnull)
    said: list[object] = []
    assert running.run({"wall": 1.0}, said.append) == ""
    assert said == []
    script = Path(os.environ.get("TMPDIR", "/tmp")) / f"mw-sleeper-{os.getpid()}.py"
    script.write_text("import time; time.sleep(60)")
    try:
        monkeypatch.setattr(running, "_WORKER", str(script))
        began = time.monotonic()
        assert "did not end in its time" in running.run({"wall": 0.3}, said.append)
        assert time.monotonic() - began < 20
    finally:
        script.unlink()


def test_s16_a_home_full_of_traps(tmp_path: Path, home: Path) -> None:
    """S16: 60 GB sparse, a FIFO, a link to /dev/zero, 50 MB of one line, our own folders: in time, small, all said."""
    root = tmp_path / "root"
    (root / "spool").mkdir(parents=True)
    with open(root / "disk.img", "wb") as file:
        file.truncate(60 << 30)
    os.mkfifo(root / "fifo")
    (root / "zero").symlink_to("/dev/zero")
    (root / "one.json").write_bytes(b'{"x": "' + b"y" * 50_000_000 + b'"}')
    (root / "min.js").write_bytes(b"var x=1;" * 1_000_000)
    (root / "self").symlink_to(root)
    for number in range(300):
        (root / f"{number}.txt").write_text("some x here\n" * 5)
    for _ in range(50):
        Store(root / "spool", Limits(spool_free=1)).begin().close()
    code = (
        SPOOL
        + """
from midwatch.bounded.search import search
found = search(os.environ["ROOT"], ".*x.*", regex=True, store=store)
text = found.text()
out.update(size=len(text.encode()), matches=found.matches, why=found.why,
           longest=max(len(h.excerpt.encode()) for h in found.hits),
           skipped={s.reason: s.count for s in found.skipped}, seconds=found.duration_ms / 1000, shown=text[-900:])
"""
    )
    out = grown(code, FOLDER=str(root / "spool"), ROOT=str(root))
    assert out["why"] == ""
    assert out["matches"] > 1500
    assert out["longest"] <= 200
    assert out["size"] <= 40_960
    assert out["seconds"] <= 60
    assert out["skipped"] == {
        "larger than 10,485,760 bytes": 2, "FIFO": 1, "device": 1, "link to a folder": 1, "midwatch's own folder": 1,
    }  # fmt: skip
    assert "left out: 2 larger than 10,485,760 bytes" in out["shown"]
    assert out["grown"] <= 16 * MIB
    assert out["fds"] == 0


def test_s17_the_search_of_the_report(tmp_path: Path, home: Path) -> None:
    """S17, its part here: 2,008 matches in 1,191 files, lines of 1 MB: 40,960 bytes, the full list in a spool."""
    root = tmp_path / "root"
    root.mkdir()
    for number in range(1191):  # sparse: 2 GB are read, but they take no disk
        with open(root / f"{number:04}.log", "wb") as file:
            for begin in range(0, 1_000_000 * (2 if number < 817 else 1), 1_000_000):
                file.write(b"z" * 9000)
                file.seek(begin + 500_000)
                file.write(b"needle")
                file.seek(begin + 999_999)
                file.write(b"\n")
    code = (
        SPOOL
        + """
from midwatch.bounded.search import search
found = search(os.environ["ROOT"], ".*needle.*", regex=True, store=store)
out.update(size=len(found.text().encode()), matches=found.matches, files=found.files,
           lines=store.info(found.spool).lines_total, last=store.tail(found.spool, 1).text, whole=found.spool_complete)
"""
    )
    out = grown(code, FOLDER=str(tmp_path / "s"), ROOT=str(root))
    assert out["matches"] == out["lines"] == 2008
    assert out["files"] == 1191
    assert out["whole"]
    assert "1190.log:1:" in out["last"]
    assert out["size"] <= 40_960
    assert out["grown"] <= 8 * MIB  # the report: 26 GB


def test_s14_a_line_far_down(tmp_path: Path) -> None:
    """S14: line 700,000 of 800,000: the exact lines, at most 1 MiB of growth; its time is in the bench."""
    ref = _spool(
        tmp_path / "s",
        *(b"".join(b"%079d\n" % n for n in range(at, at + 8000)) for at in range(1, 800_001, 8000)),
    )
    code = (
        SPOOL
        + f"""
store.read({ref!r}, line=5)
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = high()
page = store.read({ref!r}, line=700_000, count=100)
out.update(first=int(page.text.split()[0]), last=int(page.text.split()[-1]), lines=page.text.count("\\n"))
"""
    )
    out = grown(code, FOLDER=str(tmp_path / "s"))
    assert (out["first"], out["last"], out["lines"]) == (700_000, 700_099, 100)
    assert out["grown"] <= MIB


def test_s4_reading_inside_an_endless_line(tmp_path: Path) -> None:
    """S4, its paging: column 299 MiB of a line of 300 MiB, at most 4 MiB of growth while writing and reading it."""
    code = (
        SPOOL
        + """
block = b"0123456789abcdef" * 16384
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = high()
writer = store.begin()
for _ in range(1200):
    writer.write(block)
ref = writer.close().ref
page = store.read(ref, line=1, column=299 * MIB + 7)
out.update(text=page.text[:9], line=page.line, newlines=page.lines_total, shown=len(store.read(ref, line=1).text))
"""
    )
    out = grown(code, FOLDER=str(tmp_path / "s"))
    assert (out["text"], out["line"], out["newlines"]) == ("789abcdef", 1, 0)
    assert out["shown"] <= 2048
    assert out["grown"] <= 4 * MIB


def test_the_pattern_is_refused_before_anything_runs(tmp_path: Path, home: Path) -> None:
    """A bad expression is an error of the caller, at once."""
    with pytest.raises(SearchError, match="bad pattern"):
        search(tmp_path, "(", regex=True)
