"""What a valid file becomes: specs, settings, defaults, paths, sources."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.plain import default_logs, default_rules

from midwatch import config
from midwatch.config.loading import load, load_text, project_of
from midwatch.model.service import Probe, ServiceSpec, Window
from midwatch.policy import defaults

if TYPE_CHECKING:
    from tests.config.conftest import Read

ROOT = Path(__file__).parents[2]


def one(read: Read, text: str) -> ServiceSpec:
    """The only service of a text that holds the lines of its table."""
    (spec,) = read("[service.web]\ncommand = ['true']\n" + text).specs
    return spec


def test_a_command_is_enough(read: Read) -> None:
    """Everything else is the table of thresholds (policy/defaults.py), whatever it says."""
    loaded = read("[service.web]\ncommand = ['sleep', '60']")
    (spec,) = loaded.specs
    assert (spec.id, spec.source, spec.autostart) == ("shop/web", "/srv/shop/midwatch.toml:1", True)
    assert (spec.launch.argv, spec.launch.cwd) == (("sleep", "60"), "/srv/shop")
    assert spec.rules == default_rules()
    assert spec.logs == default_logs()
    assert loaded.settings.journal_weeks == defaults.JOURNAL_WEEKS
    assert loaded.settings.disk_reserve is None


def test_the_designs_example_is_all_default(read: Read) -> None:
    """Design 7: every value shown there is the default."""
    text = """
    restart = { crash = 10, stable_after = "5m", crash_slow = "20 in 24h", clean = "10 in 60s", drain = "3 in 30m", \
    unhealthy = "3 in 30m", memory = "5 in 60m", killed = "10 in 10m", on_clean = "restart" }
    stop = { signal = "TERM", grace = "10s" }
    """
    assert one(read, text).rules == default_rules()


def test_every_default_is_told(read: Read) -> None:
    """`midwatch check` explains what was filled in, and only that."""
    filled = read("[service.web]\ncommand = ['true']\nstop = { grace = '3s' }").filled
    assert 'service.web.stop.verify = "5s" (default)' in filled
    assert not any("stop.grace" in line or "ready" in line for line in filled)
    assert filled[0] == 'midwatch.project = "shop" (default: the file\'s folder)'


def test_values_reach_their_places(read: Read) -> None:
    """One of each kind."""
    spec = one(
        read,
        """
        cwd = "app"
        umask = "027"
        nice = -5
        oom_score_adj = 300
        user = 1000
        memory.hard = "1.5G"
        contain = "cgroup"
        pty = true
        port = 8787
        autostart = false
        rlimits = { nofile = [1024, 4096], core = "unlimited", fsize = "1M" }
        restart = { crash = 3, crash_hard = 5, clean = "off", clean_slow = "9 in 2h", permanent = [78, 1] }
        backoff = { first = "250ms", jitter = "25%" }
        stop = { signal = "SIGINT", grace = "0s", verify = "1s" }
        output = { file = "1M", files = 2, compress = false }
        """,
    )
    launch, rules = spec.launch, spec.rules
    assert (launch.cwd, launch.umask, launch.nice, launch.oom_score_adj) == ("/srv/shop/app", 0o27, -5, 300)
    assert (launch.user, launch.memory_hard, launch.contain, launch.port) == ("1000", 3 << 29, "cgroup", 8787)
    assert launch.rlimits == {"nofile": (1024, 4096), "core": (None, None), "fsize": (1 << 20, 1 << 20)}
    assert launch.pty
    assert not spec.autostart
    assert (rules.budgets.crash, rules.budgets.crash_hard, rules.budgets.clean) == (3, 5, None)
    assert (rules.budgets.clean_slow, rules.permanent_codes) == (Window(9, 7200.0), (1, 78))
    assert (rules.backoff.first, rules.backoff.jitter) == (0.25, 0.25)
    assert (rules.stop.signal, rules.stop.grace, rules.stop.verify) == (2, 0.0, 1.0)
    assert (spec.logs.file_bytes, spec.logs.files, spec.logs.compress) == (1 << 20, 2, False)


def test_a_drain_code_is_declared(read: Read) -> None:
    """A7: 12 drains only a service that says so."""
    assert one(read, "").rules.drain_code is None
    assert one(read, "restart = { drain_code = 12 }").rules.drain_code == 12


def test_settings(read: Read) -> None:
    text = '[midwatch]\nproject = "p"\nlog_total = "1G"\njournal_weeks = 2\njournal_bytes = "8M"\ndisk_reserve = "1G"\n'
    loaded = read(text + "[service.web]\ncommand = 'true'")
    assert loaded.project == "p"
    assert loaded.settings == config.Settings(1 << 30, 2, 8 << 20, 1 << 30)


@pytest.mark.parametrize(
    ("text", "probe"),
    [
        ('{ http = "http://h:80/x", json_status = "a.b" }', Probe(http="http://h:80/x", json_status="a.b")),
        ('{ tcp = "[::1]:5432", any_owner = true }', Probe(tcp="[::1]:5432", any_owner=True)),
        ('{ command = "pg_isready -q" }', Probe(command=("pg_isready", "-q"))),
        ("{ log = 'listening on \\d+' }", Probe(log=r"listening on \d+")),
        ('{ file = "run/ready", within = "3m", every = "1s", timeout = 5 }',
         Probe(file="/srv/shop/run/ready", within=180.0, every=1.0, timeout=5.0)),
        ("{ notify = true }", Probe(notify=True)),
    ],
)  # fmt: skip
def test_ready_probes(read: Read, text: str, probe: Probe) -> None:
    """HLT-1: 25 s, every 0.4 s, 2 s a request, unless said otherwise."""
    assert one(read, f"ready = {text}").rules.ready == probe


def test_health_probes(read: Read) -> None:
    """HLT-4: every 30 s, 10 s, three in a row."""
    health = one(read, 'health = { file = "alive" }').rules.health
    assert health
    assert (health.file, health.every, health.timeout, health.failures) == ("/srv/shop/alive", 30.0, 10.0, 3)


def test_a_command_may_be_a_string(read: Read) -> None:
    """Split into words as a shell would quote them, without a shell."""
    assert read("""[service.a]\ncommand = "python -c 'print(1)' --x=\\"a b\\"" """).specs[0].launch.argv == (
        "python",
        "-c",
        "print(1)",
        "--x=a b",
    )


def test_instances_are_numbered(read: Read) -> None:
    """`instances = N` means NAME-1 to NAME-N, each told its number."""
    specs = read("[service.w]\ncommand = 'true'\ninstances = 3").specs
    assert [spec.name for spec in specs] == ["w-1", "w-2", "w-3"]
    assert [spec.launch.env["MIDWATCH_INSTANCE"] for spec in specs] == ["1", "2", "3"]
    assert [spec.name for spec in read("[service.w]\ncommand = 'true'\ninstances = 1").specs] == ["w-1"]


@pytest.mark.parametrize(
    ("folder", "project"),
    [
        ("/srv/shop", "shop"),
        ("/srv/my shop (2)", "my-shop-2"),
        ("/", "root"),
        ("/x/äöü", "root"),
        ("/" + "y" * 99, "y" * 64),
    ],
)
def test_the_project_is_named_after_the_folder(read: Read, folder: str, project: str) -> None:
    """What a name may not hold becomes a dash."""
    file = os.path.join(folder, "midwatch.toml")
    assert read("[service.web]\ncommand = 'true'", file=file).project == project


def test_the_project_of_a_broken_file(tmp_path: Path) -> None:
    """`ps` in a folder of a project means that project, also when its file has problems."""
    file = tmp_path / "midwatch.toml"
    file.write_text("[midwatch]\nproject = 'x'\n[service.web]\nnonsense = 1\n")
    assert project_of(file) == "x"
    file.write_text("midwatch = 1\n")
    assert project_of(file) == tmp_path.name[:64]


def test_a_start_that_has_to_be_quick_is_asked_quickly(read: Read) -> None:
    """A default never contradicts what was written: no question outlasts `within`."""
    loaded = read("[service.web]\ncommand = 'true'\nready = { notify = true, within = '300ms' }")
    ready = loaded.specs[0].rules.ready
    assert ready
    assert (ready.within, ready.every, ready.timeout) == (0.3, 0.3, 0.3)
    assert sum("ready.timeout" in line for line in loaded.filled) == 1


def test_the_outer_managers_patience(read: Read) -> None:
    """The timer ladder: grace + verify + margin have to end before somebody kills us. A warning only."""
    text = "[service.web]\ncommand = 'true'\nstop = { grace = '88s' }"
    with_outer = load_text(text, "/srv/shop/midwatch.toml", environ={}, outer=90.0)
    assert [(found.line, found.key) for found in with_outer.warnings][-1] == (3, "service.web.stop.grace")
    assert "outer manager kills after 1 m 30 s" in with_outer.warnings[-1].message
    assert len(read(text).warnings) == len(with_outer.warnings) - 1


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages and sources must mean the same in another folder."""
    (tmp_path / "midwatch.toml").write_text("[service.web]\ncommand = 'true'\n")
    monkeypatch.chdir(tmp_path)
    loaded = load("midwatch.toml")
    assert loaded.path == str(tmp_path / "midwatch.toml")
    assert loaded.specs[0].launch.cwd == str(tmp_path)


def test_a_byte_order_mark_is_forgiven(tmp_path: Path) -> None:
    """Some editors write one."""
    file = tmp_path / "midwatch.toml"
    file.write_bytes(b"\xef\xbb\xbf[service.web]\ncommand = 'true'\n")
    assert load(file, environ={}).specs[0].name == "web"


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("**/*.toml")), ids=lambda file: file.name)
def test_the_examples_are_valid(file: Path) -> None:
    """Every configuration in examples/ loads."""
    assert load(file, environ=dict(os.environ)).specs


def test_the_public_names_exist_and_stay_what_they_are() -> None:
    """Each name of midwatch.config is importable, twice (a module of the same name must not hide it)."""
    for _ in range(2):
        assert callable(config.load)
        assert all(getattr(config, name) for name in config._HOMES)
        assert not any(str(getattr(config, name)).startswith("<module") for name in config._HOMES)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = config.lode
