"""systemd units in two shapes: one service (UNI-3), and the daemon with all of a configuration's services.

One service: the unit is the service, so systemd ends everything in it and counts its memory. The daemon: the
unit is Midwatch, and its services outlive it (`KillMode=process`), because the next one takes them over.
Every limit is computed so that it can bite (service-and-doctor 0.1 e: 5 starts in 10 s never happen at a pause
of 5 s). Must not read a configuration. Tests: tests/host/units/test_systemd.py.
"""

from __future__ import annotations

from midwatch.host.units import figures
from midwatch.host.units.common import Facts, limit_interval, single_line, stamped
from midwatch.host.units.unitfile import command_value, environment_value, path_value

Lines = list[str]
USAGE, GAVE_UP, CONFIG, AGAIN = 2, 3, 78, 75  # our exit codes: SVC-4
# cgroup v2: a group that gives its children controllers takes no process, so systemd could not put the next daemon
# into a unit in which services with memory limits have outlived the last one (status 219/CGROUP; seen with 252). It
# runs ExecStopPost= in .control below the unit, also after a kill (ExecStartPre= not: that would fail the same way).
# The next daemon switches the controllers on again when it takes the services over.
MAKE_ROOM = (
    "g=$(sed -n 's/^0:://p' /proc/self/cgroup); "
    'case $g in */.control) cd "/sys/fs/cgroup${g%/.control}" || exit 0;; *) exit 0;; esac; '
    "for f in midwatch-*/cgroup.subtree_control cgroup.subtree_control; do "
    'for c in $(cat "$f"); do echo "-$c" >"$f"; done; done 2>/dev/null'
)


def make(facts: Facts) -> str:
    """The whole unit, stamped."""
    sections = {
        "Unit": _unit(facts),
        "Service": _daemon(facts) if facts.shape == "daemon" else _service(facts),
        "Install": [f"WantedBy={'default' if facts.user_manager else 'multi-user'}.target"],
    }
    text = "".join(f"# {line}\n" for line in _opening(facts))
    for name, lines in sections.items():
        text += f"\n[{name}]\n" + "".join(f"{line}\n" for line in lines)
    return stamped(text, facts)


def install_commands(facts: Facts, path: str | None = None) -> Lines:
    """What a person types to put it into force; `path`: where it was written already."""
    unit = path.rpartition("/")[2] if path else f"{facts.unit}.service"
    if facts.user_manager:
        folder, ctl, log = "~/.config/systemd/user", "systemctl --user", "journalctl --user -u"
        linger = ["loginctl enable-linger  # else it ends with your last session"]
    else:
        folder, ctl, log, linger = "/etc/systemd/system", "systemctl", "journalctl -u", []
    return [
        f"{facts.again} -o {folder}/{unit}", f"{ctl} daemon-reload", f"{ctl} enable --now {unit}", *linger,
        f"{ctl} status {unit}", f"{log} {unit}",
    ]  # fmt: skip


def _opening(facts: Facts) -> Lines:
    lines = [f"Made by: {single_line('the command', facts.again)}"]
    if facts.user_manager:
        lines.append("It ends with your last session unless you once run: loginctl enable-linger")
    lines.append("Do not also start it by hand: this unit is the one who does.")
    lines += [f"{facts.name} needs {other}, which is not in this unit: After= is all" for other in facts.needs]
    lines += [f"Not done here: {one}" for one in facts.skipped]
    return lines


def _unit(facts: Facts) -> Lines:
    after = [] if facts.user_manager else ["network.target"]
    wants = []
    if facts.account is not None and facts.uid:
        # Our runtime folder is below /run/user/UID where that exists, else in the state folder: it has to exist at
        # boot already, or commands typed in a later session would look for the daemon elsewhere.
        wants.append(f"user-runtime-dir@{facts.uid}.service")
    after += [*wants, *(f"{name}.service" for name in facts.needs)]
    return [
        f"Description=Midwatch: {path_value(facts.title)}" if facts.shape != "direct" else f"Description={facts.title}",
        *([f"Wants={' '.join(wants)}"] if wants else []),
        *([f"After={' '.join(after)}"] if after else []),
        f"StartLimitIntervalSec={limit_interval(_life(facts))}",
        f"StartLimitBurst={figures.BURST}",
    ]


def _notify(facts: Facts) -> bool:
    return facts.shape == "daemon" or (facts.shape == "run" and not facts.oneshot)


def _life(facts: Facts) -> float:
    """The longest life that counts as a failed start: with a watchdog also one that hangs."""
    return figures.WATCHDOG + figures.STOP_SPARE if _notify(facts) else figures.SHORT_LIFE


def _service(facts: Facts) -> Lines:
    lines = [f"Type={'notify' if _notify(facts) else 'oneshot' if facts.oneshot else 'exec'}"]
    if facts.oneshot:
        lines.append("RemainAfterExit=yes")
    if _notify(facts):
        lines.append("NotifyAccess=main")
    lines += _place(facts)
    lines.append(f"ExecStart={command_value(facts.command)}")
    if facts.nice is not None and facts.shape == "direct":
        lines.append(f"Nice={facts.nice}")
    if facts.umask is not None and facts.shape == "direct":
        lines.append(f"UMask={facts.umask:04o}")
    # 3: Midwatch has tried ten times and says that trying cannot help; starting it anew would begin that count anew.
    never = [USAGE, GAVE_UP, CONFIG] if facts.shape == "run" else [CONFIG]
    lines += [
        "Restart=on-failure", f"RestartSec={figures.RESTART_PAUSE}",
        f"RestartPreventExitStatus={' '.join(map(str, never))}",
        *([] if facts.oneshot else [f"RestartForceExitStatus={AGAIN}"]),  # systemd forbids it there; on-failure has 75
        f"TimeoutStartSec={int(facts.start) + 1 if _notify(facts) else 'infinity'}",
        f"TimeoutStopSec={facts.stop_timeout}", "KillMode=mixed", f"TasksMax={figures.TASKS}",
        f"LimitNOFILE={facts.files[0]}:{facts.files[1]}",
    ]  # fmt: skip
    if facts.shape != "run" and facts.signal != "SIGTERM":
        lines.append(f"KillSignal={facts.signal}")
    if facts.memory_hard is not None:
        lines.append(f"MemoryMax={facts.memory_hard + (figures.OWN_MEMORY if facts.shape == 'run' else 0)}")
    lines.append("OOMPolicy=stop")
    if _notify(facts):
        lines.append(f"WatchdogSec={figures.WATCHDOG}")
    return lines


def _daemon(facts: Facts) -> Lines:
    tasks = figures.TASKS + figures.TASKS_EACH * facts.services
    return [
        "Type=notify", "NotifyAccess=all",
        *_place(facts),
        f"ExecStart={command_value(facts.command)}",
        f"ExecReload={command_value((*facts.midwatch, 'reload', '-f', facts.file))}",
        f"ExecStop={command_value((*facts.midwatch, 'down', '--all'))}",
        f"ExecStopPost=-{command_value(('/bin/sh', '-c', MAKE_ROOM))}",
        # The services outlive the daemon: no signal of systemd's may reach them, no memory line of the unit may
        # make the kernel choose among them, and their cgroups are ours to make.
        "KillMode=process", "Delegate=yes", f"FileDescriptorStoreMax={figures.FD_STORE}", "OOMPolicy=continue",
        "Restart=on-failure", f"RestartSec={figures.RESTART_PAUSE}",
        f"RestartPreventExitStatus={USAGE} {CONFIG}", f"RestartForceExitStatus={AGAIN}",
        f"TimeoutStartSec={figures.DAEMON_START}", f"TimeoutStopSec={facts.stop_timeout}",
        f"TasksMax={tasks}", f"LimitNOFILE={facts.files[0]}:{facts.files[1]}",
        f"WatchdogSec={figures.WATCHDOG}",
    ]  # fmt: skip


def _place(facts: Facts) -> Lines:
    lines = [f"WorkingDirectory={path_value(single_line('the folder', facts.folder))}"]
    if facts.account is not None and not facts.user_manager:
        lines.append(f"User={facts.account}")
    lines.append(f"Environment={environment_value('PATH', facts.path)}")
    if facts.home is not None and facts.shape != "direct":
        lines.append(f"Environment={environment_value('MIDWATCH_HOME', facts.home)}")
    if facts.shape == "direct":
        lines += [f"Environment={environment_value(name, value)}" for name, value in sorted(facts.env.items())]
        lines += [f"EnvironmentFile={path_value(single_line('the env file', name))}" for name in facts.env_files]
    return lines
