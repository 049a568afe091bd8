"""Would the kernel take this file as a program? ELF and its loader, `#!` and its interpreter, binfmt_misc.

Looks at the first bytes only. A file we may not read is left to the kernel. Must not search PATH itself.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from midwatch.machine.ports import LaunchProblem
from midwatch.model.service import Launch

if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD = 256  # the kernel's BINPRM_BUF_SIZE
_DEPTH = 4  # interpreters of interpreters the kernel follows
_MISC = "/proc/sys/fs/binfmt_misc"


def check(exe: str, launch: Launch, find: Callable[[str], str | LaunchProblem]) -> LaunchProblem | None:
    """The reason why exec would refuse `exe`, or None. `find` searches the child's PATH (for `#!/usr/bin/env
    X`).
    """
    path = exe
    for _ in range(_DEPTH + 1):
        head = _head(path)
        if head is None:
            return None
        if head.startswith(b"\x7fELF"):
            return _elf(path, head)
        if not head.startswith(b"#!"):
            if _registered(path, head):
                return None
            what = "is empty" if not head else "is neither a program nor a script with a #! line"
            return _problem(path, f"{what}; start it through its interpreter or add one, e.g. #!/bin/sh")
        following = _interpreter(path, head, launch, find)
        if isinstance(following, LaunchProblem):
            return following
        path = following
    return LaunchProblem(
        "ELOOP", f"command {exe!r}: its interpreters are scripts of scripts; name a real program", True
    )


def _problem(path: str, words: str) -> LaunchProblem:
    return LaunchProblem("ENOEXEC", f"command {path!r} {words}", True)


def _head(path: str) -> bytes | None:
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
        return _problem(path, "has an empty #! line; name an interpreter there, e.g. #!/bin/sh")
    name = os.fsdecode(words[0])
    full = os.path.join(launch.cwd, name)
    hint = "; the file has Windows line endings" if line.endswith(b"\r") else ""
    if not os.path.isfile(full):
        missing = f"names the interpreter {name.rstrip(chr(13))!r} in its #! line, which does not exist{hint}"
        return _problem(path, f"{missing}; install it or correct the line")
    if not os.access(full, os.X_OK):
        return _problem(path, f"names the interpreter {name!r} in its #! line, which is not executable")
    if os.path.basename(name) == "env":
        rest = [word for word in words[1:] if not word.startswith(b"-") and b"=" not in word]
        if rest:
            wanted = find(os.fsdecode(rest[0].rstrip(b"\r")))
            if hint or isinstance(wanted, LaunchProblem):
                name = os.fsdecode(rest[0].rstrip(b"\r"))
                return _problem(
                    path,
                    f"wants {name!r} by its #! line, which is not in PATH{hint}; install it or extend PATH",
                )
            return wanted
    return full


def _elf(path: str, head: bytes) -> LaunchProblem | None:
    """Same machine as ours? Then its loader has to exist (musl on glibc fails with a mute ENOENT)."""
    if len(head) < 64:
        return _problem(path, "is a damaged program (its header is cut off); install it again")
    ours = _head("/proc/self/exe") or b""
    if ours[4:6] != head[4:6] or ours[18:20] != head[18:20]:
        if ours[4:6] == head[4:6] and not _registered(path, head):
            return _problem(path, "is built for another processor; install the build for this machine")
        return None
    loader = _loader(path, head)
    if loader and not os.path.exists(loader):
        return _problem(
            path, f"needs the loader {loader!r}, which does not exist here; install the build for this system"
        )
    return None


def _loader(path: str, head: bytes) -> str | None:
    """PT_INTERP of a 64-bit ELF file in our own byte order."""
    import sys

    if head[4] != 2:
        return None
    order = sys.byteorder
    at = int.from_bytes(head[32:40], order)
    size, count = int.from_bytes(head[54:56], order), int.from_bytes(head[56:58], order)
    try:
        with open(path, "rb") as file:
            file.seek(at)
            table = file.read(min(size * count, 16384))
            for start in range(0, len(table) - 55, size or 56):
                if int.from_bytes(table[start : start + 4], order) == 3:
                    file.seek(int.from_bytes(table[start + 8 : start + 16], order))
                    length = int.from_bytes(table[start + 32 : start + 40], order)
                    return os.fsdecode(file.read(min(length, 4096)).rstrip(b"\0"))
    except (OSError, ValueError, OverflowError):
        pass
    return None


def _registered(path: str, head: bytes) -> bool:
    """Has somebody taught the kernel this format (binfmt_misc)?"""
    try:
        names = [name for name in os.listdir(_MISC) if name not in ("register", "status")]
    except OSError:
        return False
    for name in names:
        try:
            with open(f"{_MISC}/{name}") as file:
                facts = dict((line.strip() + " ").split(" ", 1) for line in file)
        except OSError:
            continue
        if "enabled" not in facts:
            continue
        extension = facts.get("extension", "").strip().lstrip(".")
        if extension and path.endswith("." + extension):
            return True
        magic = facts.get("magic", "").strip()
        if magic and _matches(head, facts.get("offset", "0"), magic, facts.get("mask", "").strip()):
            return True
    return False


def _matches(head: bytes, offset: str, magic: str, mask: str) -> bool:
    try:
        wanted, start = bytes.fromhex(magic), int(offset)
        masked = bytes.fromhex(mask) if mask else b"\xff" * len(wanted)
    except ValueError:
        return True  # not understood: let the kernel decide
    part = head[start : start + len(wanted)]
    return len(part) == len(wanted) and all(
        (a ^ b) & m == 0 for a, b, m in zip(part, wanted, masked, strict=False)
    )
