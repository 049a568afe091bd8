"""Bad input: every problem carries file, line, key, what is wrong and what to do, and all of a file come together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from midwatch.config.loading import load
from midwatch.config.problems import MOST_PROBLEMS, ConfigError, Problem

if TYPE_CHECKING:
    from tests.config.conftest import Read, Refused

COMMAND = '[service.web]\ncommand = ["true"]\n'

# A text below `COMMAND` (so its first line is 3), then line, key, a part of the message, a part of the hint.
BAD: list[tuple[str, int, str, str, str]] = [
    # unknown keys
    ("restrat = {}", 3, "service.web.restrat", "unknown key", "did you mean restart?"),
    ("restart = {\n}", 3, "", "", ""),
    ("stop = { grase = '1s' }", 3, "service.web.stop.grase", "unknown key", "did you mean stop.grace?"),
    ("grace = '1s'", 3, "service.web.grace", "unknown key", "did you mean stop.grace?"),
    ("memory = { sofd = '1G' }", 3, "service.web.memory.sofd", "unknown key", "did you mean memory.soft?"),
    ("pools = 4", 3, "service.web.pools", "unknown key", ""),
    ("[services.x]", 3, "services", "unknown key", "did you mean [service.NAME]?"),
    ("[midwach]", 3, "midwach", "unknown key", "did you mean [midwatch]?"),
    ("[midwatch]\nmemory_budget = '1M'", 4, "midwatch.memory_budget", "too small, at least 64M", ""),
    ("[service.web.ready]\nhtp = 'x'", 4, "service.web.ready.htp", "unknown key", "did you mean ready.http?"),
    # groups and tables
    ("stop = 5", 3, "service.web.stop", "expected a table, found the number 5", "stop = { signal"),
    (
        "restart = 'always'",
        3,
        "service.web.restart",
        'expected a table, found the string "always"',
        "restart = {",
    ),
    # values
    ("cwd = 3", 3, "service.web.cwd", "expected a text", ""),
    ("umask = 27", 3, "service.web.umask", "an octal umask in quotes", '"027"'),
    ("umask = '099'", 3, "service.web.umask", "an octal umask", ""),
    ("nice = '3.5'", 3, "service.web.nice", "a whole number from -20 to 19", ""),
    ("nice = 3.5", 3, "service.web.nice", "found the number 3.5", ""),
    ("nice = '10abc'", 3, "service.web.nice", 'found the string "10abc"', ""),
    ("nice = 25", 3, "service.web.nice", "found the number 25", ""),
    ("nice = true", 3, "service.web.nice", "found true", ""),
    ("oom_score_adj = 2000", 3, "service.web.oom_score_adj", "from -1000 to 1000", ""),
    ("port = 70000", 3, "service.web.port", "from 1 to 65535", ""),
    ("pty = 'true'", 3, "service.web.pty", "true or false", "without quotes"),
    ("contain = 'cgruop'", 3, "service.web.contain", '"auto" or "cgroup"', 'did you mean "cgroup"?'),
    ("user = 'a b'", 3, "service.web.user", "a user name or number", ""),
    ("memory = { hard = 2 }", 3, "service.web.memory.hard", "too small", 'did you mean "2G"?'),
    ("memory = { hard = '2Q' }", 3, "service.web.memory.hard", "a size", '"512M"'),
    ("memory = { hard = '1G', soft = '1G' }", 3, "service.web.memory.soft", "is not below", "before it could drain"),
    ("memory = { hard = true }", 3, "service.web.memory.hard", "a size", ""),
    (f"memory = {{ hard = '{'9' * 50}T' }}", 3, "service.web.memory.hard", "too large", ""),
    ("instances = 0", 3, "service.web.instances", "from 1 to 1000", ""),
    ("instances = 1.5", 3, "service.web.instances", "found the number 1.5", ""),
    ("stop = { signal = 'TREM' }", 3, "service.web.stop.signal", "a signal", "did you mean TERM?"),
    ("stop = { signal = 'STOP' }", 3, "service.web.stop.signal", "a signal that ends a program", ""),
    ("stop = { grace = 'soon' }", 3, "service.web.stop.grace", "a duration", '"10s"'),
    ("stop = { grace = -1 }", 3, "service.web.stop.grace", "a duration", ""),
    ("stop = { grace = inf }", 3, "service.web.stop.grace", "a duration", ""),
    ("stop = { verify = '0s' }", 3, "service.web.stop.verify", "too short", ""),
    ("restart = { clean = '10 per 60s' }", 3, "service.web.restart.clean", "a budget", '"10 in 60s"'),
    ("restart = { clean = 10 }", 3, "service.web.restart.clean", "a budget", '"off"'),
    ("restart = { killed = '9999999 in 1s' }", 3, "service.web.restart.killed", "too large", ""),
    ("restart = { crash = 'off' }", 3, "service.web.restart.crash", "a whole number", ""),
    ("restart = { crash_hard = 0 }", 3, "service.web.restart.crash_hard", '"off"', ""),
    ("restart = { permanent = [78, 0] }", 3, "service.web.restart.permanent[1]", "from 1 to 255", ""),
    ("restart = { permanent = 78 }", 3, "service.web.restart.permanent", "a list of exit codes", "[64, 78]"),
    ("backoff = { jitter = 2 }", 3, "service.web.backoff.jitter", "a share from 0 to 1", '"10%"'),
    ("output = { stderr = 'both' }", 3, "service.web.output.stderr", '"merge" or "own"', ""),
    ("output = { file = '10' }", 3, "service.web.output.file", "too small", ""),
    ("env = ['A=1']", 3, "service.web.env", "a table of variables", "{ PORT"),
    ("env = { A = 1.5 }", 3, "service.web.env.A", "a string, a whole number or false", "in quotes"),
    ("env = { A = true }", 3, "service.web.env.A", "found true", "in quotes"),
    ("[service.web.env]\nA = '1'\n'B=' = '2'", 5, 'service.web.env."B="', "is not a name for a variable", ""),
    ('env = { A = "a\\u0000b" }', 3, "service.web.env.A", "", "NUL"),
    ("env_pass = [1]", 3, "service.web.env_pass[0]", "a string", ""),
    (
        "rlimits = { nofiles = 1 }",
        3,
        "service.web.rlimits.nofiles",
        "not a known limit",
        "did you mean nofile?",
    ),
    ("rlimits = { nofile = [9, 8] }", 3, "service.web.rlimits.nofile", "the soft limit is above", ""),
    (
        "rlimits = { nofile = ['unlimited', 8] }",
        3,
        "service.web.rlimits.nofile",
        "the soft limit is above",
        "",
    ),
    ("rlimits = { nofile = '1G' }", 3, "service.web.rlimits.nofile", 'a number or "unlimited"', ""),
    ("rlimits = { core = [1, 2, 3] }", 3, "service.web.rlimits.core", "[soft, hard]", ""),
    ("cwd = 1979-05-27", 3, "service.web.cwd", "found the date", ""),
    ("cwd = '/'\nenv_files = 5", 4, "service.web.env_files", "a list of strings, found the number 5", ""),
    ("env_files = ['\\u0000']".replace("'", '"'), 3, "service.web.env_files[0]", "a string", ""),
    ("cwd = '\\u0000'".replace("'", '"'), 3, "service.web.cwd", "a NUL", ""),
    ("rlimits = 5", 3, "service.web.rlimits", "a table of limits", "{ nofile"),
    ("rlimits = []", 3, "service.web.rlimits", "found an array", ""),
    ("stop = { signal = 19 }", 3, "service.web.stop.signal", "a signal that ends", "TERM, INT"),
    ("stop = { signal = true }", 3, "service.web.stop.signal", "a signal, found true", ""),
    # probes
    ("ready = { http = 80 }", 3, "service.web.ready.http", "a URL, found the number 80", ""),
    ("ready = { within = '5s' }", 3, "service.web.ready", "asks nothing", "give one of http, tcp"),
    ("ready = { notify = false }", 3, "service.web.ready", "asks nothing", ""),
    (
        "[service.web.ready]\ntcp = 'h:1'\nhttp = 'http://h'",
        4,
        "service.web.ready.tcp",
        "a second target",
        "exactly one",
    ),
    (
        "health = { tcp = 'h:1', json_status = 's' }",
        3,
        "service.web.health.json_status",
        "needs an http target",
        "",
    ),
    (
        "ready = { file = 'x', any_owner = true }",
        3,
        "service.web.ready.any_owner",
        "needs an http or tcp",
        "",
    ),
    ("health = { http = 'http://h/', json_waiting = 'q' }", 3, "service.web.health.json_waiting", "there is none", ""),
    ("health = { tcp = 'h:1', every = '0s' }", 3, "service.web.health.every", "too short", ""),  # G10
    ("health = { tcp = 'h:1', failures = 0 }", 3, "service.web.health.failures", "from 1 to 1000", ""),  # G5
    ("ready = { http = 'ftp://h/' }", 3, "service.web.ready.http", "begins with http://", ""),
    ("ready = { http = 'http://h:99999/' }", 3, "service.web.ready.http", "is not a URL", ""),
    ("ready = { http = 'http:///x' }", 3, "service.web.ready.http", "names a host", ""),
    ("ready = { tcp = '8080' }", 3, "service.web.ready.tcp", "HOST:PORT", "127.0.0.1:5432"),
    ("ready = { tcp = 'h:0' }", 3, "service.web.ready.tcp", "HOST:PORT", ""),
    (
        "ready = { log = '(' }",
        3,
        "service.web.ready.log",
        "is not a regular expression: missing )",
        "single quotes",
    ),
    ("ready = { file = 'x', failures = 3 }", 3, "service.web.ready.failures", "unknown key", ""),
    ("health = { log = 'x' }", 3, "service.web.health.log", "unknown key", ""),
    # ladders and contradictions
    (
        "ready = { file = 'x', within = '1s', timeout = '2s' }",
        3,
        "service.web.ready.timeout",
        "longer than ready.within",
        "",
    ),
    ("backoff = { first = '2m' }", 3, "service.web.backoff.first", "longer than backoff.most", ""),
    ("backoff = { degraded_most = '2s' }", 3, "service.web.backoff.degraded_most", "longer than", ""),
    ("restart = { drain_code = 78 }", 3, "service.web.restart.drain_code", "also a permanent code", ""),
    (
        "oneshot = true\nrestart = { on_clean = 'restart' }",
        4,
        "service.web.restart.on_clean",
        "a oneshot is done",
        "",
    ),
    ("pty = true\noutput = { stderr = 'own' }", 4, "service.web.output.stderr", "one stream", ""),
    # names and needs
    ("[service.'a.b']\ncommand = 'true'", 3, 'service."a.b"', "is not a name", "letters, digits"),
    (f"[service.{'x' * 65}]\ncommand = 'true'", 3, f"service.{'x' * 65}", "is not a name", "at most 64"),
    (
        f"[service.{'x' * 64}]\ncommand = 'true'\ninstances = 2",
        5,
        f"service.{'x' * 64}.instances",
        "longer than 64",
        "",
    ),
    ("[midwatch]\nproject = 'a/b'", 4, "midwatch.project", "a name of letters", ""),
    ("[service]\nx = 1", 4, "service.x", "expected a table", "[service.x]"),
    ("[service.x]", 3, "service.x.command", "is missing", "for example command"),
    ("needs = ['wbe']", 3, "service.web.needs[0]", "there is no service", "did you mean web?"),
    ("needs = [\n 'zzz',\n]", 4, "service.web.needs[0]", "there is no service", "known: web"),
    ("needs = ['a/b/c']", 3, "service.web.needs[0]", "is not a service", "PROJECT/NAME"),
    ("needs = ['web']", 3, "service.web.needs[0]", "wait for each other: web -> web", "remove one"),
    ("needs = { web = 'up' }", 3, "service.web.needs.web", '"started" or "ready"', ""),
    ("needs = { web = 'complete' }", 3, "service.web.needs.web", "", 'did you mean "completed"?'),
    ("needs = 'db'", 3, "service.web.needs", "a list of services", '["db"]'),
    ("needs = ['x', 'x']\n[service.x]\ncommand = 'true'", 3, "service.web.needs[0]", "listed twice", ""),
    # the text as a whole
    ("command = 'false'", 3, "service.web.command", "is set twice, first at line 2", "remove one"),
    (COMMAND.rstrip(), 3, "service.web", 'the service "web" is defined twice, first at line 1', "own name"),
    ("x = ", 3, "", "invalid value", "quotes"),
    ("x = true false", 3, "", "", "not TOML"),
    ("x = '", 3, "", "", ""),
    ('y = """\n\n', 5, "", "unterminated string", ""),
]


@pytest.mark.parametrize(("text", "line", "key", "message", "hint"), BAD, ids=[row[0][:40] for row in BAD])
def test_a_problem_says_where_what_and_what_to_do(
    refused: Refused, text: str, line: int, key: str, message: str, hint: str
) -> None:
    """Each row of the table above, in its own file."""
    problems = refused(COMMAND + text)
    found = problems[0]
    assert (found.file, found.line) == ("/srv/shop/midwatch.toml", line)
    if message or key:
        assert found.key == key
        assert message in found.message
        assert hint in found.hint


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("5", "found the number 5"),
        ("{}", "found a table"),
        ('["a", "\\u0000"]', "NUL"),
        ('"a \\u0000"', "NUL"),
    ],
)
def test_a_command_that_is_none(refused: Refused, command: str, message: str) -> None:
    """Neither words nor a string, or what no program can be given."""
    (problem,) = refused(f"[service.web]\ncommand = {command}")
    assert (problem.line, problem.key, message in problem.message) == (2, "service.web.command", True)


def test_all_problems_of_a_file_come_at_once_in_the_order_of_the_lines(refused: Refused) -> None:
    """A person corrects a file in one go; a problem causes no second one."""
    text = """
[midwatch]
journal_weeks = 0
[service.web]
comand = "x"
stop = { grace = "x", signal = "y" }
needs = ["db", "cache"]
[service.db]
command = "a | b"
env = { A = 1.5, B = 2.5 }
ready = { http = "x", tcp = "y" }
"""
    problems = refused(text)
    assert [problem.line for problem in problems] == [3, 5, 6, 6, 7, 9, 10, 10, 11, 11, 11]
    assert [problem.key for problem in problems][-3:] == [
        "service.db.ready.http",
        "service.db.ready.tcp",
        "service.db.ready.tcp",
    ]


def test_a_file_of_rubbish_stays_readable(refused: Refused) -> None:
    """At most 100 problems, and how many more there are."""
    problems = refused("".join(f"[service.s{number}]\nx = 1\n" for number in range(200)))
    assert len(problems) == MOST_PROBLEMS + 1
    assert problems[-1].message == "and 300 more problems"


@pytest.mark.parametrize("text", ["", "# nothing\n", "[midwatch]\nproject = 'x'\n", "[service]\n"])
def test_a_file_without_a_service_is_refused(refused: Refused, text: str) -> None:
    """There would be nothing to do."""
    assert refused(text)[0].message == "there is no service"


def test_too_many_services_are_refused(refused: Refused) -> None:
    """Instances count one by one."""
    text = "".join(f"[service.s{number}]\ncommand = 'true'\ninstances = 600\n" for number in range(2))
    assert "1200 services" in refused(text)[0].message


def test_a_problem_is_one_line(refused: Refused) -> None:
    """What `midwatch check` prints: FILE:LINE: key: what (what to do)."""
    shown = str(refused(COMMAND + "nice = 25")[0])
    assert shown == (
        "/srv/shop/midwatch.toml:3: service.web.nice: expected a whole number from -20 to 19, found the number 25"
    )
    assert str(Problem("a", 0, "", "is odd", "look")) == "a: is odd (look)"


def test_long_values_are_cut_in_messages(refused: Refused) -> None:
    """A megabyte in a value must not fill the terminal."""
    problems = refused(
        f"[service.web]\ncommand = 'true'\nstop = {{ grace = '{'x' * 10_000}' }}\nnice = {'9' * 4000}"
    )
    assert all(len(str(problem)) < 300 for problem in problems)


# -- the file itself -----------------------------------------------------------------------------------------------


def only(path: Path | str) -> Problem:
    with pytest.raises(ConfigError) as caught:
        load(path, environ={})
    (problem,) = caught.value.problems
    return problem


def test_a_missing_file(tmp_path: Path) -> None:
    problem = only(tmp_path / "none.toml")
    assert "No such file" in problem.message
    assert problem.file == str(tmp_path / "none.toml")


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    assert "Is a directory" in only(tmp_path).message


@pytest.mark.unprivileged("root may read everything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    file = tmp_path / "midwatch.toml"
    file.touch(0)
    assert "Permission denied" in only(file).message


def test_a_name_that_no_file_can_have() -> None:
    assert "NUL" in only("/tmp/\0").message


def test_a_path_that_is_not_utf_8() -> None:
    """It could not be written down anywhere."""
    assert "is not UTF-8 text" in only("/tmp/\udce9.toml").message


def test_a_file_that_is_not_utf_8_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "midwatch.toml"
    file.write_bytes(b"# fine\n# caf\xe9\n")
    assert (only(file).line, only(file).message) == (2, "is not UTF-8 text")


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    """1 MiB is refused before it is parsed; a device without an end is not read for ever."""
    file = tmp_path / "midwatch.toml"
    file.write_bytes(b"#" * ((1 << 20) + 1))
    assert "larger than 1 MiB" in only(file).message
    assert "larger than 1 MiB" in only("/dev/zero").message


def test_a_text_nested_too_deeply(tmp_path: Path) -> None:
    file = tmp_path / "midwatch.toml"
    file.write_text("a = " + "[" * 20_000)
    assert only(file).line == 1


def test_a_number_with_thousands_of_digits(tmp_path: Path) -> None:
    file = tmp_path / "midwatch.toml"
    file.write_text("a = " + "9" * 10_000)
    assert only(file).file == str(file)


# -- env files -----------------------------------------------------------------------------------------------------


def test_bad_env_files_name_themselves_and_the_line(tmp_path: Path) -> None:
    """A missing one is a problem of the configuration's line; a malformed one of its own line."""
    (tmp_path / "bad.env").write_text("A=1\nrubbish\n")
    (tmp_path / "latin.env").write_bytes(b"A=1\nB=\xe9\n")
    (tmp_path / "large.env").write_bytes(b"#" * ((1 << 20) + 1))
    file = tmp_path / "midwatch.toml"
    file.write_text(
        COMMAND + "env_files = [\n 'none.env',\n 'bad.env',\n 'latin.env',\n 'large.env',\n]\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        load(file, environ={})
    found = {
        (os.path.basename(problem.file), problem.line): problem.message for problem in caught.value.problems
    }
    assert found["bad.env", 2] == "expected NAME=VALUE"
    assert found["latin.env", 2] == "is not UTF-8 text"
    assert "No such file" in found["midwatch.toml", 4]
    assert "larger than 1 MiB" in found["midwatch.toml", 7]


# -- warnings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("cwd = '/nowhere-at-all'", "cwd", "is not a folder now"),
        ("cwd = '/'\ncommand = 'no-such-program-here'", "command", "is not found now"),
        ("cwd = '/'\nuser = 'no-such-user-here'", "user", "there is no user"),
        ("cwd = '/'\ninstances = 2\nport = 80", "port", "2 instances serve the same port 80"),
        (
            "cwd = '/'\nrestart = { clean = '9 in 2d', clean_slow = '9 in 1d' }",
            "restart.clean_slow",
            "no further",
        ),
        ("cwd = '/'\nrestart = { drain = '9 in 2d' }", "restart.drain", "drain_slow looks back no further"),
    ],
)
def test_what_is_doubtful_is_a_warning(read: Read, text: str, key: str, message: str) -> None:
    """It may be different when the service starts, so nobody is stopped."""
    command = "" if "command" in text else "command = 'true'\n"
    loaded = read(f"[service.web]\n{command}{text}", environ=dict(os.environ))
    assert [(found.key, message in found.message) for found in loaded.warnings] == [
        (f"service.web.{key}", True)
    ]
