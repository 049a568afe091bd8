"""launchd jobs (UNI-1, UNI-2): a property list for one service or for the daemon, and the commands that load it.

launchd has no start limit and no exit code that means "do not retry": counting and parking are ours, which the
daemon does best. Nothing of this has run on a Mac. Must not read a configuration.
Tests: tests/host/units/test_launchd.py.
"""

from __future__ import annotations

import plistlib
from shlex import quote
from typing import Any
from xml.parsers.expat import ExpatError

from midwatch.host.units import figures
from midwatch.host.units.common import Facts, single_line, stamped

HEAD_LINES = 2  # <?xml ...> and <!DOCTYPE ...> come first


def label(facts: Facts) -> str:
    """launchd's name of the job; with dots, so that we recognise ourselves below it (SVC-8)."""
    return f"midwatch.{facts.project}.{facts.name}" if facts.name else "midwatch.daemon"


def make(facts: Facts) -> str:
    """The whole property list, stamped."""
    job: dict[str, Any] = {
        "Label": label(facts),
        "ProgramArguments": [single_line("the word", word) for word in facts.command],
        "WorkingDirectory": facts.folder,
        "EnvironmentVariables": _environment(facts),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},  # True would restart what ended as asked, and leave what failed
        "ThrottleInterval": figures.LAUNCHD_PAUSE_RUN if facts.shape == "run" else figures.LAUNCHD_PAUSE,
        "ExitTimeOut": facts.stop_timeout,
        "SoftResourceLimits": {"NumberOfFiles": facts.files[0]},
        "HardResourceLimits": {"NumberOfFiles": max(facts.files[0], figures.LAUNCHD_FILES)},
        "ProcessType": "Interactive",  # else macOS slows it down as a background job
        "StandardOutPath": f"{logs(facts)}/{label(facts)}.log",
        "StandardErrorPath": f"{logs(facts)}/{label(facts)}.log",
    }
    if facts.account is not None and not facts.user_manager:
        job["UserName"] = facts.account
    job["Umask"] = 0o022 if facts.umask is None else facts.umask
    if facts.nice is not None and facts.shape == "direct":
        job["Nice"] = facts.nice
    lines = plistlib.dumps(job, sort_keys=False).decode().splitlines(keepends=True)
    notes = ["Do not also start it by hand: this job is the one who does."]
    notes += [f"Not done here: {one}" for one in facts.skipped]
    comments = [f"<!-- {one.replace('--', '- -')} -->\n" for one in notes]  # two dashes would end it
    text = "".join([*lines[:HEAD_LINES], *comments, *lines[HEAD_LINES:]])
    return stamped(text, facts, "<!-- ", " -->", HEAD_LINES)


def logs(facts: Facts) -> str:
    """What launchd itself catches of our stderr; services write to `midwatch logs`."""
    return "/var/log" if not facts.user_manager else f"{facts.account_home}/Library/Logs"


def _environment(facts: Facts) -> dict[str, str]:
    """launchd gives next to nothing: git is not found without PATH, nor a home without HOME."""
    own = facts.env if facts.shape == "direct" else {}
    home = {} if facts.home is None else {"MIDWATCH_HOME": facts.home}
    return {"HOME": facts.account_home, "PATH": facts.path, **home, **own}


def install_commands(facts: Facts, path: str | None = None) -> list[str]:
    """UNI-2: what a person types; `path`: where it was written already."""
    domain = f"gui/{facts.uid}" if facts.user_manager else "system"
    folder = "~/Library/LaunchAgents" if facts.user_manager else "/Library/LaunchDaemons"
    name = label(facts)
    return [
        f"{facts.again} -o {folder}/{name}.plist",
        f"launchctl bootstrap {domain} {quote(path) if path else f'{folder}/{name}.plist'}",
        f"launchctl print {domain}/{name}",
        f"launchctl kickstart -k {domain}/{name}  # restarts it",
        f"launchctl bootout {domain}/{name}  # stops it for good",
    ]


def findings(text: str, stop: float | None = None) -> list[str]:
    """What is wrong with a property list, ours or anybody's (scenario 44)."""
    try:
        job = plistlib.loads(text.encode("utf-8", "surrogateescape"))
    except (ExpatError, plistlib.InvalidFileException, ValueError) as error:
        return [f"it is no property list: {error}"]
    if not isinstance(job, dict):
        return ["it is no job: the property list holds no dictionary"]
    found = [*_alive(job), *_paths(job)]
    if job.get("ThrottleInterval", 10) < 10:
        found.append("ThrottleInterval is below 10: launchd takes 10 instead")
    if stop is not None and job.get("ExitTimeOut", 20) <= stop:
        found.append(f"ExitTimeOut is {job.get('ExitTimeOut', 20)} s, but our own stop may take {stop:g} s")
    if job.get("AbandonProcessGroup"):
        found.append("AbandonProcessGroup: what the job leaves behind lives on and holds its port")
    if not isinstance(job.get("Umask", 0), int):
        found.append("Umask is a text: launchd reads it as decimal, not octal; write an integer")
    return found


def _alive(job: dict[str, Any]) -> list[str]:
    alive = job.get("KeepAlive")
    if alive is True:
        return ["KeepAlive is true: it is started again after it ended as asked, every ThrottleInterval, for ever"]
    if isinstance(alive, dict) and alive.get("SuccessfulExit") is True:
        return ["KeepAlive.SuccessfulExit is inverted: it is restarted after success and left down after a failure"]
    return []


def _paths(job: dict[str, Any]) -> list[str]:
    words = [str(word) for word in job.get("ProgramArguments", [])]
    found = []
    if not words or not words[0].startswith("/"):
        found.append("ProgramArguments[0] is no absolute path: launchd has no PATH to look it up")
    tilde = [word for word in [*words, str(job.get("WorkingDirectory", ""))] if word.startswith("~")]
    if tilde:
        found.append(f"{tilde[0]}: launchd does not expand ~")
    return found
