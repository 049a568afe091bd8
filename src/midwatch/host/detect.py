"""Who started us: a manager that takes our end for the service's end, or somebody at a terminal (SVC-5..9).

Pure: facts in, a verdict with its reasons out. Variables are inherited by everything below a unit (login shells,
web terminals, tmux), so a variable alone is never strong: it has to agree with what the kernel says about this
very process. Must not read a file, an environment or a process (facts.py does).
"""

from __future__ import annotations

from typing import Literal

import msgspec

Name = Literal["none", "explicit", "systemd", "launchd", "supervisord", "midwatch", "container"]
Confidence = Literal["strong", "weak", "none"]

OPT_IN = "MIDWATCH_FOREGROUND"  # for managers that cannot be recognised: runit, daemontools, PM2, honcho
YES = frozenset({"1", "true", "yes", "on"})
NO = frozenset({"0", "false", "no", "off", ""})
NEAR = 3  # levels above us in which supervisord has to be: it starts programs itself or through a shell
INITS = frozenset({"tini", "docker-init", "dumb-init", "catatonit", "podman-init"})
KEEPER = "keeper/__main__.py"  # the outer midwatch that is our parent


class Ancestor(msgspec.Struct, frozen=True):
    """One process above us: its kernel name, and the words of its command line."""

    pid: int
    comm: str
    words: tuple[str, ...] = ()


class Facts(msgspec.Struct, frozen=True):
    """What can be known about this process without asking a manager. `ancestors`: parent first, at most NEAR."""

    pid: int
    environ: dict[str, str] = {}
    ancestors: tuple[Ancestor, ...] = ()
    cgroup: str = ""  # the last part of our own cgroup's path
    tty: bool = False  # stdin is a terminal
    streams: tuple[str, ...] = ()  # "dev:inode" of stdout and stderr
    notify: str = ""  # NOTIFY_SOCKET when somebody listens there
    container: str = ""  # what says that this is the inside of a container
    darwin: bool = False
    launchd_pid: int | None = None  # of XPC_SERVICE_NAME's job; None: launchctl was not asked or did not know
    launchd_timeout: float | None = None  # s that launchd waits between TERM and KILL of that job

    @property
    def ppid(self) -> int:
        """Our parent, 0 when it is outside of what we can see."""
        return self.ancestors[0].pid if self.ancestors else 0

    @property
    def parent(self) -> str:
        """Its name."""
        return self.ancestors[0].comm if self.ancestors else ""


class Manager(msgspec.Struct, frozen=True):
    """The verdict. Only "strong" may change what we do; "weak" is worth one line."""

    name: Name
    confidence: Confidence
    reasons: tuple[str, ...] = ()

    @property
    def strong(self) -> bool:
        """Is this process the manager's own child?"""
        return self.confidence == "strong"


def detect(facts: Facts) -> Manager:
    """The strongest verdict; of two equal ones the first. An explicit word beats all evidence."""
    value = facts.environ.get(OPT_IN, "").strip().lower()
    if value in YES:
        return Manager("explicit", "strong", (f"{OPT_IN}={value}",))
    found = [look(facts) for look in (_systemd, _launchd, _supervisord, _midwatch, _container)]
    for confidence in ("strong", "weak"):
        for manager in found:
            if manager.confidence == confidence:
                return manager
    odd = (f"{OPT_IN}={value[:20]!r} is neither yes nor no and is ignored",) if value not in NO else ()
    return Manager("none", "none", odd)


def _verdict(name: Name, strong: list[str], weak: list[str]) -> Manager:
    if strong:
        return Manager(name, "strong", tuple(strong))
    return Manager(name, "weak", tuple(weak)) if weak else Manager("none", "none")


def _systemd(facts: Facts) -> Manager:
    """SVC-6, SVC-7."""
    env, strong, weak = facts.environ, [], []
    exec_pid = env.get("SYSTEMD_EXEC_PID", "")
    invocation = bool(env.get("INVOCATION_ID"))
    unit = _is_unit(facts.cgroup)
    if exec_pid == str(facts.pid):
        strong.append("SYSTEMD_EXEC_PID is this process")
    elif exec_pid:
        weak.append(f"SYSTEMD_EXEC_PID is {exec_pid[:12]}, not this process")
    if invocation and facts.parent == "systemd" and unit and not facts.tty and not exec_pid:
        strong.append(f"INVOCATION_ID is set, the parent is systemd, the cgroup is {facts.cgroup}")
    elif invocation:
        weak.append("INVOCATION_ID is set, which everything below a unit inherits")
    if env.get("JOURNAL_STREAM") and env["JOURNAL_STREAM"] in facts.streams:
        (strong or weak).append("stdout or stderr is the journal")
    if facts.notify:
        (strong or weak).append("NOTIFY_SOCKET is there")
    return _verdict("systemd", strong, weak)


def _is_unit(leaf: str) -> bool:
    """A service of its own: no session, no scope, and not the unit that holds all of a user's others."""
    return leaf.endswith(".service") and not leaf.startswith("user@")


def _launchd(facts: Facts) -> Manager:
    """SVC-8: "0" and application.* are what terminals and their children have."""
    name, strong, weak = facts.environ.get("XPC_SERVICE_NAME", "").strip(), [], []
    if facts.darwin and "." in name and not name.startswith("application."):
        if facts.launchd_pid not in (None, facts.pid):
            weak.append(f"launchctl says that {name} is process {facts.launchd_pid}, not this one")
        elif facts.ppid == 1 and not facts.tty:
            strong.append(f"XPC_SERVICE_NAME is {name} and the parent is launchd")
            if facts.launchd_pid is not None:
                strong.append("launchctl says that this is its process")
        else:
            why = "stdin is a terminal" if facts.tty else f"the parent is {facts.parent or facts.ppid}"
            weak.append(f"XPC_SERVICE_NAME is {name}, but {why}")
    if facts.environ.get("LAUNCHD_SOCKET"):
        (strong or weak).append("LAUNCHD_SOCKET is set")
    return _verdict("launchd", strong, weak)


def _supervisord(facts: Facts) -> Manager:
    """SVC-9."""
    env = facts.environ
    if not env.get("SUPERVISOR_ENABLED"):
        return Manager("none", "none")
    name = env.get("SUPERVISOR_PROCESS_NAME", "")
    above = next((a for a in facts.ancestors[:NEAR] if _runs(a, "supervisord", "supervisor.supervisord")), None)
    if name and above:
        return Manager(
            "supervisord", "strong", (f"SUPERVISOR_PROCESS_NAME is {name}", f"process {above.pid} is supervisord")
        )
    why = "no supervisord is near above us" if name else "SUPERVISOR_PROCESS_NAME is not"
    return Manager("supervisord", "weak", (f"SUPERVISOR_ENABLED is set, but {why}",))


def _runs(ancestor: Ancestor, *names: str) -> bool:
    """Is this its program, its script or its module? The interpreter's options may come first."""
    words = (word.rpartition("/")[2] for word in ancestor.words[:4])
    return ancestor.comm in names or any(word in names for word in words)


def _midwatch(facts: Facts) -> Manager:
    """Another instance is our parent: the run's end is what it waits for."""
    words = facts.ancestors[0].words if facts.ancestors else ()
    if facts.environ.get("MIDWATCH_RUN") and any(word.endswith(KEEPER) for word in words):
        return Manager("midwatch", "strong", (f"process {facts.ppid} is the keeper of another midwatch",))
    return Manager("none", "none")


def _container(facts: Facts) -> Manager:
    """SVC-9: process 1 ends, the container ends; the same for the one child of a tiny init."""
    if facts.pid == 1:
        return Manager("container", "strong", ("this is process 1", *filter(None, [facts.container])))
    if facts.container and facts.ppid == 1 and facts.parent in INITS and not facts.tty:
        return Manager("container", "strong", (f"process 1 is {facts.parent}", facts.container))
    return Manager("none", "none")
