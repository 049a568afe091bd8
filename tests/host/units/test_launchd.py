"""launchd jobs: what is in them, and what is found in other people's (UNI-1, UNI-2, UNI-7, scenario 44)."""

from __future__ import annotations

import plistlib
from typing import Any

import pytest
from tests.host.units.conftest import daemon, web

from midwatch.host.units import launchd
from midwatch.host.units.common import Facts, UnitError, drift, untouched


def job(facts: Facts) -> dict[str, Any]:
    found: dict[str, Any] = plistlib.loads(launchd.make(facts).encode())
    return found


def test_one_service() -> None:
    """UNI-1, UNI-7, scenario 44: parsed by plistlib; every key as it has to be."""
    found = job(web(user_manager=True, uid=501, umask=0o27))
    assert found == {
        "Label": "midwatch.shop.web",
        "ProgramArguments": ["/usr/local/bin/midwatch", "run", "-f", "/srv/shop/midwatch.toml", "web"],
        "WorkingDirectory": "/srv/shop",
        "EnvironmentVariables": {"HOME": "/home/ann", "PATH": "/usr/bin:/bin"},
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 60,
        "ExitTimeOut": 23,
        "SoftResourceLimits": {"NumberOfFiles": 10240},
        "HardResourceLimits": {"NumberOfFiles": 10240},
        "ProcessType": "Interactive",
        "StandardOutPath": "/home/ann/Library/Logs/midwatch.shop.web.log",
        "StandardErrorPath": "/home/ann/Library/Logs/midwatch.shop.web.log",
        "Umask": 0o27,
    }


def test_the_daemon_of_the_system() -> None:
    """UNI-1: the daemon stays in the foreground; an account is named; another home is handed on."""
    found = job(daemon(account="ann", uid=501, home="/srv/mw"))
    assert found["Label"] == "midwatch.daemon"
    assert found["ProgramArguments"][1:] == ["up", "-f", "/srv/shop/midwatch.toml"]
    assert found["UserName"] == "ann"
    assert found["ThrottleInterval"] == 15
    assert found["ExitTimeOut"] == 70
    assert found["EnvironmentVariables"]["MIDWATCH_HOME"] == "/srv/mw"
    assert found["Umask"] == 0o022


@pytest.mark.parametrize("facts", [web(), daemon(), web(shape="exec"), web(user_manager=True, uid=501)])
def test_generated_files_are_stable_and_clean(facts: Facts) -> None:
    """UNI-7, scenario 44: the same bytes twice, a stamp, nothing found, no ~ anywhere."""
    text = launchd.make(facts)
    assert text == launchd.make(facts)
    assert untouched(text)
    assert drift(text, launchd.make(facts)) == []
    assert launchd.findings(text, facts.stop) == []
    assert "~" not in text
    assert "AbandonProcessGroup" not in text


def test_what_the_file_itself_says() -> None:
    """UNI-2, UNI-6: one manager at a time; what is left out. No two dashes, which end a comment of XML."""
    text = launchd.make(web(shape="exec", skipped=("logs -- all",)))
    assert "<!-- Do not also start it by hand: this job is the one who does. -->" in text
    assert "<!-- Not done here: logs - - all -->" in text
    plistlib.loads(text.encode())


def test_awkward_words_survive() -> None:
    """UNI-7: XML's own characters, blanks, percent signs."""
    facts = web(file="/srv/a & b/<100%>/midwatch.toml", folder="/srv/a & b/<100%>")
    assert job(facts)["WorkingDirectory"] == "/srv/a & b/<100%>"
    with pytest.raises(UnitError):
        launchd.make(web(file="/srv/\x01/midwatch.toml"))


def test_the_commands() -> None:
    """UNI-2: bootstrap, print, kickstart, bootout, in the right domain; not `load`."""
    text = "\n".join(launchd.install_commands(web(user_manager=True, uid=501)))
    job = "gui/501/midwatch.shop.web"
    for words in ("bootstrap gui/501 ~/Library/LaunchAgents", f"kickstart -k {job}", f"bootout {job}", f"print {job}"):
        assert words in text
    assert " load " not in text
    assert "bootstrap system /Library/LaunchDaemons" in "\n".join(launchd.install_commands(daemon()))


BAD: dict[str, dict[str, Any]] = {
    "is inverted": {"KeepAlive": {"SuccessfulExit": True}},
    "for ever": {"KeepAlive": True},
    "no absolute path": {"ProgramArguments": ["python3", "x.py"]},
    "does not expand ~": {"WorkingDirectory": "~/app"},
    "takes 10 instead": {"ThrottleInterval": 1},
    "ExitTimeOut": {"ExitTimeOut": 5},
    "AbandonProcessGroup": {"AbandonProcessGroup": True},
    "decimal": {"Umask": "022"},
}


@pytest.mark.parametrize(("words", "change"), BAD.items(), ids=BAD)
def test_findings_in_other_peoples_jobs(words: str, change: dict[str, Any]) -> None:
    """Scenario 44: `SuccessfulExit` true is told as inverted; each other mistake by its own words."""
    text = plistlib.dumps({**job(web()), **change}).decode()
    found = launchd.findings(text, 17.0)
    assert len(found) == 1
    assert words in found[0]


def test_what_is_no_job() -> None:
    assert launchd.findings("<plist")[0].startswith("it is no property list")
    assert launchd.findings(plistlib.dumps([1]).decode()) == ["it is no job: the property list holds no dictionary"]
