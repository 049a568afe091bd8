"""`run -f FILE NAME`: one service of a configuration on its own (SVC-1)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.front.conftest import Done

from midwatch import config
from midwatch.front.cli.declare import Usage
from midwatch.front.cli.single import alone, from_file, one_of

Cli = Callable[..., Done]
TEXT = """
[midwatch]
project = "shop"
[service.db]
command = ["sleep", "9"]
[service.web]
command = ["sleep", "9"]
needs = ["db"]
autostart = false
[service.tough]
command = ["sleep", "9"]
restart = { crash_hard = 3 }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.toml"
    path.write_text(TEXT)
    return path


def test_a_service_alone_has_no_others_and_gives_up(file: Path) -> None:
    """SVC-1: no needs, started at once, ten crashes in a row unless it says otherwise; its id stays its own."""
    loaded = config.load(file, environ={"PATH": "/usr/bin:/bin"})
    web = alone(one_of(loaded, "web"))
    assert (web.id, web.rules.needs, web.autostart, web.rules.budgets.crash_hard) == ("shop/web", {}, True, 10)
    assert alone(one_of(loaded, "shop/tough")).rules.budgets.crash_hard == 3


def test_an_unknown_name_names_the_nearest(file: Path) -> None:
    with pytest.raises(Usage, match=r"did you mean 'web'.*it has: db, web, tough"):
        from_file(str(file), ["wbe"], [])


def test_nothing_is_mixed(cli: Cli, file: Path) -> None:
    """What stands in the file is not also an option; one name, not a command."""
    for words in (["--grace", "3s", "web"], ["-e", "A=1", "web"], ["web", "--port", "1"]):
        done = cli("run", "-f", str(file), *words)
        assert done.code == 2
        assert "nothing was started" in done.err


def test_a_broken_file_is_78(cli: Cli, tmp_path: Path) -> None:
    """SVC-4: do not retry."""
    (tmp_path / "x.toml").write_text("[service.web]\ncomand = 1\n")
    assert cli("run", "-f", str(tmp_path / "x.toml"), "web").code == 78
