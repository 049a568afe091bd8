"""process_mrelease: what each answer of the kernel means, and that it is never waited for."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading

import pytest

from midwatch.machine.linux import mrelease


@pytest.mark.parametrize(
    ("number", "meaning"),
    [
        (0, "done"), (errno.ESRCH, "done"), (errno.EINVAL, "again"), (errno.EAGAIN, "again"), (errno.EINTR, "again"),
        (errno.ENOSYS, "never"), (errno.EPERM, "refused"), (errno.EBADF, "refused"),
    ],
)  # fmt: skip
def test_g7_each_answer_is_mapped(number: int, meaning: str) -> None:
    """guards 13.7: 0, ESRCH, EINVAL, ENOSYS."""
    assert mrelease.outcome(number) == meaning


class Kernel:
    """Answers each call with one errno."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.asked: list[int] = []

    def call(self, fd: int) -> int:
        self.asked.append(fd)
        return self.number


def test_g7_einval_and_eagain_are_tried_three_times() -> None:
    """It is not dying yet, or its memory is locked: bounded."""
    for number in (errno.EINVAL, errno.EAGAIN):
        kernel = Kernel(number)
        releaser = mrelease.Releaser(kernel.call)
        assert releaser.release(7) == "again"
        assert (kernel.asked, releaser.why) == ([7, 7, 7], "")
    answers = iter([errno.EINVAL, 0])
    assert mrelease.Releaser(lambda _: next(answers)).release(7) == "done"


def test_g7_enosys_is_remembered() -> None:
    """A kernel before 5.15 is asked once."""
    kernel = Kernel(errno.ENOSYS)
    releaser = mrelease.Releaser(kernel.call)
    assert [releaser.release(fd) for fd in (7, 8)] == ["never", "never"]
    assert kernel.asked == [7]
    assert releaser.why == "needs Linux 5.15"
    assert releaser.start([os.dup(0)]) is False


def test_it_works_in_a_thread_and_closes_what_it_was_given() -> None:
    """The caller goes on at once, even while the kernel takes its time; a second order is not queued."""
    hold, called = threading.Event(), threading.Event()

    def slow(fd: int) -> int:
        called.set()
        hold.wait(10)
        return 0

    releaser = mrelease.Releaser(slow)
    first, second = os.dup(0), os.dup(0)
    assert releaser.start([first]) is True
    assert called.wait(10)
    assert releaser.start([second]) is False
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(second)
    hold.set()
    [thread] = [t for t in threading.enumerate() if t.name == "mrelease"] or [threading.current_thread()]
    if thread.name == "mrelease":
        thread.join(10)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(first)


def test_the_real_call_on_a_process_that_lives_and_one_that_is_gone() -> None:
    """EINVAL while nobody has killed it; after its end 0 or ESRCH."""
    child = subprocess.Popen(["sleep", "30"])
    fd = os.pidfd_open(child.pid)
    number = mrelease.system_call(fd)
    if number == errno.ENOSYS:
        pytest.skip("Linux before 5.15")
    assert mrelease.outcome(number) == "again"
    child.kill()
    assert mrelease.Releaser().release(fd) == "done"
    child.wait(10)
    os.close(fd)


def test_as_a_program_it_says_yes_or_why_not() -> None:
    """What the rehearsal starts."""
    argv = [sys.executable, "-I", "-S", mrelease.__file__]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout in ("yes", "needs Linux 5.15", "refused by this system")


def test_the_machine_does_not_load_ctypes_for_it() -> None:
    """Importing the adapter is what every engine does at its start."""
    code = "import sys; import midwatch.machine.linux.adapter; print('ctypes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    assert done.stdout.strip() == "False", done.stderr
