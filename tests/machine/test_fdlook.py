"""What a look at a real process's descriptors tells the leak watch (FDW-3, S1-S3, S5, S7)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("needs /proc", allow_module_level=True)

from midwatch.machine.linux.fdlook import look


@contextmanager
def process(tmp_path: Path, code: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that says "ready" once its code has run, then waits."""
    script = textwrap.dedent(code) + "\nprint('ready', flush=True)\nimport time\ntime.sleep(120)\n"
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=tmp_path)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        yield child
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def test_the_same_database_many_times(tmp_path: Path) -> None:
    """S1: twelve connections of one database are twelve -wal handles."""
    code = """
        import sqlite3
        kept = []
        for _ in range(12):
            db = sqlite3.connect("state.db")
            db.execute("pragma journal_mode=wal")
            db.execute("create table if not exists t (x)")
            db.commit()
            kept.append(db)
    """
    with process(tmp_path, code) as child:
        found = look(child.pid, [], 1.0)
    assert found is not None
    assert found.at == 1.0
    assert found.kinds()["sqlite-wal"] == 12
    assert (str(tmp_path / "state.db-wal"), "sqlite-wal", 12) in found.targets


def test_deleted_files_and_what_they_take(tmp_path: Path) -> None:
    """S3: a deleted file that is open twice is counted once; a deleted database is named."""
    code = """
        import os
        a = open("big.log", "wb"); a.write(b"x" * 1_000_000); a.flush()
        b = open("big.log", "rb")
        c = open("old.db", "wb")
        os.unlink("big.log"); os.unlink("old.db")
    """
    with process(tmp_path, code) as child:
        found = look(child.pid, [], 0.0)
    assert found is not None
    assert found.deleted_bytes is not None
    assert 1_000_000 <= found.deleted_bytes < 1_500_000
    assert found.deleted_databases == (str(tmp_path / "old.db"),)


def test_half_closed_sockets_name_their_peers(tmp_path: Path) -> None:
    """S2: the peer has left, this process did not close."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"""
            import socket
            kept = [socket.create_connection(("127.0.0.1", {port})) for _ in range(3)]
        """
        with process(tmp_path, code) as child:
            for _ in range(3):
                server.accept()[0].close()
            until = time.monotonic() + 10
            while True:
                found = look(child.pid, [], 0.0)
                if (found and len(found.half_closed) == 3) or time.monotonic() > until:
                    break
    assert found is not None
    assert {peer for _, peer in found.half_closed.values()} == {f"127.0.0.1:{port}"}


def test_pipes_without_another_end(tmp_path: Path) -> None:
    """S5: twenty ends whose other end nobody has; pipes with both ends here do not count."""
    code = """
        import os
        kept = []
        for _ in range(20):
            r, w = os.pipe()
            os.close(w)
            kept.append(r)
        both = [os.pipe() for _ in range(20)]
    """
    with process(tmp_path, code) as child:
        found = look(child.pid, [], 0.0, seconds=20.0)
    assert found is not None
    assert found.orphan_pipes == 20


def test_what_a_child_has_inherited(tmp_path: Path) -> None:
    """S7: a socket without CLOEXEC is still open in the child; its standard streams do not count."""
    code = """
        import socket, subprocess, sys
        s = socket.socket(); s.set_inheritable(True)
        child = subprocess.Popen(["sleep", "120"], close_fds=False)
        print(child.pid, flush=True)
    """
    script = textwrap.dedent(code) + "\nimport time\ntime.sleep(120)\n"
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        found = look(parent.pid, [child], 0.0)
    finally:
        parent.kill()
        os.kill(child, 9)
        parent.wait()
        parent.stdout.close()
    assert found is not None
    assert [who for who, _ in found.inherited] == [f"pid {child}"]


def test_who_is_gone_is_not_guessed(tmp_path: Path) -> None:
    """Absent is None, never an empty table."""
    with process(tmp_path, "") as child:
        pass
    assert look(child.pid, [], 0.0) is None
