"""H8: secrets never appear in what we write, by name, by place and by shape; everything else stays."""

from __future__ import annotations

import json
import string
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from midwatch.record import redact_rules
from midwatch.record.redact import MARK, NEEDLES, is_clean, redact, redact_value, secret_name

SECRET = "Zq9xVb7Kw3"  # planted; found nowhere else

HIDDEN = [
    f"postgres://user:{SECRET}@db.example/app",
    f"postgres://user:{SECRET}@ss/w?rd@db/app",
    f"redis://:{SECRET}@127.0.0.1:6379/0",
    f"amqp://u:12{SECRET}@h,amqp://v:x{SECRET}@h2",
    f"https://{SECRET}{SECRET}@github.com/a/b",
    f"API_KEY={SECRET}",
    f"export OPENAI_API_KEY='{SECRET} with spaces'",
    f'DB_PASSWORD="{SECRET}"',
    f"MYSQL_PWD={SECRET} mysqldump x",
    f"GITHUB_PAT={SECRET}",
    f"--password {SECRET}",
    f"--password={SECRET}",
    f"--api-key {SECRET} --port 80",
    f"-token {SECRET}",
    f"--key {SECRET}",
    f"curl -u bob:{SECRET} http://h",
    f"curl --user bob:{SECRET} http://h",
    f"sshpass -p {SECRET} ssh h",
    f"mysql -uroot -p{SECRET} db",
    f"redis-cli -h x -a {SECRET} ping",
    f"Authorization: Bearer {SECRET}",
    f"authorization: Basic {SECRET}==",
    f"curl -H 'Authorization: token {SECRET}' http://h",
    f"bearer {SECRET}",
    f"Basic dXNl{SECRET}==",
    f"Cookie: session={SECRET}; other={SECRET}",
    f"X-Api-Key: {SECRET}",
    f"password: {SECRET}",
    f"the secret is: secret={SECRET}.",
    f'{{"password": "{SECRET}", "user": "bob"}}',
    f"{{'client_secret': '{SECRET}'}}",
    f"Server=db;User Id=bob;Password={SECRET};",
    f"https://h/cb?access_token={SECRET}&state=1",
    f"https://h/x?sig={SECRET}%3D",
    f"X-Amz-Signature={SECRET}",
    f"AWS_SECRET_ACCESS_KEY={SECRET}",
    f"aws_session_token = {SECRET}",
    f"sk-{SECRET}",
    f"sk-ant-api03-{SECRET}{SECRET}",
    f"error: key sk-proj-{SECRET} is invalid",
    f"sk_live_{SECRET}",
    f"ghp_{SECRET}{SECRET}",
    f"github_pat_{SECRET}{SECRET}",
    f"glpat-{SECRET}{SECRET}",
    f"xoxb-1234-{SECRET}",
    f"hf_{SECRET}{SECRET}",
    f"npm_{SECRET}{SECRET}",
    f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIi{SECRET}.{SECRET}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
    f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n",
    f'{{\\"password\\":\\"{SECRET}\\"}}',
    f"'password' => '{SECRET}',",
    f"bot 123456789:AA{SECRET}{SECRET}{SECRET}{SECRET}",
]

KEPT = [
    "crash 3 of 10, resets after 5 m of life, next try in 4 s",
    "/home/alice/projects/web/server.py",
    "PWD=/home/alice",
    "http://127.0.0.1:8787/health",
    "http://localhost:4873/@scope/package",
    "https://host:8080/path@2",
    "ssh://git@github.com/a/b",
    "mail bob@example.com",
    "waits for shop/token-db: not ready",
    "unknown key: colour",
    "--token-file /run/secrets/token",
    "PASSWORD_FILE=/run/secrets/db",
    "--max-tokens 4096",
    "max_tokens=4096",
    "docker run -u 1000:1000 image",
    "task-runner-service-1",
    "disk-usage: 5%",
    "the keeper passed 3 of 5 tests",
    "commit 3f786850e387550fdab836ed7e6dc881de23001b",
    "550e8400-e29b-41d4-a716-446655440000",
    "basic authentication failed",
    "HOME=/home/alice PATH=/usr/bin:/bin LANG=C",
    "signal SIGKILL, code 137",
    "",
]


@pytest.mark.parametrize("text", HIDDEN)
def test_a_planted_secret_is_gone(text: str) -> None:
    """H8: each way a secret can stand in a text; once more gives the same."""
    found = redact(text)
    assert SECRET not in found
    assert MARK in found
    assert redact(found) == found
    assert SECRET not in json.dumps(redact_value({"fields": [{"message": text}]}))
    assert not is_clean({"fields": [{"message": text}]})


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_secret_stays(text: str) -> None:
    """Home paths, host names, ports, counters and ids are what makes a record useful."""
    assert redact(text) is text or redact(text) == text


def test_argument_vectors() -> None:
    """An option hides the argument after it, whatever that looks like."""
    argv = [
        "prog",
        "--password",
        "p w",
        "--token",
        "-x",
        "-H",
        "Cookie: a=b",
        "TOKEN=a b c",
        "--verbose",
        "kept",
    ]
    assert redact_value(argv) == [
        "prog", "--password", MARK, "--token", MARK, "-H", f"Cookie: {MARK}", f"TOKEN={MARK}", "--verbose", "kept",
    ]  # fmt: skip
    assert redact_value(["/usr/bin/mysql", "-phunter2", "db"]) == ["/usr/bin/mysql", f"-p{MARK}", "db"]
    assert redact_value(["curl", "-u", "bob:x"]) == ["curl", "-u", MARK]
    assert redact_value(["ssh", "-p", "2222"]) == ["ssh", "-p", "2222"]


def test_values_under_secret_names() -> None:
    """Whole values go, at any depth; numbers, None and names stay."""
    value = {
        "db_password": ["a", {"x": "b"}],
        "token": "c",
        "tokens": 5,
        "api_key": None,
        "auth": b"bytes",
        "key": "stays",
        "empty_secret": "",
        "n": (1, 2.5, True),
    }
    assert redact_value(value) == {
        "db_password": [MARK, {"x": MARK}],
        "token": MARK,
        "tokens": 5,
        "api_key": None,
        "auth": MARK,
        "key": "stays",
        "empty_secret": "",
        "n": [1, 2.5, True],
    }


def test_a_service_id_is_no_secret_name() -> None:
    """A service called "token-db" in a table of needs keeps its value, or a snapshot could not be read back."""
    value = {"needs": {"shop/token-db": "ready", "shop/auth": "started"}}
    assert redact_value(value) == value


def test_values_of_our_own_types() -> None:
    """A frozen value of the model is looked through like a dictionary."""
    from midwatch.model.service import Launch

    launch = Launch(argv=("x", "--password", SECRET), cwd="/home/a", env={"A": SECRET})
    found = redact_value({"launch": launch, "path": Path("/home/a")})
    assert SECRET not in json.dumps(found)
    assert found["launch"]["cwd"] == "/home/a"
    assert "/home/a" in found["path"]


def test_environments_show_names_only() -> None:
    """design 4: environment names, never values."""
    assert redact_value({"env": {"A": "1", "B": "2"}}) == {"env": {"A": MARK, "B": MARK}}
    assert redact_value({"environ": ["A=1", "B"]}) == {"environ": [f"A={MARK}", "B"]}
    assert not is_clean({"env": {"A": "harmless"}})


@pytest.mark.parametrize(
    "name",
    ["PASSWORD", "db_password", "dbPassword", "API-KEY", "apiKey", "x.api.key", "GITHUB_TOKEN", "token", "Secret",
     "client_secret", "PGPASSWORD", "MYSQL_PWD", "DB_PASS", "AUTH", "SSH_AUTH_SOCK", "private_key", "Cookie",
     "AWS_SECRET_ACCESS_KEY", "STRIPE_SIGNATURE", "jwt", "SENTRY_DSN", "connection_string", "--api-key"],
)  # fmt: skip
def test_secret_names(name: str) -> None:
    """Names that people give to secrets."""
    assert secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["PWD", "OLDPWD", "key", "pass", "HOME", "PATH", "keys", "author", "compass", "monkey", "keyboard", "passed",
     "TOKEN_FILE", "max_tokens", "tokenizer", "password_path", "turnkey", "run_id", "service", ""],
)  # fmt: skip
def test_harmless_names(name: str) -> None:
    """Names that only look like it."""
    assert not secret_name(name)


secrets = st.text(string.ascii_letters + string.digits + "._~+%!#$^*-", min_size=12, max_size=40).filter(
    lambda s: not s.startswith("-")
)
names = st.sampled_from(
    ["PASSWORD", "db_password", "API_KEY", "apiToken", "SECRET", "client-secret", "AUTH_TOKEN"]
)
noise = st.text(string.ascii_letters + string.digits + " /:.-_", max_size=30)


@given(secrets, names, noise, noise, st.integers(0, 6))
def test_planted_secrets_never_come_through(
    secret: str, name: str, before: str, after: str, way: int
) -> None:
    """H8: any secret, any text around it, any of the ways to carry it: it is in no redacted line."""
    assume(secret not in before and secret not in after)
    text = [
        f"{before} {name}={secret} {after}",
        f"{before} --{name.lower().replace('_', '-')} {secret} {after}",
        f"{before} postgres://user:{secret}@host/{after}",
        f'{before} {{"{name}": "{secret}"}} {after}',
        f"{before} Authorization: Bearer {secret}",
        f"{before}\n{name}: {secret}\n{after}",
        f"{before} https://h/?{name}={secret}&x={after}",
    ][way]
    if way == 2:
        assume(not any(c in secret for c in "#"))
    assert secret not in redact(text)
    assert secret not in json.dumps(redact_value({"fields": {"message": text, "argv": ["x", text]}}))
    assert secret not in json.dumps(redact_value({"env": {name: secret, "OTHER": secret}, name: secret}))
    assert secret not in json.dumps(redact_value([f"--{name}", secret]))


@given(st.text() | st.text(string.ascii_letters + string.digits + "=:/@-_\"' .?&%\n", max_size=80))
@example("A_PAT=x")
@example("x@://")
def test_the_needles_cover_the_rules(text: str) -> None:
    """The fast path never lets through what the rules would have changed."""
    if redact_rules.apply(text) != text:
        low = text.lower()
        assert any(needle in low for needle in NEEDLES) or ("@" in low and "://" in low)


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda i: st.lists(i) | st.dictionaries(st.text(), i))
)
def test_clean_means_unchanged(value: Any) -> None:
    """`is_clean` says yes only where redacting changes nothing; asking twice gives the same."""
    if is_clean(value):
        assert is_clean(value)
        assert redact_value(value) == value


@given(st.text(string.ascii_letters + string.digits + "=:/@-_\"' .?&%\n", max_size=120))
def test_redacting_never_raises(text: str) -> None:
    """Whatever the text."""
    redact(text)
    redact_value([text, {text: text}])


def test_no_text_makes_a_rule_slow() -> None:
    """64 KiB of the worst characters for each rule stay far from minutes (a pathological pattern would not)."""
    started = time.process_time()
    for piece in (
        "a",
        "=",
        ":",
        "-",
        " ",
        "@",
        "://",
        "a=",
        "-a ",
        '"',
        "'",
        "token ",
        "sk-",
        "basic ",
        "eyJ.",
        "A" * 99,
    ):
        redact("password" + (piece * 70_000)[:65_536])
    assert time.process_time() - started < 60


def test_depth_is_bounded() -> None:
    """A structure deeper than anybody needs is cut, not followed for ever."""
    value: Any = "x"
    for _ in range(500):
        value = [value]
    redact_value(value)
    assert not is_clean({"password": value})


def test_the_memory_of_clean_strings_is_bounded() -> None:
    """Seen strings are forgotten in time."""
    from midwatch.record import redact as module

    for number in range(5000):
        assert is_clean({f"name{number}": f"value {number}"})
    assert len(module._clean) <= module.MOST_CACHED + 1
    assert len(module._names) <= module.MOST_CACHED + 1
