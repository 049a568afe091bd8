"""What a meter reads under cgroup v2 with its memory controller and Linux 6.1: `make test-vm`. Not in the ordinary run:
an emulated machine takes its time. What is claimed is in vm/readings_job.py."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.real.test_vm import HERE, SCRIPT, SECONDS, asked, cache, job


@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.root("to build the VM's disk")
def test_a_v2_group_and_an_older_kernel_are_read_right_in_a_vm(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """guards 2.2, 2.4, 3.1: the group's number without its cache, the peak, the limit, descriptors by listing."""
    if os.environ.get("MIDWATCH_VM") != "1":
        pytest.skip("`make test-vm` runs it")
    if missing := asked("missing"):
        pytest.skip(f"no VM: {missing}")
    with capfd.disabled():  # minutes: the lines are shown as they come
        subprocess.run([SCRIPT, "build", str(cache())], check=True, timeout=SECONDS)
        job(tmp_path)
        shutil.copy(HERE / "readings_job.py", tmp_path / "job.py")
        done = subprocess.run([SCRIPT, "run", str(cache()), str(tmp_path), str(SECONDS)], check=False)
    assert done.returncode == 0
