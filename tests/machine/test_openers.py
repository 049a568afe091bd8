"""Who has a file open, and on which file system it is: against this very process, and recorded mount tables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
if sys.platform.startswith("linux"):
    from midwatch.machine.linux.openers import mounted, openers, remote

MOUNTS = b"""\
22 1 0:20 / / rw,relatime - overlay overlay rw
30 22 0:21 / /proc rw - proc proc rw
40 22 0:30 / /srv rw - ext4 /dev/sda1 rw
41 40 0:31 / /srv/share rw - nfs4 files:/x rw
42 22 0:32 / /mnt/with\\040space rw - virtiofs host rw
43 22 0:33 / /over rw - ext4 /dev/sda2 rw
44 43 0:34 / /over rw - 9p drive rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/a.db", "ext4"),
        ("/srv/share/a.db", "nfs4"),
        ("/srv/shared/a.db", "ext4"),
        ("/mnt/with space/a.db", "virtiofs"),
        ("/over/a.db", "9p"),
        ("/a.db", "overlay"),
    ],
)
def test_the_innermost_and_last_mount_counts(path: str, kind: str) -> None:
    """WAL-5: the type of the file system that a path is on."""
    assert mounted(MOUNTS, path) == kind


def test_a_disk_of_this_machine_is_not_remote(tmp_path: Path) -> None:
    """WAL-5: no finding for an ordinary disk; nothing is known of a table that cannot be read."""
    assert remote(str(tmp_path / "a.db")) == ""
    assert mounted(b"nonsense\n", "/a") == ""


def test_all_processes_that_have_it_open_the_oldest_first(tmp_path: Path) -> None:
    """WAL-3: pid, age, command and how often; also of a file that is deleted meanwhile; the others are not named."""
    path = tmp_path / "a.db-wal"
    path.write_bytes(b"x")
    code = "import sys, time; kept = [open(sys.argv[1]) for _ in range(3)]; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-S", "-c", code, str(path)], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            with path.open("rb"):
                path.unlink()
                rows = openers([str(path), str(tmp_path / "other")])
        finally:
            child.kill()
    assert rows[str(tmp_path / "other")] == []
    found = {one.pid: one for one in rows[str(path)]}
    assert found.keys() == {os.getpid(), child.pid}
    assert found[child.pid].handles == 3
    assert found[os.getpid()].handles == 1
    assert "print(flush=True)" in found[child.pid].command
    assert [one.age for one in rows[str(path)]] == sorted((one.age for one in rows[str(path)]), reverse=True)
