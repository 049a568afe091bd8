"""`arun`: many at once in one loop, cancelled at any moment, without a child watcher."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.bounded.growing import grown

from midwatch.bounded import Cancel, Result, arun

pytestmark = pytest.mark.usefixtures("home")
MIB = 1 << 20


def test_it_is_run_with_the_same_arguments() -> None:
    async def main() -> tuple[Result, Result, Result]:
        return await asyncio.gather(
            arun("echo $X; exit 3", env={"X": "y", "PATH": os.environ["PATH"]}), arun(["pwd"], cwd="/"), arun(["nope!"])
        )

    one, two, three = asyncio.run(main())
    assert (one.head, one.exit_code) == ("y\n", 3)
    assert two.head == "/\n"
    assert three.state == "failed"


def test_a_wrong_argument_raises_in_the_task() -> None:
    with pytest.raises(ValueError, match="timeout"):
        asyncio.run(arun(["true"], timeout=-1))


def test_a_cancelled_task_ends_its_command_first(tmp_path: Path) -> None:
    """A15: what was read until then is told, nobody is left, no thread, no descriptor."""
    before, opened = threading.active_count(), len(os.listdir("/proc/self/fd"))

    async def main() -> tuple[Result, float]:
        task = asyncio.create_task(arun(f"echo $$ > {tmp_path}/pid; echo begun; sleep 60"))
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():  # noqa: ASYNC110  a process writes it
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
        began = time.monotonic()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # impatience does not leave anything behind
        try:
            await task
        except asyncio.CancelledError as error:
            return error.result, time.monotonic() - began  # type: ignore[attr-defined]
        raise AssertionError("not cancelled")

    result, took = asyncio.run(main())
    assert (result.state, result.head) == ("cancelled", "begun\n")
    assert took < 4
    assert not Path(f"/proc/{int((tmp_path / 'pid').read_text())}").exists()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (before, opened)


def test_a_timeout_of_asyncio_is_a_cancel() -> None:
    async def main() -> None:
        async with asyncio.timeout(0.3):
            await arun(["sleep", "60"])

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert time.monotonic() - began < 5


def test_a_cancel_of_ones_own_gives_the_result() -> None:
    async def main() -> Result:
        with Cancel() as cancel:
            asyncio.get_running_loop().call_later(0.3, cancel.cancel)
            return await arun("echo one; sleep 60", cancel=cancel)

    assert asyncio.run(main()).state == "cancelled"


@pytest.mark.slow
def test_64_at_once_in_one_loop() -> None:
    """S13 with asyncio: the loop stays awake, memory and descriptors are bounded."""
    found = grown(
        "import asyncio\n"
        "late = 0.0\n"
        "async def watch():\n"
        "    global late\n"
        "    while True:\n"
        "        began = time.monotonic(); await asyncio.sleep(0.01)\n"
        "        late = max(late, time.monotonic() - began - 0.01)\n"
        "async def main():\n"
        "    watcher = asyncio.create_task(watch())\n"
        "    many = (arun('head -c 20971520 /dev/zero | tr \"\\\\0\" \"\\\\n\"') for _ in range(64))\n"
        "    results = await asyncio.gather(*many)\n"
        "    watcher.cancel()\n"
        "    return results\n"
        "results = asyncio.run(main())\n"
        "out.update(totals=sorted({r.bytes_total for r in results}), late=late)\n"
    )
    assert found["totals"] == [20 * MIB]
    assert found["grown"] <= 64 * MIB
    assert (found["fds"], found["threads"]) == (0, 1)
    assert found["late"] < 5


def test_the_example_of_the_documentation_runs() -> None:
    """docs/exec.md, "From Python": as it stands."""
    page = (Path(__file__).parents[2] / "docs" / "exec.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout.endswith("ended, nothing is left of it\n")
    assert str([0] * 20) in done.stdout


def test_beside_the_hosts_own_children() -> None:
    """Inside an agent that starts processes itself: asyncio's, subprocess's and ours do not take each other's ends."""

    async def theirs(number: int) -> int:
        process = await asyncio.create_subprocess_exec("sh", "-c", f"sleep 0.{number % 3}; exit {number}")
        return await process.wait()

    async def main() -> tuple[list[int], list[int | None]]:
        own = asyncio.gather(*(theirs(number) for number in range(12)))
        runs = await asyncio.gather(*(arun(f"sleep 0.{number % 3}; exit {number}") for number in range(12)))
        plain = subprocess.run(["sh", "-c", "exit 5"], check=False)  # noqa: ASYNC221  hosts do
        assert plain.returncode == 5
        return await own, [result.exit_code for result in runs]

    assert asyncio.run(main()) == (list(range(12)), list(range(12)))


def test_without_a_thread_it_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory for another stack (64 at once under a limit): a command that cannot be started is no exception."""

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    result = asyncio.run(arun(["true"]))
    assert (result.state, result.reason, result.code) == ("failed", "EAGAIN", 126)
    assert "can't start new thread" in result.text
