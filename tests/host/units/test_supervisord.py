"""supervisord sections (UNI-4, UNI-7). tests/real runs them."""

from __future__ import annotations

from configparser import ConfigParser
from shlex import split

import pytest
from tests.host.units.conftest import daemon, web

from midwatch.host.units import supervisord
from midwatch.host.units.common import Facts, UnitError


def keys(facts: Facts) -> dict[str, str]:
    parser = ConfigParser(interpolation=None, inline_comment_prefixes=(";", "#"), strict=True)
    parser.read_string(supervisord.make(facts))
    return dict(parser[f"program:{facts.unit}"])


def test_one_service() -> None:
    """UNI-4: expected codes stay down, a start counts after a while, the whole group is stopped, with patience."""
    expected = {
        "autorestart": "unexpected", "exitcodes": "0,2,3,78", "startsecs": "10", "startretries": "5",
        "stopasgroup": "true", "killasgroup": "true", "stopwaitsecs": "23", "directory": "/srv/shop",
        "command": "/usr/local/bin/midwatch run -f /srv/shop/midwatch.toml web",
        "environment": 'HOME="/home/ann",PATH="/usr/bin:/bin"',
    }  # fmt: skip
    found = keys(web())
    assert {key: found[key] for key in expected} == expected
    assert "user" not in found
    assert keys(daemon(account="ann"))["user"] == "ann"
    assert keys(web(shape="exec"))["exitcodes"] == "0,78"
    assert keys(web(shape="exec", signal="SIGINT"))["stopsignal"] == "INT"
    assert keys(web(shape="direct", argv=("/bin/x",), start=25.0, umask=0o27))["startsecs"] == "25"


def test_the_command_reads_back() -> None:
    """UNI-7: through supervisord's own reading, shlex after percent signs."""
    facts = web(file="/srv/it's 100% \"a b\"/midwatch.toml", folder="/srv/100%")
    found = keys(facts)
    assert split(found["command"] % {}) == list(facts.command)
    assert found["directory"] % {} == "/srv/100%"
    assert supervisord.make(facts) == supervisord.make(facts)


def test_what_it_cannot_carry_is_refused() -> None:
    """A `;` after a blank begins a comment, even inside quotes; a quote ends a variable."""
    with pytest.raises(UnitError, match="comment"):
        supervisord.make(web(shape="direct", argv=("/bin/sh", "-c", "a ;b")))
    with pytest.raises(UnitError, match="double quote"):
        supervisord.make(web(shape="direct", argv=("/bin/x",), env={"A": 'b"c'}))


def test_findings() -> None:
    """Ours has none; the usual mistakes are told."""
    assert supervisord.findings(supervisord.make(web()), 17.0) == []
    bad = "[program:a]\ncommand=sh -c x\nautorestart=true\n[program:b]\ncommand=x\nstopwaitsecs=5\n"
    found = supervisord.findings(bad, 17.0)
    assert [line.partition(":")[0] for line in found] == ["program"] * 5
    assert "78" in "".join(found)
    assert "shell" in "".join(found)
    assert supervisord.findings("x") != []
    assert supervisord.findings("[a]\nb=1\n") == ["it has no [program:NAME] section"]
