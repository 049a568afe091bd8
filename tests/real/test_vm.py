"""Under an older kernel, cgroup v2 and systemd in a VM: `make test-vm`. Not in the ordinary run: building the image
takes minutes and a gigabyte of the cache folder. What is claimed is in vm/job.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "vm"
ROOT = Path(__file__).parents[2]
SCRIPT = str(HERE / "v2-vm")
SECONDS = 900  # the processor is emulated, and the machine may be busy


def cache() -> Path:
    """Where the image lives."""
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(os.environ.get("MIDWATCH_VM_CACHE") or Path(base) / "midwatch-vm")


def asked(*words: str) -> str:
    """What the script answers."""
    return subprocess.run([SCRIPT, *words], capture_output=True, text=True, check=True).stdout.strip()


def job(folder: Path) -> None:
    """The program, what it needs for the guest's Python, and the script that runs inside."""
    version = asked("python", str(cache()))
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    pip += ["--target", str(folder / "site"), "--python-version", version, "--only-binary=:all:"]
    subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), *needs], check=True, timeout=300)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "run.sh").write_text("export PYTHONPATH=/job/src:/job/site\nexec python3 job.py\n")


def in_vm(folder: Path, capfd: pytest.CaptureFixture[str], script: str) -> None:
    """Run one of vm/*.py inside, with the project; it has to end with 0. Skips where there is no VM to be had."""
    if os.environ.get("MIDWATCH_VM") != "1":
        pytest.skip("`make test-vm` runs it")
    if missing := asked("missing"):
        pytest.skip(f"no VM: {missing}")
    with capfd.disabled():  # minutes: the lines are shown as they come
        subprocess.run([SCRIPT, "build", str(cache())], check=True, timeout=SECONDS)
        job(folder)
        shutil.copy(HERE / script, folder / "job.py")
        done = subprocess.run([SCRIPT, "run", str(cache()), str(folder), str(SECONDS)], check=False)
    assert done.returncode == 0


@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.root("to build the VM's disk")
def test_killed_with_its_engine_ten_times_in_a_vm(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """D9, D11, ORP-7, ORP-9, scenarios 22 and 45: adopted with their memory limits; no wrong exit code."""
    in_vm(tmp_path, capfd, "job.py")
