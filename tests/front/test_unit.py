"""`midwatch unit`: which facts get into a file, where it goes, and what --check tells (UNI-1 to UNI-7)."""

from __future__ import annotations

import os
import plistlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.front.conftest import Done

from midwatch.host.units.unitfile import last, parse

Cli = Callable[..., Done]
TEXT = """
[midwatch]
project = "shop"
[service.db]
command = ["sleep", "9"]
stop = { grace = "30s" }
[service.web]
command = ["sleep", "9"]
needs = ["db"]
env = { GREETING = "a b" }
env_files = ["secrets.env"]
env_pass = ["HOME_*"]
ready = { log = "up", within = "40s" }
health = { http = "http://127.0.0.1:1/" }
memory = { hard = "1G" }
rlimits = { nofile = 20000 }
[service.nightly]
command = ["true"]
oneshot = true
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration in a folder of its own, which is not the current one."""
    folder = tmp_path / "my shop"
    folder.mkdir()
    (folder / "secrets.env").write_text("TOKEN=hush\n")
    (folder / "midwatch.toml").write_text(TEXT)
    return folder / "midwatch.toml"


def test_the_callers_shell_is_not_in_it(cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """UNI-7, scenario 45: another PATH, HOME and folder make the same bytes."""
    first = cli("unit", "systemd", "-f", str(file)).out
    monkeypatch.setenv("PATH", "/somewhere:" + os.environ["PATH"])
    monkeypatch.setenv("HOME", "/elsewhere")
    monkeypatch.setenv("HOME_SWEET", "home")
    monkeypatch.chdir("/")
    assert cli("unit", "systemd", "-f", str(file)).out == first
    assert first.startswith("# midwatch-stamp: version=")


def test_times_come_from_the_configuration(cli: Cli, file: Path) -> None:
    """D11: the daemon's patience is the sum of its stop groups, one service's its own ladder."""
    daemon = parse(cli("unit", "systemd", "-f", str(file)).out)
    assert last(daemon, "Service", "TimeoutStopSec") == str(37 + 17 + 1 + 5 + 30)
    web = parse(cli("unit", "systemd", "web", "-f", str(file)).out)
    assert last(web, "Service", "TimeoutStopSec") == str(17 + 1 + 5)
    assert last(web, "Service", "LimitNOFILE") == "20000:524288"
    assert last(web, "Service", "MemoryMax") == str((1 << 30) + (64 << 20))
    assert last(web, "Unit", "After") is not None
    assert "db.service" in str(last(web, "Unit", "After"))
    nightly = parse(cli("unit", "systemd", "nightly", "-f", str(file)).out)
    assert last(nightly, "Service", "Type") == "oneshot"


def test_secrets_stay_in_their_files(cli: Cli, file: Path) -> None:
    """UNI-6: the direct shape names env files, and takes only what the table itself sets."""
    text = cli("unit", "systemd", "web", "--direct", "-f", str(file)).out
    assert "hush" not in text
    assert f"EnvironmentFile={file.parent}/secrets.env" in text
    assert 'Environment="GREETING=a b"' in text
    assert "ExecStart=/usr/bin/sleep 9" in text or "ExecStart=/bin/sleep 9" in text
    for words in ("the ready probe that web has", "the health probe that web has", "budgets"):
        assert words in text
    assert "hush" not in cli("unit", "systemd", "web", "-f", str(file)).out


@pytest.mark.parametrize("kind", ["systemd", "launchd", "supervisord", "cron"])
@pytest.mark.parametrize("name", [[], ["web"]])
def test_written_checked_edited(cli: Cli, file: Path, tmp_path: Path, kind: str, name: list[str]) -> None:
    """-o writes it whole; --check is calm, tells an edit and other facts; an edited file is not replaced."""
    out = tmp_path / "file"
    words = ["unit", kind, *name, "-f", str(file)]
    assert cli(*words, "-o", str(out)).code == 0
    assert out.stat().st_mode & 0o777 == (0o755 if kind == "cron" else 0o644)
    assert cli(*words, "--check", str(out)).code == 0
    assert cli(*words, "-o", str(out)).code == 0
    drifted = cli(*words, "--path", "/opt/x:/usr/bin:/bin", "--check", str(out))
    assert drifted.code == 1
    assert "what it is made from has changed" in drifted.out
    out.write_text(out.read_text().replace("/usr/bin", "/usr/ban"))
    edited = cli(*words, "--check", str(out), "--json")
    assert edited.code == 1
    assert edited.json["drift"][0] == "it was edited by hand after it was made"
    refused = cli(*words, "-o", str(out))
    assert refused.code == 1
    assert "nothing was written" in refused.err


def test_only_what_matters_is_drift(cli: Cli, file: Path, tmp_path: Path) -> None:
    """A longer grace is told, with the lines; another health check, which no unit knows, is not."""
    out = tmp_path / "file"
    words = ["unit", "systemd", "-f", str(file)]
    cli(*words, "-o", str(out))
    file.write_text(TEXT.replace("http://127.0.0.1:1/", "http://127.0.0.1:2/"))
    assert cli(*words, "--check", str(out)).code == 0
    file.write_text(TEXT.replace('"30s"', '"50s"'))
    done = cli(*words, "--check", str(out))
    assert done.code == 1
    assert "+TimeoutStopSec=110" in done.out
    file.write_text(TEXT.replace('"30s"', '"90s"'))
    assert "finding: TimeoutStopSec is 90 s, but our own stop may take 114 s" in cli(*words, "--check", str(out)).out


def test_a_foreign_unit_is_judged_without_a_configuration(cli: Cli, tmp_path: Path) -> None:
    """Scenario 29: anybody's unit."""
    unit = tmp_path / "x.service"
    unit.write_text("[Service]\nExecStart=/bin/x\nRestart=on-failure\nRestartSec=5\nRestartPreventExitStatus=78\n")
    done = cli("unit", "systemd", "--check", str(unit))
    assert done.code == 1
    assert "limit unreachable: 2 starts per 10 s, needs 5" in done.out
    assert cli("unit", "systemd", "--check", str(tmp_path / "missing")).code == 1


def test_a_folder_gets_the_right_name(cli: Cli, file: Path, tmp_path: Path) -> None:
    """launchd finds a job by its label."""
    folder = tmp_path / "agents"
    folder.mkdir()
    done = cli("unit", "launchd", "web", "--user", "-f", str(file), "-o", str(folder), "--json")
    assert done.json["path"] == str(folder / "midwatch.shop.web.plist")
    job = plistlib.loads((folder / "midwatch.shop.web.plist").read_bytes())
    assert job["WorkingDirectory"] == str(file.parent)
    assert f"launchctl bootstrap gui/{os.geteuid()} {folder}/midwatch.shop.web.plist" in done.json["commands"]
    (tmp_path / "units").mkdir()
    done = cli("unit", "systemd", "-f", str(file), "-o", str(tmp_path / "units" / "shop.service"))
    assert "systemctl enable --now shop.service" in done.err
    assert " -o " not in done.err


def test_json(cli: Cli, file: Path) -> None:
    done = cli("unit", "systemd", "web", "--exec", "-f", str(file), "--json")
    assert {"schema_version", "kind", "name", "shape", "path", "text", "commands", "notes"} == set(done.json)
    assert (done.json["shape"], done.json["path"]) == ("exec", None)
    assert done.json["notes"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which kind?"),
        (["upstart"], "'upstart'"),
        (["systemd", "a", "b"], "'b' is too many"),
        (["systemd", "wbe"], "did you mean 'web'"),
        (["systemd", "--exec"], "name it"),
        (["systemd", "web", "--exec", "--direct"], "exclude"),
        (["systemd", "web", "--http", "http://x/"], "unit cron"),
        (["systemd", "--user", "--as", "root"], "exclude"),
        (["systemd", "-o", "x", "--check", "y"], "exclude"),
    ],
)
def test_wrong_lines(cli: Cli, file: Path, words: list[str], said: str) -> None:
    done = cli("unit", *words, "-f", str(file))
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_an_unknown_account(cli: Cli, file: Path) -> None:
    done = cli("unit", "systemd", "--as", "nobody-of-that-name", "-f", str(file))
    assert done.code == 78
    assert "nothing was made" in done.err


def test_a_schedule_needs_the_daemon(cli: Cli, file: Path) -> None:
    """One service's unit cannot keep a schedule; its refusal says what can."""
    file.write_text('[service.job]\ncommand = ["true"]\nschedule = "0 3 * * *"\n')
    done = cli("unit", "systemd", "job", "-f", str(file))
    assert done.code == 2
    assert "make the daemon's unit" in done.err
