"""`midwatch upgrade`: another version takes over keeper and engine in place; no service stops, no byte is lost."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.system.conftest import Instance, wait_for
from tests.system.writing import WRITER, check_lines

import midwatch

CONFIG = """\
[service.writer]
command = ["{python}", "-u", "writer.py"]
output = {{ file = "2M", files = 150, compress = false }}

[service.leaver]
command = ["sh", "-c", "while test ! -e leave; do sleep 0.02; done; rm leave; exit 7"]
restart = {{ crash = 1000 }}
backoff = {{ first = "10ms" }}
"""


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """The same program under another version number."""
    package = tmp_path / "newer" / "midwatch"
    shutil.copytree(Path(midwatch.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    init = package / "__init__.py"
    text, count = re.subn(r'__version__ = "[^"]+"', '__version__ = "99.0.0"', init.read_text())
    assert count == 1
    init.write_text(text)
    return package


def of(package: Path) -> dict[str, Any]:
    """Run that package's command line."""
    return {"env": {**os.environ, "PYTHONPATH": str(package.parent)}}


def test_another_version_takes_over_and_no_service_notices(instance: Instance, newer: Path) -> None:
    """Same keeper pid, same service pids, exact lines, true codes; and back to the old version again."""
    (instance.folder / "writer.py").write_text(WRITER)
    instance.up(CONFIG.format(python=sys.executable))
    before, daemon = instance.ps(), instance.daemon()
    said = instance.ok("upgrade", **of(newer))
    assert f"{midwatch.__version__} -> 99.0.0" in said
    after, now = instance.ps(), instance.daemon()
    assert (now["keeper_pid"], now["version"]) == (daemon["keeper_pid"], "99.0.0")
    assert now["pid"] != daemon["pid"]
    assert [after[name]["pid"] for name in after] == [before[name]["pid"] for name in after]
    (instance.folder / "leave").touch()
    [line] = wait_for(lambda: instance.journal("run.exited"), "the exit is told")
    assert (line["code"], line["cause"]) == (7, "crash")
    time.sleep(0.3)
    instance.ok("upgrade")
    assert instance.daemon()["version"] == midwatch.__version__
    instance.ok("stop", "writer")
    check_lines(instance)
    assert [line["to"] for line in instance.journal("daemon.upgrading")] == ["99.0.0", midwatch.__version__]


@pytest.mark.parametrize("part", ["engine/boot.py", "keeper/main.py"])
def test_a_version_that_does_not_start_changes_nothing(instance: Instance, newer: Path, part: str) -> None:
    """A broken installation is refused with its own last words; the daemon goes on as it is."""
    instance.up('[service.a]\ncommand = ["sleep", "1000"]\n')
    before, daemon = instance.ps(), instance.daemon()
    with (newer / part).open("a") as file:
        file.write("\nraise SystemError('half an installation')\n")
    done = instance.cli("upgrade", **of(newer))
    assert done.returncode == 1
    assert "half an installation" in done.stderr
    assert "nothing was changed" in done.stderr
    assert instance.daemon()["pid"] == daemon["pid"]
    assert instance.ps()["a"]["pid"] == before["a"]["pid"]
