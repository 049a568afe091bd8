"""`run --exec`: check, set limits, become the program (SVC-1, SVC-3). The process id and the parent stay.

Nobody is left to watch: no health, no budget, no READY, no output of ours, no cgroup; the outer manager has all that.
Whatever can be found wrong before is one line and exit code 78, never a loop of failing starts. Descriptors from 3 on
are closed, save the sockets that a manager passed to this very process. Must not start a process.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from typing import NoReturn

from midwatch.host.headroom import raise_files
from midwatch.machine import this_machine
from midwatch.machine.ports import LaunchProblem, Machine, Target
from midwatch.model.service import Launch
from midwatch.policy import defaults

FIRST_FD = 3
LISTEN = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_READS_A_SCRIPT = re.compile(r"(?:python|pypy|ruby|perl|php|bash|sh|dash|zsh)[0-9.]*")
_MOST_NAMED = 3  # holders of a port in one line


class CannotExec(Exception):
    """The program would not run as it is described. Nothing was started."""

    exit_code = 78


def become(launch: Launch, env: Mapping[str, str], say: Callable[[str], None]) -> NoReturn:
    """Replace this process by the program of `launch`. Raises CannotExec. `say`: what could not be set as asked."""
    machine = this_machine("exec", os.getppid())
    target = machine.lookup(launch)
    if isinstance(target, LaunchProblem):
        raise CannotExec(f"{target.message}; nothing was started")
    sockets = passed_sockets(env, os.getpid())
    _check_script(launch)
    if launch.port is not None and not sockets:
        _check_port(machine, launch.port)
    words = dict(env)
    if not sockets:
        for name in LISTEN:
            words.pop(name, None)
    if "nofile" not in launch.rlimits:
        raise_files()
    for warning in machine.prepare(os.getpid(), launch):
        say(warning)
    _settle(launch, target, words)
    _close_others(sockets)
    sys.stdout.flush()
    sys.stderr.flush()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what is ignored stays so in the program
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(target.exe, launch.argv, words)
    except OSError as error:
        raise CannotExec(f"cannot execute {target.exe}: {error.strerror}; nothing was started") from None


def passed_sockets(env: Mapping[str, str], pid: int) -> range:
    """The descriptors that a manager passed to exactly this process (sd_listen_fds)."""
    count, whose = env.get("LISTEN_FDS", ""), env.get("LISTEN_PID", "")
    if whose != str(pid) or not (count.isascii() and count.isdigit()) or int(count) > defaults.PASSED_SOCKETS:
        return range(0)
    return range(FIRST_FD, FIRST_FD + int(count))


def _check_script(launch: Launch) -> None:
    """`python server.py` without server.py would end with 2 and be started again and again."""
    program = launch.argv[0].rpartition("/")[2]
    if len(launch.argv) < 2 or launch.argv[1].startswith("-") or not _READS_A_SCRIPT.fullmatch(program):
        return
    path = os.path.join(launch.cwd, launch.argv[1])
    try:
        if os.path.isdir(path):
            return  # a package with a __main__.py
        with open(path, "rb"):
            pass
    except OSError as error:
        raise CannotExec(f"cannot read the script {path}: {error.strerror}; nothing was started") from None


def _check_port(machine: Machine, port: int) -> None:
    """ORP-2: no listener in the kernel's table, and a trial bind succeeds."""
    listeners = machine.listeners(port)
    if not listeners and machine.bindable(port):
        return
    pids = dict.fromkeys(pid for listener in listeners for pid in listener.pids)
    owners = [holder for pid in pids if (holder := machine.holder(pid))][:_MOST_NAMED]
    words = "; ".join(
        f"pid {one.proc.pid} ({one.command}), user {one.user}{', ' + one.manager if one.manager else ''}"
        for one in owners
    )
    way_out = f"; if it is not wanted: kill {owners[0].proc.pid}" if owners else ""
    raise CannotExec(
        f"port {port} is taken by {words or 'a process that we may not see'}; nothing was started{way_out}"
    )


def _settle(launch: Launch, target: Target, env: dict[str, str]) -> None:
    """Folder, mask and user, after the limits: then we may no longer set them. Limits only warn (H15), these do not."""
    try:
        os.chdir(launch.cwd)
        if launch.umask is not None:
            os.umask(launch.umask)
        if target.groups is not None:
            os.setgroups(target.groups)
        if target.gid is not None:
            os.setgid(target.gid)
        if target.uid is not None:
            os.setuid(target.uid)
    except OSError as error:
        what = f" {error.filename}" if error.filename else ""
        raise CannotExec(f"cannot prepare the program{what}: {error.strerror}; nothing was started") from None
    if launch.user is not None:
        name = launch.user.partition(":")[0]
        env.setdefault("USER", name)
        env.setdefault("LOGNAME", name)
        if target.home is not None:
            env.setdefault("HOME", target.home)


def _close_others(sockets: range) -> None:
    """At the exec; until then an error can still be told."""
    for name in os.listdir("/dev/fd"):
        fd = int(name)
        if fd >= FIRST_FD:
            try:
                os.set_inheritable(fd, fd in sockets)
            except OSError:
                pass  # the descriptor of that very look
