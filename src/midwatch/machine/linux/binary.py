"""Linux programs: ELF and its loader, and what binfmt_misc has taught the kernel.

Must not know scripts (shebang.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from midwatch.machine import shebang
from midwatch.machine.ports import LaunchProblem
from midwatch.model.service import Launch

_MISC = "/proc/sys/fs/binfmt_misc"


def check(exe: str, launch: Launch, find: Callable[[str], str | LaunchProblem]) -> LaunchProblem | None:
    """See launch.Check."""
    return shebang.check(exe, launch, find, _program)


def _program(path: str, head: bytes) -> LaunchProblem | None:
    if head.startswith(b"\x7fELF"):
        return _elf(path, head)
    return None if _registered(path, head) else shebang.no_program(path, head)


def _elf(path: str, head: bytes) -> LaunchProblem | None:
    """Same machine as ours? Then its loader has to exist (musl on glibc fails with a mute ENOENT)."""
    if len(head) < 64:
        return shebang.refused(path, "is a damaged program (its header is cut off); install it again")
    ours = shebang.read_head("/proc/self/exe") or b""
    if ours[4:6] != head[4:6] or ours[18:20] != head[18:20]:
        if ours[4:6] == head[4:6] and not _registered(path, head):
            return shebang.refused(path, "is built for another processor; install the build for this machine")
        return None
    loader = _loader(path, head)
    if loader and not os.path.exists(loader):
        return shebang.refused(
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
