"""DOC-24: processes near their limit of open files, real ones too."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.inspect.doctor.machines import Machine, ctx, proc

from midwatch.inspect.doctor import files
from midwatch.inspect.doctor.run import run
from midwatch.inspect.sources.live import Live

LIMITS = "Max open files            256                  256                  files\n"


@pytest.mark.parametrize(("count", "status"), [(100, "pass"), (190, "warn"), (230, "fail")])
def test_near_the_limit(machine: Machine, count: int, status: str) -> None:
    """Over 70 % warns, over 85 % or fewer than 64 left fails, and what most of them are is said."""
    machine.add(proc(5, "python app.py"))
    machine.links = {f"/proc/5/fd/{n}": "/d/state.db" for n in range(count)}
    machine.put("/proc/5/limits", LIMITS)
    (found,) = run(ctx(machine), [files.CHECK])
    assert found.status == status
    if status != "pass":
        assert f"{count} x /d/state.db" in found.message


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/PID/fd")
def test_a_real_process_at_its_limit() -> None:
    """A real process with 200 of 220 descriptors open."""
    code = (
        "import resource, os; resource.setrlimit(resource.RLIMIT_NOFILE, (220, 220));"
        "kept = [os.open('/dev/null', 0) for _ in range(200)]; print('up', flush=True); input()"
    )
    pipe = subprocess.PIPE
    toy = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe)
    try:
        assert toy.stdout
        toy.stdout.readline()
        found = [
            one for one in run(ctx(Live()), [files.CHECK]) if any(who.pid == toy.pid for who in one.offenders)
        ]
        assert [one.status for one in found] == ["fail"]
        assert "x /dev/null" in found[0].message
    finally:
        toy.kill()
        toy.communicate()


def test_nobody_to_count_is_a_skip(machine: Machine) -> None:
    """GEN-7."""
    assert [one.status for one in run(ctx(machine), [files.CHECK])] == ["skip"]
