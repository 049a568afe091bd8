"""DOC-17: lines of large and small disks, inodes, and what grows."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.inspect.doctor.machines import Machine, ctx

from midwatch.inspect.doctor import disk
from midwatch.inspect.doctor.run import run
from midwatch.inspect.sources.live import Live

G = 1 << 30


@pytest.mark.parametrize(
    ("total", "free", "status"),
    [
        (500 * G, 60 * G, "pass"), (500 * G, 40 * G, "warn"), (500 * G, 20 * G, "fail"), (64 * G, 9 * G, "warn"),
        (64 * G, 1 * G, "fail"), (2 * G, 1 * G, "pass"), (2 * G, 400 << 20, "warn"), (2 * G, 50 << 20, "fail"),
    ],
)  # fmt: skip
def test_lines_of_large_and_small_disks(machine: Machine, total: int, free: int, status: str) -> None:
    """Under 10 % or 10 GiB warns, under 5 % or 2 GiB fails; a small disk has lines of its own size."""
    machine.spaces["/"] = (total, free, 1000, 900)
    (found,) = run(ctx(machine), [disk.CHECK])
    assert found.status == status


def test_few_inodes_are_told(machine: Machine) -> None:
    """Inodes likewise: a disk with room for bytes but not for files."""
    machine.spaces["/"] = (500 * G, 400 * G, 1000, 30)
    (found,) = run(ctx(machine), [disk.CHECK])
    assert found.status == "fail"
    assert "30 of 1,000 inodes free" in found.message


def test_a_full_disk_names_what_grows(mac: Machine) -> None:
    """The VM's image and the uv cache are named with what makes them smaller."""
    mac.home = "/Users/me"
    mac.spaces["/"] = (500 * G, 10 * G, 0, 0)
    mac.sizes["/Users/me/Library/Containers/com.docker.docker/Data/vms/0/data/Docker.raw"] = 60 * G
    mac.sizes |= {f"/Users/me/.cache/uv/archive-v0/{n}": 1 for n in range(1500)}
    (found,) = run(ctx(mac), [disk.CHECK])
    assert found.status == "fail"
    assert [one.detail for one in found.offenders] == ["docker system prune", "uv cache prune"]
    assert found.hint == "docker system prune"


def test_one_disk_is_told_once_and_a_refused_one_is_a_skip(machine: Machine) -> None:
    """Several folders of one disk are one line; a disk that may not be asked is a skip."""
    machine.spaces = dict.fromkeys(("/", "/home/me", "/tmp"), (500 * G, 400 * G, 10, 9))

    class Refusing(Machine):
        def space(self, path: str) -> tuple[int, int, int, int]:
            if path == "/var/lib/docker":
                raise PermissionError(13, "Permission denied", path)
            return machine.space(path)

    found = run(ctx(Refusing()), [disk.CHECK])
    assert [one.status for one in found] == ["pass", "skip"]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 64 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no tmpfs may be mounted: {done.stderr.decode()[:80]}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_real_small_disk_fills(small: Path) -> None:
    """A real tmpfs: calm when empty, fail when full."""

    def status() -> str:
        found = run(ctx(Live(), paths=(str(small),)), [disk.CHECK])
        return next(one.status for one in found if one.evidence.get("path") == str(small))

    assert status() == "pass"
    (small / "log").write_bytes(b"\0" * (62 << 20))
    assert status() == "fail"
