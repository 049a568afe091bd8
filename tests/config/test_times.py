"""The keys schedule, watch and listen: what is accepted, what is refused with line and hint, what excludes what."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.config import timing
from midwatch.config.digest import difference
from midwatch.config.explanation import explain
from midwatch.config.kind import Bad
from midwatch.config.times import CRON
from midwatch.model.service import FileWatch, Schedule

if TYPE_CHECKING:
    from tests.config.conftest import Read, Refused

WEB = "[service.web]\ncommand = ['true']\n"


# -- schedules: issue 3, item 5


def test_a_schedule_in_its_short_and_its_long_form(read: Read) -> None:
    short = read(WEB + "schedule = ' */5  * * * * '").specs[0].rules.schedule
    assert short == Schedule("*/5 * * * *", None, None, True)
    text = WEB + "schedule = { cron = '@daily', zone = 'Europe/Berlin', deadline = '10m', catch_up = false }"
    assert read(text).specs[0].rules.schedule == Schedule("0 0 * * *", "Europe/Berlin", 600.0, False)
    assert read(WEB).specs[0].rules.schedule is None


@pytest.mark.parametrize(
    ("text", "key", "message", "hint"),
    [
        ("schedule = '0 0 31 2 *'", "schedule.cron", '"0 0 31 2 *" never comes', "no month it names has such a day"),
        ("schedule = '0 0 30 2 *'", "schedule.cron", "never comes", ""),
        ("schedule = '61 * * * *'", "schedule.cron", '"61" is not a minute', "0-59"),
        ("schedule = '* * * FOO *'", "schedule.cron", '"FOO" is not a month', "JAN-DEC"),
        ("schedule = '*/0 * * * *'", "schedule.cron", '"*/0" is not a minute', ""),
        ("schedule = '* * *'", "schedule.cron", "has 3 fields", "minute hour"),
        ("schedule = '0 * * * * *'", "schedule.cron", "has 6 fields", "no field for seconds"),
        ("schedule = '@reboot'", "schedule.cron", "is no time", "starts with midwatch"),
        ("schedule = '@often'", "schedule.cron", "is not known", "@hourly"),
        ("schedule = 5", "schedule.cron", "expected a cron expression, found the number 5", "*/5"),
        ("schedule = ''", "schedule.cron", "expected a cron expression", ""),
        ("schedule = { zone = 'UTC' }", "schedule.cron", "is missing", "*/5"),
        ("schedule = { cron = '@daily', zone = 'Mars/Olympus' }", "schedule.zone", "is not a time zone", "tzdata"),
        ("schedule = { cron = '@daily', zone = '../etc/passwd' }", "schedule.zone", "is not a time zone", ""),
        ("schedule = { cron = '@daily', catchup = true }", "schedule.catchup", "unknown key", "schedule.catch_up"),
        ("schedule = '@daily'\noneshot = true", "oneshot", "exclude each other", "remove one"),
        ("schedule = '@daily'\nwatch = ['src']", "watch", "exclude each other", "remove one"),
        ("schedule = '@daily'\nrestart.on_clean = 'restart'", "restart.on_clean", "exclude each other", ""),
    ],
)
def test_a_schedule_that_is_refused_says_where_and_what_to_do(
    refused: Refused, text: str, key: str, message: str, hint: str
) -> None:
    """Also a time that never comes."""
    (problem,) = refused(WEB + text)
    assert problem.key == f"service.web.{key}"
    assert problem.line in (3, 4)
    assert message in problem.message
    assert hint in problem.hint


def test_nobody_can_need_what_runs_at_its_times_only(refused: Refused) -> None:
    """It would wait for ever: between its times a scheduled service is neither up nor completed."""
    for needs in ("['job']", "{ job = 'started' }", "{ job = 'completed' }"):
        (problem,) = refused(f"[service.job]\ncommand = 'true'\nschedule = '@daily'\n{WEB}needs = {needs}")
        assert (problem.line, problem.key.startswith("service.web.needs")) == (6, True)
        assert "job runs at its times only" in problem.message


def test_a_schedule_may_have_probes_and_stop_on_clean(read: Read) -> None:
    read(WEB + "schedule = '@hourly'\nready = { file = 'x' }\nhealth = { file = 'x' }\nrestart.on_clean = 'stop'")
    assert not read(WEB + "schedule = { cron = '@hourly', deadline = '11s' }", {"PATH": "/bin"}).warnings[1:]
    tight = read(WEB + "schedule = { cron = '@hourly', deadline = '2s' }")
    (warning,) = [w for w in tight.warnings if "leave" in w.message]
    assert warning.key == "service.web.schedule.deadline"


@given(st.lists(st.text("0123456789*/,-#LWSUN", max_size=8), min_size=1, max_size=7))
def test_no_expression_breaks_the_reader(fields: list[str]) -> None:
    """Whatever is written is either read or refused in words."""
    with contextlib.suppress(Bad):
        assert CRON.read(" ".join(fields))


# -- watched files


def test_watched_paths_become_absolute(read: Read) -> None:
    found = read(WEB + "watch = ['src', '*.toml', '/etc/x']").specs[0].rules.file_watch
    assert found == FileWatch(("/srv/shop/src", "/srv/shop/*.toml", "/etc/x"), (), 0.5)
    text = WEB + "watch = { paths = 'src', ignore = ['*.log', 'src/gen/**'], debounce = '2s' }"
    assert read(text).specs[0].rules.file_watch == FileWatch(("/srv/shop/src",), ("*.log", "/srv/shop/src/gen/**"), 2.0)
    assert read(WEB).specs[0].rules.file_watch is None


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("watch = []", "watch.paths", "names nothing"),
        ("watch = 5", "watch.paths", "expected a list of strings"),
        ("watch = { ignore = ['x'] }", "watch.paths", "is missing"),
        ("watch = { paths = ['x'], debounce = '1ms' }", "watch.debounce", "too short"),
    ],
)
def test_a_watch_that_is_refused(refused: Refused, text: str, key: str, message: str) -> None:
    (problem,) = refused(WEB + text)
    assert (problem.key, problem.line) == (f"service.web.{key}", 3)
    assert message in problem.message


def test_without_its_extra_a_watch_is_one_line_with_the_command(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Design 8: a missing extra is one line with the install command."""
    monkeypatch.setattr(timing, "find_spec", lambda _: None)
    (problem,) = refused(WEB + "watch = ['src']")
    assert (problem.line, problem.hint) == (3, "pip install 'midwatch[watch]'")
    assert "watchfiles, which is not installed" in problem.message


# -- sockets


def test_addresses_to_listen_on(read: Read) -> None:
    text = WEB + "listen = ['127.0.0.1:8787', '[0:0::1]:08787', 'run/app.sock', '0.0.0.0:80', 'x.sock']"
    want = ("127.0.0.1:8787", "[::1]:8787", "/srv/shop/run/app.sock", "0.0.0.0:80", "/srv/shop/x.sock")
    assert read(text).specs[0].launch.listen == want
    assert read(WEB + "listen = '127.0.0.1:1'").specs[0].launch.listen == ("127.0.0.1:1",)


@pytest.mark.parametrize(
    ("value", "key", "message"),
    [
        ("['localhost:80']", "listen[0]", "is a name, not an address"),
        ("['127.0.0.1:1', '127.0.0.1:0']", "listen[1]", "a port is from 1 to 65535"),
        ("['8080']", "listen[0]", "is no address to listen on"),
        ("['::1:80']", "listen[0]", "is no address to listen on"),
        ("['[127.0.0.1]:80']", "listen[0]", "is no address to listen on"),
        ("['127.0.0.1:80', '127.0.0.1:080']", "listen[1]", "is listed twice"),
        ("['0.0.0.0:80', '[::]:80']", "listen", "takes the IPv4 connections too"),
        ("[]", "listen", "0 sockets"),
        ("['a/1', 'a/2', 'a/3', 'a/4', 'a/5', 'a/6']", "listen", "6 sockets"),
        (f"['/{'x' * 107}']", "listen", "longer than 107 bytes"),
    ],
)
def test_addresses_that_are_refused(refused: Refused, value: str, key: str, message: str) -> None:
    (problem,) = refused(WEB + f"listen = {value}")
    assert (problem.key, problem.line) == (f"service.web.{key}", 3)
    assert message in problem.message


def test_a_changed_listen_restarts_and_a_changed_schedule_does_not(read: Read) -> None:
    """Sockets are spawn facts; when and why it runs are not."""
    one, two = (read(WEB + f"listen = '127.0.0.1:{port}'").specs for port in (1, 2))
    assert difference(one, two).restarted == ("shop/web",)
    for key, values in (("schedule", ("@daily", "@hourly")), ("watch", ("a", "b"))):
        one, two = (read(WEB + f"{key} = '{value}'").specs for value in values)
        assert difference(one, two).changed == ("shop/web",)


def test_a_bare_connect_is_no_probe_of_a_socket_that_midwatch_holds(read: Read) -> None:
    """HLT-2: the listener is ours, it accepts whether the service lives or not."""
    text = WEB + "listen = '127.0.0.1:80'\nready = { tcp = '127.0.0.1:80' }"
    (warning,) = [w for w in read(text).warnings if "itself holds" in w.message]
    assert "ready.http" in warning.hint


def test_instances_share_a_socket_that_is_passed_on(read: Read) -> None:
    """No warning about one port for all: that is what it is for."""
    text = WEB + "instances = 2\nport = 80\nlisten = '0.0.0.0:80'"
    assert not [w for w in read(text).warnings if "same port" in w.message]


def test_check_explains_them(read: Read) -> None:
    lines = "schedule = { cron = '@daily', zone = 'UTC', deadline = '1h' }\nlisten = '127.0.0.1:80'"
    text = explain(read(WEB + lines + "\n[service.dev]\ncommand = 'true'\nwatch = ['src']"))
    assert "  comes       at 0 0 * * * (UTC), at most 1 h a run; one run makes up for missed ones" in text
    assert "  is given    127.0.0.1:80 (LISTEN_FDS), open through restarts" in text
    assert "  follows     /srv/shop/src; restarted after 500 ms without a change" in text
    assert "exit 0: done until its next time" in text
