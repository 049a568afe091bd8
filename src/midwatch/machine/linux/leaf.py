"""Room for runs below a cgroup that a manager gave us (systemd's Delegate=yes, a container's own root).

cgroup v2 lets a group have controllers for its children or processes of its own, not both: before a run can have a
memory limit, keeper and engine must leave the delegated group for a leaf below it. Only a group that is provably ours
to arrange is touched, only our own two processes are moved, and they go back when it was in vain. The controller is
not switched on here but when the first limit is set (cgroup.py): a unit whose root has controllers for children takes
no new main process, which matters where runs outlive us. Tests: tests/machine/test_leaf.py.
"""

from __future__ import annotations

import os

from midwatch.machine.linux import files

LEAF = "midwatch"
_MARKS = ("trusted.delegate", "user.delegate")  # set to "1" by systemd >= 246 on a group with Delegate=


def above(own: str | None) -> str | None:
    """The group in which runs get theirs: our own, or the delegated one above when we live in its leaf."""
    if own is None:
        return None
    parent, name = os.path.split(own)
    return parent if name == LEAF and why_not(parent) == "" else own


def why_not(group: str) -> str:
    """Why this group is not ours to arrange, "" when it is."""
    if not os.path.exists(f"{group}/cgroup.events"):
        return "it is the root of the hierarchy"  # which may hold both, and is nobody's
    if not os.access(f"{group}/cgroup.subtree_control", os.W_OK, effective_ids=True):
        return "its cgroup.subtree_control is not writable"
    if any(_mark(group, name) for name in _MARKS):
        return ""
    if os.geteuid() and os.stat(group).st_uid == os.geteuid():
        return ""  # handed to this user by name
    if _namespace_root(group):
        return ""
    return "no manager has delegated it to us"


def _mark(group: str, name: str) -> bool:
    try:
        return os.getxattr(group, name) == b"1"
    except OSError:
        return False


def _namespace_root(group: str) -> bool:
    """Is it the root of our own cgroup namespace, and process 1 (a container's) in it or in our leaf?"""
    first = (files.read_or_none("/proc/1/cgroup") or b"").splitlines()
    return (b"0::/" in first or f"0::/{LEAF}".encode() in first) and os.path.ismount(group)


def settle(group: str, ours: list[int]) -> str:
    """Move `ours` from `group` into its leaf; words about what was done, or why it was not. "": nothing to do."""
    if why_not(group):
        return ""
    inside = _processes(group)
    if not inside.intersection(ours):
        return ""
    strangers = sorted(inside.difference(ours))
    if strangers:
        named = ", ".join(str(pid) for pid in strangers[:5])
        return f"no memory limits: {group} is delegated to us, but other processes live in it (pid {named})"
    moved: list[int] = []
    try:
        _make(f"{group}/{LEAF}")
        for pid in ours:
            if pid in inside:
                files.write(f"{group}/{LEAF}/cgroup.procs", str(pid))
                moved.append(pid)
    except OSError as error:
        _back(group, moved)
        return f"no memory limits: cannot move into {group}/{LEAF}: {error.strerror}"
    return f"moved into {group}/{LEAF}: runs get their groups beside it"


def _processes(group: str) -> set[int]:
    return {int(word) for word in (files.read_or_none(f"{group}/cgroup.procs") or b"").split()}


def _make(path: str) -> None:
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        pass


def _back(group: str, moved: list[int]) -> None:
    """As if nothing had been tried."""
    for pid in moved:
        try:
            files.write(f"{group}/cgroup.procs", str(pid))
        except OSError:
            pass
    try:
        os.rmdir(f"{group}/{LEAF}")
    except OSError:
        pass
