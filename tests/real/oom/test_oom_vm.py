"""Who killed it, under cgroup v2 with the memory controller, Linux 6.1 and Yama: `make test-vm`. Not in the ordinary
run: an emulated machine takes its time. What is claimed is in ../vm/oom_job.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.real.test_vm import SECONDS, in_vm


@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.root("to build the VM's disk")
def test_oom_kills_are_told_apart_in_a_vm(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """guards 7, 11: limits of a v2 group, the kernel's kill of a whole group, somebody's kill, the declared tracer."""
    in_vm(tmp_path, capfd, "oom_job.py")
