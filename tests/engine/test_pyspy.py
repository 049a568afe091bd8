"""Python's stacks by py-spy: where it is, what it says, and what is said instead of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from midwatch.engine import pyspy, tracegate


def a_spy(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that is called py-spy, first on the PATH."""
    spy = folder / "py-spy"
    spy.write_text(f"#!/bin/sh\n{script}\n")
    spy.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))


def test_its_words_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One dump a process, never waiting for the process, at most three."""
    a_spy(tmp_path, 'echo "$@"', monkeypatch)
    text, problem = pyspy.stacks([7, 8, 9, 10], 20.0, "yes")
    assert text.splitlines()[0] == "dump --nonblocking --pid 7"
    assert text.count("dump") == 3
    assert problem == "1 more Python processes"


def test_a_refusal_is_explained_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """guards 10: what it may not is said with the reason."""
    a_spy(tmp_path, 'echo "Permission Denied: Try running again with sudo"; exit 1', monkeypatch)
    text, problem = pyspy.stacks([7], 20.0, "only of services with trace = true (kernel.yama.ptrace_scope = 1)")
    assert text == ""
    assert problem.startswith("py-spy for 7: not permitted (only of services with trace = true")
    a_spy(tmp_path, 'echo; echo "Error: Failed to get process"; echo more; exit 1', monkeypatch)
    assert pyspy.stacks([7], 20.0, "yes")[1] == "py-spy for 7: Error: Failed to get process"


def test_one_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded: the next one is not begun."""
    a_spy(tmp_path, "exec sleep 60", monkeypatch)
    assert pyspy.stacks([7, 8], 0.2, "yes") == ("", "py-spy for 7: out of time; py-spy for 8: out of time")


def test_without_it_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is optional."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", f"{tmp_path}:relative")
    assert pyspy.stacks([7], 1.0, "yes") == ("", "py-spy is not installed")
    assert pyspy.stacks([], 1.0, "yes") == ("", "no Python process")


def test_the_trace_gate_leaves_no_trace() -> None:
    """The program gets its own environment, arguments and signals, as without the gate."""
    argv = ["/bin/sh", "-c", 'env; grep SigIgn /proc/self/status; echo "$0" "$@"', "odd name", "a b"]
    plain = subprocess.run(argv, capture_output=True, env={"A": "1", "PATH": "/usr/bin:/bin"}, check=True)
    gate = [sys.executable, "-I", "-S", tracegate.__file__, str(os.getpid()), argv[0], *argv]
    gated = subprocess.run(gate, capture_output=True, env={"A": "1", "PATH": "/usr/bin:/bin"}, check=True)
    assert gated.stdout == plain.stdout
    assert gated.stderr == b""


def test_the_trace_gate_says_what_cannot_be_started() -> None:
    """126, as a shell would."""
    gate = [sys.executable, "-I", "-S", tracegate.__file__, str(os.getpid()), "/nonexistent", "x"]
    done = subprocess.run(gate, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (126, "midwatch: cannot start /nonexistent: No such file or directory\n")
