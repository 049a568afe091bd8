"""The look-up before a spawn: each failure has its errno name and a sentence that helps (A11, A12)."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from midwatch.machine.linux.adapter import LinuxMachine
from midwatch.machine.ports import LaunchProblem, Target

MACHINE = LinuxMachine("lookup", os.getpid())
ROOT = os.geteuid() == 0


def script(path: Path, text: str, mode: int = 0o755) -> str:
    path.write_bytes(text.encode())
    path.chmod(mode)
    return str(path)


def problem(launch: Any, **facts: Any) -> LaunchProblem:
    found = MACHINE.lookup(launch(**facts))
    assert isinstance(found, LaunchProblem), found
    assert found.lasting
    return found


def test_a_command_is_found_in_the_childs_path(launch: Any, tmp_path: Path) -> None:
    """PATH is the launch's own, not ours; the result is absolute."""
    exe = script(tmp_path / "tool", "#!/bin/sh\n")
    assert MACHINE.lookup(launch(argv=("tool",), env={"PATH": f"/nowhere:{tmp_path}"})) == Target(exe)
    assert MACHINE.lookup(launch(argv=("./tool",), cwd=str(tmp_path))) == Target(f"{tmp_path}/./tool")
    assert problem(launch, argv=("tool",), env={"PATH": "/nowhere"}).error == "ENOENT"


def test_a_real_program_is_fine(launch: Any) -> None:
    """An ELF file with its loader present."""
    assert MACHINE.lookup(launch(argv=(sys.executable,))) == Target(sys.executable)


def test_a_missing_command_is_enoent(launch: Any) -> None:
    """A11: by name and by path."""
    for argv0 in ("no-such-tool-at-all", "/no/such/tool"):
        found = problem(launch, argv=(argv0,))
        assert found.error == "ENOENT"
        assert argv0 in found.message


@pytest.mark.parametrize(
    ("text", "mode", "error", "words"),
    [
        ("#!/bin/sh\n", 0o644, "EACCES", "chmod +x"),
        ("echo hello\n", 0o755, "ENOEXEC", "#! line"),
        ("", 0o755, "ENOEXEC", "is empty"),
        ("#!\n", 0o755, "ENOEXEC", "empty #! line"),
        ("#!/no/such/interp -x\n", 0o755, "ENOEXEC", "/no/such/interp"),
        ("#!/bin/sh\r\n", 0o755, "ENOEXEC", "Windows line endings"),
        ("#!/usr/bin/env no-such-interp\n", 0o755, "ENOEXEC", "no-such-interp"),
        ("\x7fELF", 0o755, "ENOEXEC", "damaged"),
    ],
)
def test_files_the_kernel_would_not_execute(
    launch: Any, tmp_path: Path, text: str, mode: int, error: str, words: str
) -> None:
    """A12: no exec bit, no or bad #! line, missing interpreter, damaged program."""
    found = problem(launch, argv=(script(tmp_path / "tool", text, mode),))
    assert found.error == error
    assert words in found.message
    assert str(tmp_path / "tool") in found.message


def test_a_program_whose_loader_is_missing(launch: Any, tmp_path: Path) -> None:
    """The kernel's mute ENOENT for a musl program on a glibc system is said in words."""
    data = bytearray(Path(os.path.realpath(sys.executable)).read_bytes())
    at = data.find(b"/lib64/ld-linux")
    if at < 0:
        pytest.skip("this interpreter has no PT_INTERP of the usual name")
    data[at : at + 15] = b"/lib64/no-linux"
    copy = tmp_path / "prog"
    copy.write_bytes(data)
    copy.chmod(0o755)
    found = problem(launch, argv=(str(copy),))
    assert found.error == "ENOEXEC"
    assert "/lib64/no-linux" in found.message


def test_a_program_for_another_processor(launch: Any, tmp_path: Path) -> None:
    """A build for another machine type is named as such."""
    data = bytearray(Path(os.path.realpath(sys.executable)).read_bytes()[:4096])
    data[18:20] = b"\x2a\x00"  # SuperH
    copy = tmp_path / "prog"
    copy.write_bytes(data)
    copy.chmod(0o755)
    found = problem(launch, argv=(str(copy),))
    assert (found.error, "another processor" in found.message) == ("ENOEXEC", True)


def test_scripts_of_scripts_are_followed(launch: Any, tmp_path: Path) -> None:
    """An interpreter may itself be a script; a ring of them is refused."""
    inner = script(tmp_path / "inner", "#!/bin/sh\n")
    outer = script(tmp_path / "outer", f"#!{inner}\n")
    assert MACHINE.lookup(launch(argv=(outer,))) == Target(outer)
    ring = script(tmp_path / "ring", f"#!{tmp_path}/ring\n")
    assert problem(launch, argv=(ring,)).error == "ELOOP"


def test_directories_and_devices_are_not_commands(launch: Any, tmp_path: Path) -> None:
    """EACCES, as execve says."""
    assert problem(launch, argv=(str(tmp_path),)).error == "EACCES"
    assert problem(launch, argv=("/dev/null",)).error == "EACCES"


def test_a_file_without_the_exec_bit_in_path_is_eacces(launch: Any, tmp_path: Path) -> None:
    """execvp remembers it and goes on; found nowhere else, that is the answer."""
    script(tmp_path / "tool", "#!/bin/sh\n", 0o644)
    assert problem(launch, argv=("tool",), env={"PATH": str(tmp_path)}).error == "EACCES"
    (tmp_path / "b").mkdir()
    good = script(tmp_path / "b/tool", "#!/bin/sh\n")
    assert MACHINE.lookup(launch(argv=("tool",), env={"PATH": f"{tmp_path}:{tmp_path}/b"})) == Target(good)


def test_the_working_directory(launch: Any, tmp_path: Path) -> None:
    """Missing, not a directory, not enterable: each named."""
    file = script(tmp_path / "file", "x")
    assert problem(launch, cwd=str(tmp_path / "none")).error == "ENOENT"
    assert problem(launch, cwd=file).error == "ENOTDIR"
    assert problem(launch, argv=(f"{file}/x",)).error == "ENOTDIR"
    if ROOT:
        return
    (tmp_path / "shut").mkdir(mode=0o600)
    assert problem(launch, cwd=str(tmp_path / "shut")).error == "EACCES"


def test_unknown_users_and_groups(launch: Any) -> None:
    """An unknown name is found before anything is spawned."""
    assert problem(launch, user="no-such-user-here").error == "EINVAL"
    assert problem(launch, user="root:no-such-group-here").error == "EINVAL"
    assert problem(launch, user="4000000").error == "EINVAL"


def test_another_user_needs_root(launch: Any) -> None:
    """Unprivileged: EPERM with what to do; our own name is fine and changes nothing."""
    if ROOT:
        pytest.skip("root may switch to anybody")
    assert problem(launch, user="root").error == "EPERM"
    found = MACHINE.lookup(launch(user=str(os.geteuid()) + ":" + str(os.getegid())))
    assert isinstance(found, Target)
    assert found.uid is None


def test_the_check_is_the_target_users(launch: Any, tmp_path: Path) -> None:
    """As root for nobody: a program in a folder only root can enter is EACCES, and the folder is named."""
    if not ROOT:
        pytest.skip("needs root to switch users")
    shut = Path("/tmp") / f"midwatch-shut-{os.getpid()}"
    shut.mkdir(mode=0o700)
    try:
        exe = script(shut / "tool", "#!/bin/sh\n")
        found = problem(launch, argv=(exe,), user="nobody")
        assert found.error == "EACCES"
        assert repr(str(shut)) in found.message
        assert problem(launch, cwd=str(shut), user="nobody").error == "EACCES"
        shut.chmod(0o755)
        target = MACHINE.lookup(launch(argv=(exe,), user="nobody"))
        assert isinstance(target, Target)
        assert target.uid not in (None, 0)
        assert target.groups
    finally:
        shutil.rmtree(shut)


def test_an_empty_command(launch: Any) -> None:
    """No argv is a problem, not a traceback."""
    assert problem(launch, argv=()).error == "EINVAL"
    assert MACHINE.fingerprint(launch(argv=()))


def test_fingerprints_change_with_what_a_start_depends_on(launch: Any, tmp_path: Path) -> None:
    """Nothing changed: equal. The command, an env file, a script named as argument, a cured problem:
    different.
    """
    exe = script(tmp_path / "tool", "#!/bin/sh\n", 0o644)
    main, env = tmp_path / "main.py", tmp_path / "x.env"
    facts: dict[str, Any] = {"argv": (exe, "main.py"), "cwd": str(tmp_path), "env_files": (str(env),)}
    seen = [MACHINE.fingerprint(launch(**facts))]
    assert seen[0] == MACHINE.fingerprint(launch(**facts))
    Path(exe).chmod(0o755)
    seen.append(MACHINE.fingerprint(launch(**facts)))
    main.write_text("1")
    seen.append(MACHINE.fingerprint(launch(**facts)))
    main.write_text("22")
    seen.append(MACHINE.fingerprint(launch(**facts)))
    env.write_text("A=1")
    seen.append(MACHINE.fingerprint(launch(**facts)))
    Path(exe).write_text("#!/bin/sh\necho\n")
    seen.append(MACHINE.fingerprint(launch(**facts)))
    (tmp_path / "other").write_text("a new file in the working directory is nothing to us")
    assert MACHINE.fingerprint(launch(**facts)) == seen[-1]
    assert len(set(seen)) == len(seen)
