"""The cgroups of runs: made below our own group, all or nothing per capability, removed by recorded name
only.

Two capabilities: `kill` is any v2 group (kill, freeze, events need no controller, so the "unified" half of a
hybrid machine will do), `memory` a v1 memory group or a v2 group with the memory controller. Without write
access to our own group (an unprivileged user, a container with /sys/fs/cgroup read-only) there is none, and
`why_not` says why. Must not know processes beyond the pids it is told to move. Tests:
tests/machine/test_cgroup.py, test_contract.py.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from functools import partial

from midwatch.machine.linux import files, leaf, procfs
from midwatch.machine.ports import Containment

PREFIX = "midwatch-"
_SWAP_SHARE = 4  # v2: a quarter of the memory limit may be swapped
_MOST_GROUPS = 2000  # descendants of one run that are looked at or removed: a bound, not a guess at sanity


class Cgroups:
    """Makes and removes the cgroups of one instance's runs. `proc` is /proc, or a recorded one in tests."""

    def __init__(self, instance: str, proc: str = "/proc") -> None:
        """Find our own groups; nothing is made yet."""
        self.name = PREFIX + "".join(c if c.isalnum() or c in "_.-" else "-" for c in instance)[:80]
        self._lock = threading.Lock()  # contain and release run in worker threads
        mounts = procfs.cgroup_mounts(files.read_or_none(f"{proc}/self/mountinfo") or b"")
        own = procfs.own_cgroups(files.read_or_none(f"{proc}/self/cgroup") or b"")
        self._unified = leaf.above(own_group(mounts, own, ""))
        self._v1_memory = own_group(mounts, own, "memory")
        self.kill_why = _unusable(self._unified, "cgroup.events", "no cgroup v2 hierarchy is mounted")
        self.memory_why = self._memory_why()

    def _memory_why(self) -> str:
        if self._v1_memory:
            return _unusable(self._v1_memory, "memory.limit_in_bytes", "no memory controller")
        if self.kill_why:
            return self.kill_why
        held = files.read_or_none(f"{self._unified}/cgroup.controllers") or b""
        if b"memory" not in held.split():
            return f"the memory controller is not available in {self._unified}"
        return ""

    def settle(self, ours: list[int]) -> str:
        """See ports: only where v2 has the memory controller is there a reason to move."""
        if self._unified is None or self.kill_why or self._v1_memory or self.memory_why:
            return ""
        with self._lock:
            return leaf.settle(self._unified, ours)

    def limit(self, containment: Containment, memory: int) -> str:
        """Set the memory limit of a run's group again; why it could not be set, "" when it is."""
        directory = containment.memory
        if directory is None or not _is_cgroup(directory, os.path.dirname(directory)):
            return containment.why_not or "the run has no memory cgroup"
        with self._lock:
            try:
                self._give_memory(os.path.dirname(directory))
                _limit(directory, memory, remove=False)
            except OSError as error:
                return f"{error.strerror} ({error.filename or directory})"
        return ""

    def make(self, run: str, memory: int | None, demand: bool) -> Containment:
        """The groups of one run. `memory`: its limit in bytes. `demand`: raise OSError if one is missing."""
        if not run or "/" in run or run in (".", ".."):
            raise OSError(errno.EINVAL, f"{run!r} cannot name a cgroup")
        with self._lock:
            kill, kill_why = self._attempt(self._make_kill, run, self.kill_why)
            limit, limit_why = None, ""
            if memory is not None:
                limit, limit_why = self._attempt(partial(self._make_memory, memory), run, self.memory_why)
        if demand and (kill_why or limit_why):
            made = Containment(limit, kill)
            for directory in made.dirs:
                _remove(directory)
            raise OSError(errno.ENOTSUP, kill_why or limit_why)
        whys = [f"{what}: {why}" for what, why in (("kill", kill_why), ("memory", limit_why)) if why]
        return Containment(kill, limit, "; ".join(whys))

    def _attempt(self, make: Callable[[str], str], run: str, why: str) -> tuple[str | None, str]:
        if why:
            return None, why
        try:
            return make(run), ""
        except OSError as error:
            return None, f"{error.strerror} ({error.filename or 'cgroup'})"

    def _make_kill(self, run: str) -> str:
        assert self._unified
        return _fresh(self._unified, self.name, run)

    def _make_memory(self, memory: int, run: str) -> str:
        if self._v1_memory:
            return _limit(_fresh(self._v1_memory, self.name, run), memory)
        assert self._unified
        base = f"{self._unified}/{self.name}"
        self._give_memory(base)
        return _limit(f"{base}/{run}", memory, remove=False)  # made by _make_kill a moment ago

    def _give_memory(self, base: str) -> None:
        """v2: the memory controller for the children of `base`."""
        if self._v1_memory:
            return
        for parent in (os.path.dirname(base), base):
            if b"memory" not in files.read(f"{parent}/cgroup.subtree_control").split():
                _enable(parent)

    def existing(self, run: str) -> Containment:
        """What `make` made under this name and nobody has removed."""
        if not run or "/" in run or run in (".", ".."):
            return Containment()
        paths = [f"{own}/{self.name}/{run}" if own else "" for own in (self._unified, self._v1_memory)]
        kill, memory = (path if path and os.path.isdir(path) else None for path in paths)
        return Containment(kill, memory)

    def release(self, containment: Containment) -> None:
        """Remove these groups, what the run made below them, and our base when it is the last."""
        with self._lock:
            for directory in containment.dirs:
                base = os.path.dirname(directory)
                if not os.path.basename(base).startswith(PREFIX) or not _is_cgroup(directory, base):
                    continue  # a record is a file: it must not make us remove anything else
                _remove(directory)
                _rmdir(base)


def own_group(mounts: dict[str, tuple[str, str]], own: dict[str, str], controller: str) -> str | None:
    """Where our own group of this hierarchy is, seen through the mount we have."""
    if controller not in mounts or controller not in own:
        return None
    mount, root = mounts[controller]
    path = own[controller]
    if root != "/":
        if path != root and not path.startswith(root + "/"):
            return None  # the mount shows another part of the hierarchy
        path = path[len(root) :]
    return None if "/.." in path else (mount + path).rstrip("/")


def _unusable(directory: str | None, needs: str, missing: str) -> str:
    """Why no group can be made in `directory`, "" when one can."""
    if directory is None:
        return missing
    if not os.path.isdir(directory):
        return f"{directory} does not exist here"
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        return f"{directory} is mounted read-only"
    if not os.access(directory, os.W_OK, effective_ids=True):
        return f"{directory} is not writable for uid {os.geteuid()} (not delegated)"
    procs = f"{directory}/cgroup.procs"
    if not os.access(procs, os.W_OK, effective_ids=True):
        return f"{procs} is not writable for uid {os.geteuid()} (not delegated)"
    if needs == "memory.limit_in_bytes" and not os.path.exists(f"{directory}/{needs}"):
        return missing
    return ""


def _fresh(own: str, name: str, run: str) -> str:
    """An empty group: its counters begin at zero. A populated leftover of that name is refused."""
    base = f"{own}/{name}"
    directory = f"{base}/{run}"
    for path in (base, directory):
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            if path == directory:
                _remove(directory)
                os.mkdir(path, 0o755)  # still there: somebody lives in it, and this raises again
    return directory


def _enable(parent: str) -> None:
    try:
        files.write(f"{parent}/cgroup.subtree_control", "+memory")
    except OSError as error:
        if error.errno == errno.EBUSY:
            words = "processes live in the group itself: a systemd unit needs Delegate=yes for memory limits"
            raise OSError(errno.EBUSY, words, parent) from None
        raise


def _limit(directory: str, memory: int, remove: bool = True) -> str:
    """v1 limits memory and swap together. v2 has a limit each: some swap, so that what is cold moves there while a
    guard that counts it asks the run to leave. What v2 kills for its limit is the whole run: half a tree is no service.
    """
    one = os.path.exists(f"{directory}/memory.limit_in_bytes")
    names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes") if one else ("memory.max", "memory.swap.max")
    swap = memory if one else memory // _SWAP_SHARE
    try:
        _raise_first(directory, names, memory, swap)
        files.write(f"{directory}/{names[0]}", str(memory))
        if os.path.exists(f"{directory}/{names[1]}"):
            files.write(f"{directory}/{names[1]}", str(swap))
        if not one and os.path.exists(f"{directory}/memory.oom.group"):
            files.write(f"{directory}/memory.oom.group", "1")
    except OSError:
        if remove:
            _remove(directory)
        raise
    return directory


def _raise_first(directory: str, names: tuple[str, str], memory: int, swap: int) -> None:
    """v1 refuses a memory limit above the one for memory and swap together: that one grows first."""
    both = files.read_record(f"{directory}/{names[1]}") if names[0].endswith("in_bytes") else None
    if both is not None and both.strip().isdigit() and int(both) < memory:
        files.write(f"{directory}/{names[1]}", str(swap))


def _is_cgroup(directory: str, base: str) -> bool:
    """Is it a kernel cgroup directory and not some other folder that a damaged record names?"""
    return os.path.exists(f"{directory}/cgroup.procs") and os.path.exists(f"{base}/cgroup.procs")


def _rmdir(path: str) -> None:
    try:
        os.rmdir(path)  # the kernel refuses while anybody or anything is inside
    except OSError:
        pass


def _remove(directory: str) -> None:
    for path in reversed(below(directory)):
        _rmdir(path)


def below(directory: str) -> list[str]:
    """The group and its descendants, parents first, at most `_MOST_GROUPS`."""
    found = [directory]
    for path in found:  # grows while it is walked
        if len(found) >= _MOST_GROUPS:
            break
        try:
            if os.stat(path).st_nlink <= 2:  # kernfs counts sub-directories: none here
                continue
            with os.scandir(path) as entries:
                found.extend(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
        except OSError:
            continue
    return found[:_MOST_GROUPS]


def pids(directory: str) -> set[int] | None:
    """Everybody in the group and below it, None when it cannot be read."""
    found: set[int] = set()
    for path in below(directory):
        data = files.read_or_none(f"{path}/cgroup.procs")
        if data is None and path == directory:
            return None
        found.update(int(word) for word in (data or b"").split())
    found.discard(0)  # somebody in another pid namespace
    return found


def populated(directory: str) -> bool | None:
    """cgroup.events: is anybody alive in the group or below it? None when it cannot be read."""
    value = procfs.keyed(files.read_record(f"{directory}/cgroup.events") or b"", b"populated")
    return None if value is None else bool(value)


def frozen(directory: str) -> bool:
    """cgroup.events: does everybody in it stand still?"""
    return procfs.keyed(files.read_record(f"{directory}/cgroup.events") or b"", b"frozen") == 1


def place(directory: str, pid: int) -> None:
    """Move a process. Raises OSError."""
    if pid <= 0:
        raise OSError(errno.EINVAL, f"{pid} is no process")  # 0 would move us
    files.write(f"{directory}/cgroup.procs", str(pid))


def freeze(directory: str, on: bool) -> bool:
    """Freeze or thaw the group and all below; False when that is not possible."""
    try:
        files.write(f"{directory}/cgroup.freeze", "1" if on else "0")
    except OSError:
        return False
    return True


def thaw(directory: str) -> None:
    """Undo any freeze in the group or below it, so that a polite signal can be heard."""
    for path in below(directory):
        if (files.read_record(f"{path}/cgroup.freeze") or b"").strip() == b"1":
            freeze(path, False)


def kill(directory: str) -> bool:
    """cgroup.kill (>= 5.14): KILL everybody, proof against forks. False when there is none."""
    try:
        files.write(f"{directory}/cgroup.kill", "1")
    except OSError:
        return False
    return True


def oomd(directory: str) -> str:
    """Who has written on this group that he killed it (systemd-oomd and oomd do), "" nobody."""
    for name in ("user.oomd_kill", "trusted.oomd_kill"):
        try:
            if os.getxattr(directory, name) not in (b"", b"0"):
                return "a user-space OOM killer (systemd-oomd or oomd)"
        except OSError:
            continue
    return ""


def oom_kills(directory: str) -> int | None:
    """The OOM-kill counter of a v2 or v1 memory group, None: absent."""
    for name in ("memory.events", "memory.oom_control"):
        data = files.read_record(f"{directory}/{name}")
        if data is not None:
            return procfs.keyed(data, b"oom_kill")
    return None
