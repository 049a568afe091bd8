"""The services of systemd and launchd: their files, and what the manager says of them, as far as anybody may ask.

A service is known by its file, by its manager, or by both; what is missing is empty. Bounded in files, programs and
time. Must not judge. Tests: tests/inspect/doctor/test_units.py, test_services.py.
"""

from __future__ import annotations

import plistlib
import re
from typing import Any, Literal
from xml.parsers.expat import ExpatError

import msgspec

from midwatch.inspect.doctor.check import Context, Missing
from midwatch.policy import defaults_inspect as figures

_KEYS = (
    "Id,FragmentPath,ActiveState,SubState,Result,MainPID,NRestarts,ExecMainCode,ExecMainStatus,RestartUSec,"
    "ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic,TimeoutStopUSec,ControlGroup,UnitFileState"
)
_LINE = re.compile(r"^\s+([a-z][\w /-]*?) = (.*?)\s*$", re.MULTILINE)
_TYPES: dict[str, Any] = {
    "Label": str, "ProgramArguments": list, "KeepAlive": (bool, dict), "ThrottleInterval": int, "ExitTimeOut": int,
    "SoftResourceLimits": dict, "HardResourceLimits": dict, "EnvironmentVariables": dict, "StandardErrorPath": str,
    "StandardOutPath": str, "WorkingDirectory": str,
}  # fmt: skip
_NO_SYSTEMD = re.compile(r"Host is down|not been booted with systemd")
_OWN = {"systemd": "/etc/systemd/system", "launchd": "/Library/LaunchDaemons"}


class Service(msgspec.Struct, frozen=True):
    """One. `said`: what the manager tells, by its own names; `job`: a property list, read; `problem`: unreadable."""

    manager: Literal["systemd", "launchd"]
    name: str
    user: bool = False  # of the person's own manager
    path: str = ""
    text: str = ""
    job: dict[str, Any] = {}
    said: dict[str, str] = {}
    problem: str = ""

    @property
    def pid(self) -> int:
        """Of its main process, 0 when it has none."""
        value = self.said.get("MainPID") or self.said.get("pid") or "0"
        return int(value) if value.isdigit() else 0

    @property
    def starts(self) -> int:
        """How often its manager has started it again: NRestarts, or runs less the first."""
        if (value := self.said.get("NRestarts", "")).isdigit():
            return int(value)
        value = self.said.get("runs", "")
        return max(0, int(value) - 1) if value.isdigit() else 0

    @property
    def restart(self) -> str:
        """The command that starts it again."""
        if self.manager == "systemd":
            return f"systemctl {'--user ' if self.user else ''}restart {self.name}"
        return f"launchctl kickstart -k {'gui/$(id -u)' if self.user else 'system'}/{self.name}"

    def control(self, verb: str) -> str:
        """Another command of its manager about it."""
        if self.manager == "systemd":
            return f"systemctl {'--user ' if self.user else ''}{verb} {self.name}"
        return f"launchctl {verb} {'gui/$(id -u)' if self.user else 'system'}/{self.name}"


def services(ctx: Context) -> tuple[list[Service], list[str]]:
    """(all that are known, what could not be asked)."""
    found = ctx.once("services", lambda: _systemd(ctx) if ctx.linux else _launchd(ctx))
    assert isinstance(found, tuple)
    return found


def ask(ctx: Context) -> str:
    """The command with which a person sees why a manager does not answer."""
    return "systemctl is-system-running" if ctx.linux else "launchctl print system"


def _systemd(ctx: Context) -> tuple[list[Service], list[str]]:
    known: dict[tuple[bool, str], dict[str, str]] = {}
    missing = []
    for user in (False, True):
        argv = ("systemctl", *(("--user",) if user else ()), "show", "*.service", "--no-pager", "-p", _KEYS)
        try:
            known |= {(user, facts["Id"]): facts for facts in blocks(ctx.said(*argv)) if "Id" in facts}
            if argv in ctx.cut:
                missing.append("services: systemctl printed more than 1 MiB, the rest was not read")
        except Missing as why:
            if user and ctx.sources.uid == 0:
                continue  # root has no manager of its own on most machines
            if _NO_SYSTEMD.search(why.why):
                missing.append("systemd does not run this machine: its services cannot be asked")
                break  # then there is no user's manager either
            if "no answer in time" in why.why:
                missing.append(f"services: {why.why}")
                break  # the other question would hang as long
            missing.append(("the user's " if user else "") + f"services: {why.why}")
    found = []
    home = ctx.sources.home
    for folder, user in ((_OWN["systemd"], False), (f"{home}/.config/systemd/user", True)):
        for name in _files(ctx, folder, ".service"):
            facts = known.pop((user, name), {})
            text, problem = _unit(ctx, f"{folder}/{name}", folder, name)
            found.append(Service("systemd", name, user, f"{folder}/{name}", text, {}, facts, problem))
    rest = [
        Service("systemd", name, user, facts.get("FragmentPath", ""), said=facts)
        for (user, name), facts in known.items()
    ]
    return found + rest, missing


def blocks(text: str) -> list[dict[str, str]]:
    """`systemctl show` of several units: KEY=VALUE, an empty line between two (F-15)."""
    found: list[dict[str, str]] = [{}]
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if not line.strip():
            found.append({})
        elif equals:
            found[-1][key] = value
    return [one for one in found if one]


def _files(ctx: Context, folder: str, suffix: str) -> list[str]:
    """Those that somebody put there: no links to what a package brought."""
    try:
        names = [name for name in ctx.sources.names(folder) if name.endswith(suffix)]
    except OSError:
        return []
    return [name for name in names if not _packaged(ctx, f"{folder}/{name}")][: figures.UNIT_FILES]


def _packaged(ctx: Context, path: str) -> bool:
    try:
        target = ctx.sources.link(path)
    except OSError:
        return False
    return target.startswith(("/usr/lib/", "/lib/", "/dev/null")) or "/systemd/system/" in target


def _unit(ctx: Context, path: str, folder: str, name: str) -> tuple[str, str]:
    """The unit with its drop-ins, in the order in which they count (F-16)."""
    try:
        text = ctx.text(path)
    except OSError as error:
        return "", error.strerror or "not readable"
    try:
        more = [one for one in ctx.sources.names(f"{folder}/{name}.d") if one.endswith(".conf")]
    except OSError:
        return text, ""
    for one in more:
        try:
            text += "\n" + ctx.text(f"{folder}/{name}.d/{one}")
        except OSError:
            return text, f"its drop-in {one} cannot be read"
    return text, ""


def _launchd(ctx: Context) -> tuple[list[Service], list[str]]:
    home, found, missing = ctx.sources.home, [], []
    until = ctx.clock() + figures.MANAGER_SECONDS
    for folder, user in (
        (f"{home}/Library/LaunchAgents", True),
        ("/Library/LaunchAgents", True),
        (_OWN["launchd"], False),
    ):
        for name in _files(ctx, folder, ".plist"):
            job, text, problem = _plist(ctx, f"{folder}/{name}")
            label = str(job.get("Label") or name.removesuffix(".plist"))
            said: dict[str, str] = {}
            if ctx.clock() > until:
                missing.append(f"{label}: no time left to ask launchctl")
            else:
                said = _printed(ctx, label, user, missing)
            found.append(Service("launchd", label, user, f"{folder}/{name}", text, job, said, problem))
    return found, missing


def _plist(ctx: Context, path: str) -> tuple[dict[str, Any], str, str]:
    try:
        data = ctx.sources.read(path)
    except OSError as error:
        return {}, "", error.strerror or "not readable"
    try:
        job = plistlib.loads(data)
    except (ExpatError, plistlib.InvalidFileException, ValueError, OverflowError) as error:
        return {}, data.decode("utf-8", "replace"), f"no property list: {str(error)[:80]}"
    if not isinstance(job, dict):
        return {}, "", "no job: it holds no dictionary"
    clean, wrong = _typed(job)
    # A binary one, or one of wrong types, as text, so that one reader judges all.
    again = bool(wrong) or data.startswith(b"bplist")
    text = plistlib.dumps(clean).decode() if again else data.decode("utf-8", "replace")
    return clean, text, f"of the wrong type: {', '.join(wrong)}" if wrong else ""


def _typed(job: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(what has the type that launchd expects, the names of the rest)."""
    wrong = [
        key
        for key, value in job.items()
        if not isinstance(value, _TYPES.get(key, object))
        or (isinstance(value, bool) and _TYPES.get(key) is int)
    ]
    return {key: value for key, value in job.items() if key not in wrong}, [str(key) for key in wrong]


def _printed(ctx: Context, label: str, user: bool, missing: list[str]) -> dict[str, str]:
    """F-13; of a job that is not loaded launchctl says nothing."""
    domain = f"gui/{ctx.sources.uid}" if user else "system"
    try:
        ran = ctx.sources.run(("launchctl", "print", f"{domain}/{label}"))
    except OSError:
        if "launchctl is not here" not in missing:
            missing.append("launchctl is not here")
        return {}
    if ran.late:
        missing.append(f"launchctl gave no answer about {label}")
    # the first of a name is the job's own; later ones are of its endpoints
    return {} if ran.code else dict(reversed(_LINE.findall(ran.out)))


def loop_words(service: Service) -> str:
    """How its last run ended, decoded; "" when the manager does not say."""
    said = service.said
    code = said.get("last exit code") or (
        said.get("ExecMainStatus", "") if said.get("ExecMainCode") == "1" else ""
    )
    number = code.partition(":")[0].strip()
    if number.lstrip("-").isdigit():
        return "exit 0" if number == "0" else f"exit {number}" + _EXIT.get(int(number), "")
    if said.get("ExecMainCode") in ("2", "3"):
        return f"signal {said.get('ExecMainStatus', '?')}"
    return f"signal {said['last terminating signal']}" if said.get("last terminating signal") else ""


_EXIT = {78: " (a wrong configuration)", 75: " (a planned restart)", 126: " (not executable)", 127: " (not found)",
         137: " (killed)", 143: " (asked to end)"}  # fmt: skip
