"""Whose names and which values are looked for: people, not accounts of the system; values that tell something."""

from __future__ import annotations

import base64

import pytest
from tests.inspect.doctor.machines import Machine

from midwatch.inspect.report import known


def test_people_and_machines_of_a_recorded_machine() -> None:
    """Accounts from 1000 on with their full names and homes; the host's names, short and long; neighbours from ssh."""
    machine = Machine()
    machine.recorded = True
    machine.put("/etc/passwd", (
        "root:x:0:0:root:/root:/bin/bash\nsystemd-timesync:x:997:997:systemd Time Synchronization:/:/usr/sbin/nologin\n"
        "vera:x:1001:1001:Vera Lindqvist,,,:/home/vera:/bin/bash\nnobody:x:65534:65534::/nonexistent:/bin/false\n"
    ))  # fmt: skip
    machine.put("/etc/hostname", "tower\n")
    machine.put("/etc/hosts", "127.0.0.1 localhost\n10.0.0.9 tower.firm.example tower # me\n")
    machine.put("/home/me/.ssh/config", "Host depot *.firm\n  HostName depot.firm.example\n  User vera\n")
    found = known.of_machine(machine)
    assert set(found.users) == {"vera", "me"}
    assert set(found.people) == {"Vera Lindqvist", "Vera", "Lindqvist"}
    assert set(found.hosts) >= {"tower", "tower.firm.example", "depot", "depot.firm.example"}
    assert "localhost" not in found.hosts
    assert "/home/vera" in found.homes


@pytest.mark.parametrize(
    ("name", "value", "hidden"),
    [
        ("DB_PASSWORD", "tiger1", True), ("API_KEY", "x" * 30, True), ("GREETING", "Grüße aus Köln!", True),
        ("DATABASE", "db7.corp.example", True), ("PIN_TOKEN", "1234", False), ("LEVEL", "info", False),
        ("LOG_LEVEL", "information", False), ("COUNT", "123456789", False), ("PATH", "/usr/bin:/opt/x", False),
        ("PYTHONPATH", "/srv/x:/srv/y", False), ("CONFIG", "/etc/app/config.toml", False), ("EMPTY", "", False),
    ],
)  # fmt: skip
def test_which_values_are_looked_for(name: str, value: str, hidden: bool) -> None:
    """Under a secret name all but the shortest, else what is long and no plain word, number or path."""
    assert (value in list(known.of_environment({name: value}))) is hidden


def test_a_value_in_the_dresses_that_programs_put_on_it() -> None:
    """Base64 at each offset, hex, a URL's quoting, JSON's."""
    forms = known.forms('pa"ss w/rd')
    assert 'pa\\"ss w/rd' in forms
    assert "pa%22ss%20w%2Frd" in forms
    assert b'pa"ss w/rd'.hex() in forms
    for lead in (b"", b"u", b"u:", b"usr"):
        coded = base64.b64encode(lead + b'pa"ss w/rd' + b":z").decode()
        assert any(form in coded for form in forms if form != 'pa"ss w/rd'), lead
