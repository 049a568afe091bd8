"""DOC-22: unit files and plists that hurt (story 4, users.md 5.2): recorded Macs, unit texts, a real port."""

from __future__ import annotations

import plistlib
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.inspect.doctor.machines import NOW, Machine, ctx, proc

from midwatch.inspect.doctor import units
from midwatch.inspect.doctor.check import Watched
from midwatch.inspect.doctor.parts import listeners
from midwatch.inspect.doctor.run import run
from midwatch.inspect.sources.live import Live
from midwatch.model.look import Checked
from midwatch.policy import defaults_inspect as figures

AGENTS = "/Users/me/Library/LaunchAgents"
PRINT = """gui/501/{label} = {{
	active count = 0
	path = /Users/me/Library/LaunchAgents/{label}.plist
	type = LaunchAgent
	state = {state}

	program = /bin/bash
	arguments = {{
		/bin/bash
		/opt/webui/start.sh
	}}

	minimum runtime = 10
	exit timeout = 5
	runs = {runs}
	last exit code = {code}
{more}
	spawn type = daemon (3)
	properties = keepalive | runatload
}}
"""
JOB: dict[str, Any] = {
    "Label": "com.me.webui", "ProgramArguments": ["/bin/bash", "/opt/webui/start.sh", "--port", "8787"],
    "KeepAlive": True, "RunAtLoad": True, "ThrottleInterval": 14, "StandardErrorPath": "/Users/me/webui.log",
}  # fmt: skip


def webui(mac: Machine, runs: int = 412, code: str = "0", log: str = "", **changes: Any) -> Machine:
    """A Mac with one job, as its manager tells it."""
    mac.home, mac.uid = "/Users/me", 501
    job = {key: value for key, value in (JOB | changes).items() if value is not None}
    mac.put(f"{AGENTS}/com.me.webui.plist", plistlib.dumps(job))
    text = PRINT.format(label="com.me.webui", state="waiting", runs=runs, code=code, more="")
    mac.ran[("launchctl", "print", "gui/501/com.me.webui")] = _ran(text)
    mac.sysctls["kern.boottime"] = f"{{ sec = {int(NOW) - 86400}, usec = 0 }} Sun Mar  1"
    if log:
        mac.put("/Users/me/webui.log", log)
    return mac


def _ran(out: str) -> Any:
    from midwatch.inspect.sources import Ran

    return Ran(0, out)


def look(machine: Machine, **changes: Any) -> list[Checked]:
    return run(ctx(machine, **changes), [units.CHECK])


def bad(results: list[Checked]) -> list[Checked]:
    return [one for one in results if one.status in ("warn", "fail")]


def test_keepalive_and_a_launcher_that_exits_0(mac: Machine) -> None:
    """Users 5.2: KeepAlive=true + launcher that exits 0 -> loop (412 runs), and the 256 descriptors, each one fix."""
    found = bad(look(webui(mac)))
    assert [(one.status, one.message) for one in found] == [
        ("fail", "com.me.webui: KeepAlive + launcher that exits 0 -> loop (412 runs)"),
        ("warn", "com.me.webui.plist: no SoftResourceLimits: 256 open files"),
    ]
    assert "foreground" in found[0].hint
    assert "NumberOfFiles 4096" in found[1].hint


def test_keepalive_and_already_running_is_named_within_one_run(mac: Machine) -> None:
    """Story 4: "every 14 seconds since the update": exit 1 because the old server has the port; no root needed."""
    webui(mac, code="1", log="starting\nError: listen EADDRINUSE: address already in use 127.0.0.1:8787\n")
    mac.add(proc(500, "python server.py", started=NOW - 90_000))
    mac.says("lsof -nP -iTCP:8787 -sTCP:LISTEN -a -Fp", "p500\n")
    found = bad(look(mac))[0]
    assert found.status == "fail"
    assert found.message.startswith(
        "com.me.webui: KeepAlive + already-running exit (exit 1) -> loop (412 runs); port 8787 is held by "
        "python server.py (pid 500), which is none of it"
    )
    assert "in a session of its own escapes" in found.message  # ORP-9
    assert found.hint.startswith("kill 500, then run the program in the foreground")
    assert [one.pid for one in found.offenders] == [None, 500]


def test_the_log_alone_tells_it(mac: Machine) -> None:
    """Without lsof its own last words are the evidence."""
    found = bad(look(webui(mac, code="1", log="gateway: another instance holds the lock, exiting\n")))[0]
    assert "its log: gateway: another instance holds the lock" in found.message


def test_a_few_starts_are_no_loop(mac: Machine) -> None:
    """Two runs after an update are no loop; a job whose exits say nothing is none either."""
    assert not [one for one in bad(look(webui(mac, runs=2))) if one.status == "fail"]
    assert not [one for one in bad(look(webui(mac, code="1"))) if one.status == "fail"]


def test_other_faults_of_a_plist(mac: Machine) -> None:
    """Inverted SuccessfulExit (scenario 44's kin), ~, a broken file, a binary one, and nobody to ask."""
    job = {"SuccessfulExit": True}
    webui(mac, KeepAlive=job, ProgramArguments=["~/bin/x"], SoftResourceLimits={"NumberOfFiles": 4096})
    mac.put(f"{AGENTS}/broken.plist", b"<plist><dict><key>Label")
    mac.put(f"{AGENTS}/bin.plist", plistlib.dumps(JOB | {"Label": "bin"}, fmt=plistlib.FMT_BINARY))
    mac.put(f"{AGENTS}/list.plist", plistlib.dumps(["x"]))
    found = look(mac)
    said = {one.message.partition(": ")[0]: one for one in found if one.status == "skip"}
    assert set(said) == {"broken.plist", "list.plist", "launchctl is not here"}  # it knows the first job only
    words = " | ".join(one.message for one in bad(found))
    assert "SuccessfulExit is inverted" in words
    assert "launchd does not expand ~" in words
    assert "bin.plist: KeepAlive is true" in words
    mac.ran.clear()
    assert [one.message for one in look(mac) if one.status == "skip"][-1] == "launchctl is not here"


def test_a_slow_launchctl_is_said(mac: Machine) -> None:
    """When the time for questions is over, the rest is audited by its file, and that is said."""
    webui(mac)
    clock = iter([0.0, *[figures.MANAGER_SECONDS + 1] * 50])
    found = look(mac, clock=lambda: next(clock))
    assert "com.me.webui: no time left to ask launchctl" in [one.message for one in found]
    assert any("KeepAlive is true" in one.message for one in found)


UNIT = """[Unit]
Description=gateway
[Service]
ExecStart=/usr/bin/python3 /srv/gateway.py --drain 300
Restart={restart}
RestartSec=5
TimeoutStopSec=30
[Install]
WantedBy=default.target
"""
SHOW = (
    "systemctl {user}show *.service --no-pager -p Id,FragmentPath,ActiveState,SubState,Result,MainPID,NRestarts,"
    "ExecMainCode,ExecMainStatus,RestartUSec,ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic,"
    "TimeoutStopUSec,ControlGroup,"
    "UnitFileState"
)


def systemd(machine: Machine, user: str = "", system: str = "") -> Machine:
    machine.says(SHOW.format(user=""), system)
    machine.says(SHOW.format(user="--user "), user)
    return machine


def test_patience_shorter_than_the_drain(machine: Machine) -> None:
    """Users 5.2: gateway.service TimeoutStopSec=30 < drain 300; and the limit that cannot bite (scenario 29)."""
    systemd(machine).put("/etc/systemd/system/gateway.service", UNIT.format(restart="on-failure"))
    found = {one.message: one.hint for one in bad(look(machine))}
    assert found[
        "gateway.service: TimeoutStopSec=30 < drain 300: the manager kills before it has drained"
    ].startswith("TimeoutStopSec=315")
    assert any(
        words.startswith("gateway.service: limit unreachable: 2 starts per 10 s, needs 5") for words in found
    )


def test_a_drop_in_counts(machine: Machine) -> None:
    """F-16: drop-ins are merged in order; what they cure is no finding."""
    systemd(machine).put("/etc/systemd/system/gateway.service", UNIT.format(restart="on-failure"))
    more = "[Unit]\nStartLimitIntervalSec=120\n[Service]\nTimeoutStopSec=320\n"
    machine.put("/etc/systemd/system/gateway.service.d/10-fix.conf", more)
    assert not bad(look(machine))


def test_our_units_are_held_against_our_stop(machine: Machine) -> None:
    """A unit that runs midwatch: TimeoutStopSec against the longest stop of our services."""
    text = "[Service]\nExecStart=/usr/bin/midwatch up -f /etc/m.toml\nTimeoutStopSec=30\n"
    systemd(machine).put("/etc/systemd/system/midwatch.service", text)
    found = bad(look(machine, services=(Watched("home/web", drain=45.0),)))
    assert [one.message for one in found] == [
        "midwatch.service: TimeoutStopSec is 30 s, but our own stop may take 45 s: systemd would kill first"
    ]
    assert found[0].hint == "TimeoutStopSec=60"


def test_user_services_without_linger(machine: Machine) -> None:
    """A user unit that starts by itself ends at logout: one fix that doctor may run when asked."""
    systemd(machine).put("/home/me/.config/systemd/user/web.service", UNIT.format(restart="no"))
    machine.put("/etc/passwd", "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n")
    (found,) = [one for one in bad(look(machine)) if one.fix]
    assert found.fix == ("loginctl", "enable-linger", "me")
    machine.put("/var/lib/systemd/linger/me", "")
    assert not [one for one in bad(look(machine)) if one.fix]


def test_restart_always_around_an_old_server(machine: Machine) -> None:
    """The same loop under systemd: Restart=always, exit 0, and the port held from outside of the unit."""
    text = "[Service]\nExecStart=/opt/start.sh --port=8787\nRestart=always\nRestartSec=1\n"
    facts = (
        "Id=webui.service\nMainPID=0\nNRestarts=99\nExecMainCode=1\nExecMainStatus=0\nSubState=auto-restart\n"
        "ControlGroup=/system.slice/webui.service\n"
    )
    systemd(machine, system=facts).put("/etc/systemd/system/webui.service", text)
    machine.put("/proc/net/tcp", "head\n 0: 0100007F:2253 00000000:0000 0A 0:0 0:0 0 1000 0 777 1\n")
    machine.links = {"/proc/500/fd/3": "socket:[777]"}
    machine.add(proc(500, "python server.py", cgroup="/user.slice/session-2.scope"))
    found = bad(look(machine))[0]
    assert found.status == "fail"
    assert found.message.startswith(
        "webui.service: Restart=always + launcher that exits 0 -> loop (100 runs); port 8787"
    )
    assert "started outside of this unit" in found.message


def test_packaged_units_are_not_ours_to_judge(machine: Machine) -> None:
    """A link to a package's file is left out; without systemd the files alone are read and that is said."""
    machine.put("/etc/systemd/system/ssh.service", UNIT.format(restart="always"))
    machine.links["/etc/systemd/system/ssh.service"] = "/usr/lib/systemd/system/ssh.service"
    found = look(machine)
    assert [one.status for one in found] == ["skip", "skip"]
    machine.put("/etc/systemd/system/own.service", UNIT.format(restart="always"))
    assert bad(look(machine))


def test_a_folder_of_units_is_bounded(machine: Machine) -> None:
    """Ten thousand files: the first hundred are read."""
    systemd(machine)
    machine.files |= {
        f"/etc/systemd/system/{n:05}.service": b"[Service]\nExecStart=/x\n" for n in range(10_000)
    }
    assert look(machine)[-1].message == f"{figures.UNIT_FILES} unit files of yours looked at, nothing found"


def test_only_what_is_about_a_service(machine: Machine) -> None:
    """`doctor NAME`: its own unit and the daemon's."""
    systemd(machine).put("/etc/systemd/system/gateway.service", UNIT.format(restart="always"))
    machine.put("/etc/systemd/system/other.service", UNIT.format(restart="always"))
    assert {one.offenders[0].name for one in bad(look(machine, name="home/gateway"))} == {"gateway.service"}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/net/tcp")
def test_a_real_holder_of_a_port_is_found(tmp_path: Path) -> None:
    """A real server, found by its socket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    bind = f"s.bind(('127.0.0.1', {port})); s.listen()"
    code = f"import socket; s = socket.socket(); {bind}; print('up', flush=True); input()"
    pipe = subprocess.PIPE
    server = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe)
    try:
        assert server.stdout
        server.stdout.readline()
        assert listeners.of(ctx(Live()), port) == [server.pid]
    finally:
        server.kill()
        server.communicate()
