"""What `midwatch check` says about a valid file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from midwatch.config.explanation import explain

if TYPE_CHECKING:
    from tests.config.conftest import Read

TEXT = """
[service.db]
command = ["db", "--data", "a b"]
ready = { tcp = "127.0.0.1:5432" }
[service.web]
command = "python web.py"
cwd = "app"
user = "nobody"
env = { TOKEN = "hunter2" }
needs = ["db"]
memory = { hard = "512M" }
autostart = false
ready = { log = "listening" }
health = { command = "check me" }
restart = { crash_hard = 7, permanent = [] }
stop = { signal = "INT", grace = "90s" }
[service.job]
command = "true"
oneshot = true
ready = { notify = true }
"""


def test_each_service_in_a_few_lines(read: Read) -> None:
    text = explain(read(TEXT, {"PATH": "/bin"}))
    for line in (
        "/srv/shop/midwatch.toml: valid, project shop, 3 services",
        "db (/srv/shop/midwatch.toml:2): a service",
        "  runs        db --data 'a b'",
        "  ready       by tcp 127.0.0.1:5432, asked every 400 ms",
        "web (/srv/shop/midwatch.toml:5): a service, not started by `up`",
        "  in          /srv/shop/app as nobody",
        "  variables   PATH, PYTHONFAULTHANDLER, PYTHONUNBUFFERED, TOKEN",
        "  needs       shop/db ready",
        "  ready       when a line of its output matches listening",
        "  healthy     by command check me, asked every 30 s",
        "  memory      at most 512M",
        "  ends        exit 0: restarted; 10 crashes in a row are tried, given up after 7",
        "  stops       SIGINT, 1 m 30 s to leave, then killed and verified for up to 5 s",
        "  ready       when it says READY=1",
        "  ends        exit 0: done; 10 crashes in a row are tried, then slower, for ever; held on exit 78",
    ):
        assert line in text.split("\n")


def test_no_value_of_a_variable_is_shown(read: Read) -> None:
    """H8: names, never values."""
    assert "hunter2" not in explain(read(TEXT))


def test_every_default_is_explained_once(read: Read) -> None:
    """Under the services that it was filled in for."""
    loaded = read(TEXT)
    text = explain(loaded)
    everywhere = text[text.index("Defaults filled in for every service:") :]
    assert (
        '  stop.verify = "5s" (default)  # how long may be spent on proving that nothing is left'
        in everywhere
    )
    assert text.count("stop.verify") == 1
    assert "Defaults filled in for db, job:" in text
    assert "Defaults filled in for [midwatch]:" in text
    shown = {line.split(" = ")[0].strip() for line in text.split("\n") if "(default" in line}
    assert shown == {
        line.split(" = ")[0].split(".", 2 if line.startswith("service") else 1)[-1] for line in loaded.filled
    }


def test_long_commands_are_cut(read: Read) -> None:
    lines = explain(read(f"[service.web]\ncommand = ['x', '{'y' * 999}']")).split("\n")
    assert max(map(len, lines)) < 300
