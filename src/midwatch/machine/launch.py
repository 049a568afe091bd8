"""Find out before the spawn what would go wrong in it: user, working directory, command, interpreter.

A gate is a shell and answers every failure with 126 or 127; here each one has its errno name and a sentence:
what is wrong, where, and what to do. The check is the target user's, not ours. What could not be checked is
left to the kernel. Must not start anything. Tests: tests/machine/test_launch.py.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

import msgspec

from midwatch.machine.ports import LaunchProblem, Target
from midwatch.model.service import Launch

_NOEXEC = getattr(os, "ST_NOEXEC", 0)  # Linux only
_MOST_ARGUMENTS = 64  # looked at for files that a fingerprint should cover


Check = Callable[[str, Launch, Callable[[str], str | LaunchProblem]], LaunchProblem | None]
"""Would the kernel take this file as a program? The last argument searches the child's PATH."""


class User(msgspec.Struct, frozen=True):
    """As whom a run will execute. `switch`: that is somebody else than us."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str | None
    switch: bool


def lookup(launch: Launch, check: Check) -> Target | LaunchProblem:
    """The whole check, in the order in which the child would fail."""
    user = find_user(launch.user)
    if isinstance(user, LaunchProblem):
        return user
    problem = _check_cwd(launch.cwd, user)
    if problem:
        return problem
    exe = _find(launch, user)
    if isinstance(exe, LaunchProblem):
        return exe
    problem = check(exe, launch, lambda name: _find_name(name, launch, user))
    if problem:
        return problem
    if not user.switch:
        return Target(exe, home=user.home)
    return Target(exe, user.uid, user.gid, user.groups, user.home)


def find_user(wanted: str | None) -> User | LaunchProblem:
    """Resolve "name", "uid", "name:group" or "uid:gid"."""
    me = User(os.geteuid(), os.getegid(), tuple(os.getgroups()), None, False)
    if not wanted:
        return me
    import grp
    import pwd

    name, _, group = wanted.partition(":")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        entry = None
    if entry is None and not name.isdigit():
        return _problem(
            "EINVAL", f"user {name!r} does not exist on this machine; create it or correct `user`"
        )
    if entry is None and not group:
        return _problem("EINVAL", f'user {name} has no entry in passwd; write `user = "{name}:GROUP"`')
    uid = entry.pw_uid if entry else int(name)
    gid = entry.pw_gid if entry else -1
    if group:
        try:
            gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        except KeyError:
            return _problem(
                "EINVAL", f"group {group!r} does not exist on this machine; create it or correct `user`"
            )
    if uid == me.uid and (not group or gid == me.gid):
        return User(me.uid, me.gid, me.groups, entry.pw_dir if entry else None, False)
    if me.uid != 0:
        return _problem(
            "EPERM",
            f"cannot run as user {wanted!r}: midwatch runs as uid {me.uid}; start it as root or drop `user`",
        )
    groups = tuple(os.getgrouplist(entry.pw_name, gid)) if entry else (gid,)
    return User(uid, gid, groups, entry.pw_dir if entry else None, True)


def _problem(error: str, message: str, lasting: bool = True) -> LaunchProblem:
    return LaunchProblem(error, message, lasting)


def _check_cwd(cwd: str, user: User) -> LaunchProblem | None:
    try:
        mode = os.stat(cwd).st_mode
    except OSError as error:
        return _unreachable(f"working directory {cwd!r}", error, "create it or correct `cwd`")
    if not stat.S_ISDIR(mode):
        return _problem("ENOTDIR", f"working directory {cwd!r} is not a directory; correct `cwd`")
    blocked = _blocked(cwd, user)
    if blocked:
        return _problem(
            "EACCES", f"working directory {cwd!r} cannot be entered by uid {user.uid}: no x on {blocked!r}"
        )
    return None


_NAMES = {2: "ENOENT", 13: "EACCES", 20: "ENOTDIR", 40: "ELOOP", 36: "ENAMETOOLONG"}


def _unreachable(what: str, error: OSError, remedy: str) -> LaunchProblem:
    """An OSError of stat: only a handful of them will still be there in a minute."""
    name = _NAMES.get(error.errno or 0)
    if error.errno == 2:
        return _problem("ENOENT", f"{what} does not exist; {remedy}")
    return _problem(name or "EIO", f"{what}: {error.strerror}; {remedy}", lasting=name is not None)


def _blocked(path: str, user: User) -> str | None:
    """The first part of `path`, itself included, that `user` may not search or execute; None: free."""
    if not user.switch:
        return (
            None if os.access(path, os.X_OK, effective_ids=os.access in os.supports_effective_ids) else path
        )
    full = os.path.realpath(path)
    parts = full.split("/")
    for end in range(1, len(parts) + 1):
        part = "/".join(parts[:end]) or "/"
        if not _may_execute(os.stat(part), user):
            return part
    return None


def _may_execute(facts: os.stat_result, user: User) -> bool:
    """The x bit that applies to `user` (access control lists are left to the kernel)."""
    mode = facts.st_mode
    if user.uid == 0:
        return bool(mode & 0o111) or stat.S_ISDIR(mode)
    if facts.st_uid == user.uid:
        return bool(mode & 0o100)
    if facts.st_gid == user.gid or facts.st_gid in user.groups:
        return bool(mode & 0o010)
    return bool(mode & 0o001)


def _find(launch: Launch, user: User) -> str | LaunchProblem:
    if not launch.argv or not launch.argv[0]:
        return _problem("EINVAL", "the command is empty; write what to run in `command`")
    name = launch.argv[0]
    if "/" in name:
        path = os.path.join(launch.cwd, name)
        return _usable(path, user) or path
    return _find_name(name, launch, user)


def _find_name(name: str, launch: Launch, user: User) -> str | LaunchProblem:
    """PATH search with the child's PATH; a file that is there but not executable is remembered, as execvp
    does.
    """
    folders = launch.env.get("PATH", os.defpath)
    refused: LaunchProblem | None = None
    for folder in folders.split(":"):
        path = os.path.join(launch.cwd, folder, name)
        problem = _usable(path, user)
        if problem is None:
            return path
        if problem.error not in ("ENOENT", "ENOTDIR") and refused is None:
            refused = problem
    if refused:
        return refused
    return _problem(
        "ENOENT", f"command {name!r} is in no folder of PATH ({folders}); install it or give its full path"
    )


def _usable(path: str, user: User) -> LaunchProblem | None:
    """Is this a regular file that `user` may execute?"""
    try:
        facts = os.stat(path)
    except OSError as error:
        return _unreachable(f"command {path!r}", error, "install it or correct `command`")
    if stat.S_ISDIR(facts.st_mode):
        return _problem("EACCES", f"command {path!r} is a directory; name the program inside it")
    if not stat.S_ISREG(facts.st_mode):
        return _problem("EACCES", f"command {path!r} is not a regular file; correct `command`")
    blocked = _blocked(path, user)
    if blocked is None:
        if os.statvfs(path).f_flag & _NOEXEC:
            return _problem(
                "EACCES", f"command {path!r} lies on a file system mounted noexec; move it or remount"
            )
        return None
    if os.path.realpath(blocked) == os.path.realpath(path):
        return _problem("EACCES", f"command {path!r} is not executable for uid {user.uid}; chmod +x it")
    return _problem("EACCES", f"command {path!r} cannot be reached by uid {user.uid}: no x on {blocked!r}")


def fingerprint(launch: Launch, check: Check) -> str:
    """A digest of user, command, interpreter, cwd, env files and of files named as arguments.

    The latter because `python server.py` that ends with 78 is worth a retry when server.py was edited.
    """
    from _blake2 import blake2b  # not hashlib: that loads libcrypto, 3 MB

    found = lookup(launch, check)
    facts: list[str] = []
    if isinstance(found, Target):
        facts += [
            found.exe,
            str((found.uid, found.gid)),
            _facts(found.exe),
            _facts(os.path.realpath(found.exe)),
        ]
    else:
        facts += [
            found.error,
            found.message,
            _facts(os.path.join(launch.cwd, launch.argv[0] if launch.argv else "")),
        ]
    facts.append(_facts(launch.cwd))
    facts += [_facts(os.path.join(launch.cwd, path)) for path in launch.env_files]
    facts += [_facts(os.path.join(launch.cwd, word)) for word in launch.argv[1:_MOST_ARGUMENTS]]
    return blake2b("\0".join(facts).encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()


def _facts(path: str) -> str:
    """What identifies the content of a file; of a directory only which one it is and who may enter."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return "-"
    who = f"{facts.st_dev}:{facts.st_ino}:{facts.st_mode}:{facts.st_uid}:{facts.st_gid}"
    return who if stat.S_ISDIR(facts.st_mode) else f"{who}:{facts.st_size}:{facts.st_mtime_ns}"
