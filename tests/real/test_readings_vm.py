"""What a meter reads under cgroup v2 with its memory controller and Linux 6.1: `make test-vm`. Not in the ordinary run:
an emulated machine takes its time. What is claimed is in vm/readings_job.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.real.test_vm import SECONDS, in_vm


@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.root("to build the VM's disk")
def test_a_v2_group_and_an_older_kernel_are_read_right_in_a_vm(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """guards 2.2, 2.4, 3.1: the group's number without its cache, the peak, the limit, descriptors by listing."""
    in_vm(tmp_path, capfd, "readings_job.py")
