"""`report`: one bundle that can be shared. Nothing planted anywhere in the record comes through."""

from __future__ import annotations

import io
import json
import os
import stat
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.front.conftest import Done, write_journal, write_log

from midwatch.engine.layout import Layout
from midwatch.model.look import Checked

Cli = Callable[..., Done]
NAMED, NAMELESS, CONTEXT = "tiger-in-the-Tank1", "mP4x9QzL2vR8sW1kT6yB3nJ7cF5hD0gA", "hunter2"


def _death() -> tuple[dict[str, Any], ...]:
    return (
        {"event": "run.spawned", "service": "shop/web", "run_id": "shop.web.4", "pid": 4004},
        {"event": "run.exited", "service": "shop/web", "run_id": "shop.web.4", "pid": 4004, "code": 3, "signal": None,
         "cause": "crash", "confidence": 0.9, "because": [f"exit code 3, it said {NAMED}"], "against": [], "do": [],
         "duration_ms": 2000, "crash_count": 4},
    )  # fmt: skip


@pytest.fixture
def planted(layout: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Secrets and names in the environment of a service, its log, its arguments, its journal; a folder to write to."""
    write_journal(layout, *_death())
    log = (
        f"listening on db7.corp.internal as {NAMED}\nkey {NAMELESS}\npassword={CONTEXT}\n{NAMED[:7]}\n{NAMED[7:]}\n"
        "https://bob:s3same@10.1.2.3/x mail quist@firm.example.org\x1b[31m red\n"
    )
    write_log(layout, "shop/web", 4, log.encode())
    spec = {"project": "shop", "name": "web", "launch": {
        "argv": ["web", "--password", CONTEXT, f"--at={NAMED}"], "cwd": os.path.expanduser("~/shop"),
        "env": {"DB_NAME": NAMED, "LEVEL": "info"}}}  # fmt: skip
    layout.specs.write_text(json.dumps({"specs": [spec]}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _all(folder: Path) -> str:
    """Every byte of both files."""
    (text,) = folder.glob("*.md")
    (packed,) = folder.glob("*.zip")
    with zipfile.ZipFile(io.BytesIO(packed.read_bytes())) as archive:
        return "\n".join([text.read_text(), *(archive.read(name).decode() for name in archive.namelist())])


def test_nothing_planted_comes_through(cli: Cli, planted: Path) -> None:
    """Values of the environment, secrets by form and by context, names over lines, hosts, addresses, mail; of the
    environment the names are there."""
    done = cli("report", "web", "--no-doctor")
    assert done.code == 0, done.err
    found = _all(planted)
    squeezed = found.replace("\n", "")
    for secret in (NAMED, NAMELESS, CONTEXT, "s3same", "db7", "10.1.2.3", "quist@", "\x1b"):
        assert secret not in found
        assert secret not in squeezed
    assert "DB_NAME" in found
    assert "crash" in found
    assert "shop.web.4" in found
    home = os.path.expanduser("~")
    assert home == "/" or f"{home}/shop" not in found


def test_files_are_ours_alone_and_named(cli: Cli, planted: Path) -> None:
    """0600, printed with their sizes; what is in them and what was taken out is told before anybody shares them."""
    os.umask(0)
    done = cli("report", "web", "--no-doctor")
    for path in planted.glob("midwatch-report-*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert str(path) in done.out
    for words in (
        "IN IT",
        "Verdict",
        "Timeline",
        "Last output",
        "Configuration",
        "output.txt",
        "taken out:",
        "Nothing was sent",
    ):
        assert words in done.out
    assert all(len(line) <= 80 or "/" in line for line in done.out.splitlines())


def test_issue_prints_the_text_to_paste(cli: Cli, planted: Path) -> None:
    """stdout is exactly the text; what is said about it goes elsewhere."""
    done = cli("report", "web", "--issue", "--no-doctor")
    (text,) = planted.glob("*.md")
    assert done.out == text.read_text()
    assert done.out.startswith("# midwatch report: shop/web: crash")
    assert "Read what stands above before you paste it" in done.err


def test_json_names_files_parts_and_counts(cli: Cli, planted: Path) -> None:
    """For scripts: the two paths, parts with bytes, what was taken out."""
    told = cli("report", "web", "--json", "--no-doctor").json
    assert told["schema_version"] == 1
    assert Path(told["text"]).stat().st_size == told["text_bytes"]
    assert Path(told["zip"]).stat().st_size == told["zip_bytes"]
    assert {"Verdict", "events.jsonl"} <= {part["name"] for part in told["parts"]}
    assert told["removed"]["secrets"] > 3


def test_two_in_one_second_do_not_meet(cli: Cli, planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second gets a name of its own; nothing is overwritten."""
    monkeypatch.setattr(time, "strftime", lambda *_: "20260302-092000")
    for _ in range(3):
        assert cli("report", "web", "--no-doctor").code == 0
    assert len(list(planted.glob("*.md"))) == len(list(planted.glob("*.zip"))) == 3


def test_without_a_name_and_a_death_it_is_about_the_machine(
    cli: Cli, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Doctor's findings, scrubbed as all else."""
    monkeypatch.chdir(tmp_path)
    said = Checked(
        "DOC-17", "disk", "warn", f"{os.path.expanduser('~')}/x of quist@firm.example.org is full", hint="x"
    )
    monkeypatch.setattr("midwatch.inspect.doctor.run.run", lambda *_, **__: [said])
    assert cli("report").code == 0
    found = _all(tmp_path)
    assert "midwatch report: this machine" in found
    assert "warn  DOC-17" in found
    assert "quist" not in found


def test_what_is_wrong_is_said_and_nothing_is_written(cli: Cli, planted: Path) -> None:
    """Unknown name: 2; a folder that is none: 2."""
    assert cli("report", "wbe", "--no-doctor").code == 2
    assert cli("report", "web", "-o", "/nowhere/at/all", "--no-doctor").code == 2
    assert not list(planted.glob("midwatch-report*"))
