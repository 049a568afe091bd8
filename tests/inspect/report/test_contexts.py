"""Secrets that only what stands before them betrays, in the forms of configuration files, tools and logs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.inspect.report import contexts
from midwatch.inspect.report.known import Known
from midwatch.inspect.report.scrub import Scrub

S = "hunter22"

HIDDEN = [
    f"password:\n      {S}", f"password: |\n    {S}\n    more", f'{{\\"password\\":\\"{S}\\"}}', f"password%3D{S}",
    f"<password>{S}</password>", f"<db-password type='x'>{S}</db-password>", f"password => '{S}'", f"password -> {S}",
    f'{{"name": "DB_PASSWORD", "value": "{S}"}}', f"{{'name': 'DB_PASSWORD', 'value': '{S}'}}",
    f"- name: API_TOKEN\n  value: {S}", f'argv=["x", "--password", "{S}"]', f"argv=['x', '--token', '{S}']",
    f"'--password' '{S}'", f"https%3A%2F%2Fbob%3A{S}%40host%2Fx", f"Password for bob: {S}", f"password is {S}",
    f"password was '{S}'", f"with password {S}", f"ENV DB_PASSWORD {S}", f"requirepass {S}", f"identified by '{S}'",
    f'IDENTIFIED BY "{S}"', f"pwd={S};", f"pin: {S}", f"secret({S})", f"machine h login bob password {S}",
    f"curl -ubob:{S} x", f"http -a bob:{S} GET", f"bob:{S}@host", f"AUTH {S}", f"USER bob\nPASS {S}\r",
    f"sessionid={S}", f"session_id: {S}", f"csrf={S}", f"code={S}", f"passphrase '{S}'", f"client_secret\t{S}",
    f"env: TOKEN={S}", f"db.password={S}", f"-Ddb.password={S}", f"--env=DB_PASSWORD={S}", f"_authToken={S}",
    f"jdbc:mysql://h/db?user=bob&password={S}", f"key-file-password:{S}", f"Set-Cookie: sid={S}; Path=/",
]  # fmt: skip

KEPT = [
    "token expired, asking for another", "password reset by the owner", "exit code=137, code: 3", "pass  75 checks",
    "auth failed 3 times", "PWD=/srv/shop", "docker run -u 1000:1000 image", "secret missing", "12:30:05 up",
    "signal=9 code=None", "max_tokens=4096", "--token-file /run/secrets/t", "midwatch:ok@", "password: none",
    "token=[redacted]",
    "commit pinned: yes", "the passed tests: 5", "author: somebody", "time 10:00@5", "tokens: 512",
]  # fmt: skip


@pytest.mark.parametrize("text", HIDDEN)
def test_what_stands_before_it_betrays_it(text: str) -> None:
    """Each form, alone and inside other lines; once more gives the same."""
    for whole in (text, f"line one\n{text}\nline three"):
        found = Scrub(Known()).text(whole)
        assert S not in found
        assert "line" not in whole or "line" in found
        assert Scrub(Known()).text(found) == found


@pytest.mark.parametrize("text", KEPT)
def test_words_that_only_look_like_it_stay(text: str) -> None:
    """Sentences, exit codes, paths and counters."""
    assert contexts.apply(text)[0] == text


@given(st.text("password=: \n\"'\\<>(){}|-tokenPASS_x1@/", max_size=80))
def test_no_text_breaks_it(text: str) -> None:
    """Whatever the text; again gives the same."""
    once, _ = contexts.apply(text)
    contexts.apply(once)
