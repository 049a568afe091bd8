"""Would the kernel take this file as a program? The part that all systems share: `#!` and its interpreter.

Looks at the first bytes only. A file we may not read is left to the kernel; what is not a script is the
system's `program` check. Must not search PATH itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from midwatch.machine.ports import LaunchProblem
from midwatch.model.service import Launch

_HEAD = 256  # Linux' BINPRM_BUF_SIZE; macOS looks at 512
_DEPTH = 4  # interpreters of interpreters the kernel follows


def check(
    exe: str,
    launch: Launch,
    find: Callable[[str], str | LaunchProblem],
    program: Callable[[str, bytes], LaunchProblem | None],
) -> LaunchProblem | None:
    """The reason why exec would refuse `exe`, or None. `find` searches PATH (for `#!/usr/bin/env X`)."""
    path = exe
    for _ in range(_DEPTH + 1):
        head = read_head(path)
        if head is None:
            return None
        if not head.startswith(b"#!"):
            return program(path, head)
        following = _interpreter(path, head, launch, find)
        if isinstance(following, LaunchProblem):
            return following
        path = following
    return LaunchProblem(
        "ELOOP", f"command {exe!r}: its interpreters are scripts of scripts; name a real program", True
    )


def no_program(path: str, head: bytes) -> LaunchProblem:
    """The refusal of a file that is neither a program nor a script."""
    what = "is empty" if not head else "is neither a program nor a script with a #! line"
    return refused(path, f"{what}; start it through its interpreter or add one, e.g. #!/bin/sh")


def refused(path: str, words: str) -> LaunchProblem:
    """ENOEXEC in words."""
    return LaunchProblem("ENOEXEC", f"command {path!r} {words}", True)


def read_head(path: str) -> bytes | None:
    """The first bytes, None when we may not read them."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, _HEAD)
    except OSError:
        return None
    finally:
        os.close(fd)


def _interpreter(
    path: str, head: bytes, launch: Launch, find: Callable[[str], str | LaunchProblem]
) -> str | LaunchProblem:
    """The program that a #! line names."""
    line = head[2:].split(b"\n", 1)[0]
    words = [
        word for word in line.replace(b"\t", b" ").split(b" ") if word
    ]  # a \r stays: the kernel keeps it too
    if not words:
        return refused(path, "has an empty #! line; name an interpreter there, e.g. #!/bin/sh")
    name = os.fsdecode(words[0])
    full = os.path.join(launch.cwd, name)
    hint = "; the file has Windows line endings" if line.endswith(b"\r") else ""
    if not os.path.isfile(full):
        missing = f"names the interpreter {name.rstrip(chr(13))!r} in its #! line, which does not exist{hint}"
        return refused(path, f"{missing}; install it or correct the line")
    if not os.access(full, os.X_OK):
        return refused(path, f"names the interpreter {name!r} in its #! line, which is not executable")
    if os.path.basename(name) == "env":
        rest = [word for word in words[1:] if not word.startswith(b"-") and b"=" not in word]
        if rest:
            wanted = find(os.fsdecode(rest[0].rstrip(b"\r")))
            if hint or isinstance(wanted, LaunchProblem):
                name = os.fsdecode(rest[0].rstrip(b"\r"))
                return refused(
                    path,
                    f"wants {name!r} by its #! line, which is not in PATH{hint}; install it or extend PATH",
                )
            return wanted
    return full
