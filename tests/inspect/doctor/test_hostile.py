"""Whatever other programs print, a check answers: with results or a skip, never with an exception (GEN-6)."""

from __future__ import annotations

import plistlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.inspect.doctor.machines import NOW, Machine, ctx, jsonable

from midwatch.inspect.doctor import registry
from midwatch.inspect.doctor.parts import ips, managers
from midwatch.inspect.doctor.run import run
from midwatch.inspect.doctor.services import span
from midwatch.inspect.sources import Ran
from midwatch.model.look import Proc

pytestmark = pytest.mark.slow

SLOW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LINES = st.lists(
    st.one_of(
        st.text(max_size=60),
        st.sampled_from([
            "Id=x.service", "NRestarts=99999", "MainPID=-1", "MemTotal: 5 kB", "MemAvailable: x kB", "SwapTotal: 0 kB",
            "some avg10=nan avg60=0", "some avg10=99.00 x", "lock:\t1: FLOCK  ADVISORY  WRITE -1 00:1b:24 0 EOF",
            "Max open files            0                    0   files", "\truns = 99999999999999999999", '{"pid": 1e9}',
            "0::/../..", "5:memory:", '{"bug_type":"309"}', "[Service]", "Restart=always", "TimeoutStopSec=-5 parsecs",
            " 0: 0100007F:ZZZZ 0 0A 0 0 0 0 0 7", "inotify wd:1", "max", "1", "{}", "[[]]",
            '[{"time": "x"}]', '[{"index": 0}, {}]',
        ]),
    ),
    max_size=12,
).map("\n".join)  # fmt: skip


class Hostile(Machine):
    """Every file and every program answers the same nonsense; every folder lists a few names."""

    def __init__(self, platform: Any, text: str) -> None:
        super().__init__(platform)
        self.text = text
        argv = (("npm exec x@1",), ("mkdocs", "serve"), ("pytest", "\n\x1b[0m"), (), ("claude",), ("uvx", ""))
        for pid, words in enumerate(argv, 5):
            self.add(Proc(pid, 0, pid - 1, 0, 0, 1000, "x", words, started=NOW + 50))
        self.add(Proc(90, 5, 91, 0, 0, 1000, "a"), Proc(91, 5, 90, 0, 0, 1000, "b"))  # a circle

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        return self.text.encode("utf-8", "replace")[:limit]

    def names(self, folder: str, limit: int = 10_000) -> list[str]:
        if folder.count("/") > 6:
            raise NotADirectoryError(20, "x")
        return [
            "a.service",
            "b.plist",
            "c.pid",
            "d.ips",
            "ResetCounter-2026-99-99-999999.diag",
            "5",
            "x.conf",
            "e.lock",
        ]

    def link(self, path: str) -> str:
        return "/a/b-wal (deleted)" if path.endswith("5") else "/r"

    def size(self, path: str) -> tuple[int, float]:
        return len(self.text) << 24, -5.0

    def space(self, path: str) -> tuple[int, int, int, int]:
        return len(self.text), 0, 0, 5

    def run(self, argv: tuple[str, ...], seconds: float = 5.0) -> Ran:
        return Ran(0, self.text, cut=True)

    def sysctl(self, name: str) -> str:
        return self.text


@SLOW
@given(st.sampled_from(["linux", "darwin"]), LINES)
def test_no_check_breaks_on_nonsense(platform: str, text: str) -> None:
    """Every check of ours, every input: no "the check itself failed", and all of it survives JSON."""
    machine = Hostile(platform, text)
    machine.recorded = True
    mine = [check for check in registry.checks() if check.category != "containers"]
    found = run(ctx(machine, paths=("/r",), rungs={}), mine, cap=1, each=60.0, total=120.0)
    broken = [(one.id, one.message) for one in found if "the check itself failed" in one.message]
    assert not broken
    assert jsonable(found)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**12), st.text(max_size=12), st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(
        st.sampled_from(["SuccessfulExit", "NumberOfFiles", "PORT"]), st.booleans() | st.text(max_size=4), max_size=2
    ),
    st.sampled_from(["--port 8787", "~/x", "--drain 300"]),
)  # fmt: skip
JOBS = st.dictionaries(
    st.sampled_from([
        "Label", "ProgramArguments", "KeepAlive", "ThrottleInterval", "ExitTimeOut", "SoftResourceLimits", "Umask",
        "EnvironmentVariables", "StandardErrorPath", "StandardOutPath", "WorkingDirectory", "AbandonProcessGroup",
    ]),
    VALUES.filter(lambda value: value is not None),
)  # fmt: skip


@SLOW
@given(
    JOBS,
    st.sampled_from(
        ["\truns = 400\n\tlast exit code = 0\n", "\truns = x\n\tpid = 5\n", "\tstate = waiting\n"]
    ),
)
def test_a_job_of_any_types(job: dict[str, Any], said: str) -> None:
    """A property list is well formed and still everything in it has the wrong type."""
    try:
        data = plistlib.dumps(job)
    except (TypeError, OverflowError, ValueError):
        return

    class Mac(Hostile):
        def read(self, path: str, limit: int = 1 << 20) -> bytes:
            return data if path.endswith(".plist") else super().read(path)

        def link(self, path: str) -> str:
            raise FileNotFoundError(2, "x")

    machine = Mac("darwin", said)
    machine.recorded = True
    wanted = [check for check in registry.checks() if check.id in ("DOC-18", "DOC-22")]
    found = run(ctx(machine), wanted, cap=1, each=60.0, total=120.0)
    assert not [one.message for one in found if "the check itself failed" in one.message]


SERVICES = st.lists(
    st.sampled_from([
        "[Service]", "[Unit]", "ExecStart=/x --port=99999 --drain 1e9", "ExecStart=/opt/midwatch up -d", "=",
        "RestartSec=0", "StartLimitBurst=x", "StartLimitIntervalSec=infinity", "TimeoutStopSec=", "Restart=always",
        "WantedBy=default.target", "Type=forking", "[", "\\", "TimeoutStopSec=0", "Restart=on-failure",
        "Environment=PORT=8787", "KillMode=none",
    ]),
).map("\n".join)  # fmt: skip
FACTS = st.lists(
    st.sampled_from([
        "Id=a.service", "NRestarts=400", "SubState=auto-restart", "RestartUSec=100ms", "MainPID=5", "ControlGroup=/",
        "ExecMainCode=1", "ExecMainStatus=0", "ExecMainStatus=-x", "", "ExecMainExitTimestampMonotonic=n/a",
        "Result=watchdog",
    ]),
).map("\n".join)  # fmt: skip
TCP = "head\n 0: 0100007F:2253 0:0 0A 0:0 0:0 0 0 0 777 1\n 1: x:ZZZZ 0 0A 0 0 0 0 0 7 1\n"


@SLOW
@given(SERVICES, FACTS)
def test_a_unit_of_any_lines(text: str, facts: str) -> None:
    """Unit files and `systemctl show` in any mixture."""

    class Linux(Hostile):
        def read(self, path: str, limit: int = 1 << 20) -> bytes:
            return (
                TCP.encode()
                if path.startswith("/proc/net")
                else text.encode()
                if "systemd" in path
                else b"7 8"
            )

        def link(self, path: str) -> str:
            if "systemd" in path:
                raise FileNotFoundError(2, "x")
            return "socket:[777]"

    machine = Linux("linux", facts)
    machine.recorded = True
    wanted = [check for check in registry.checks() if check.id in ("DOC-18", "DOC-22")]
    found = run(ctx(machine), wanted, cap=1, each=60.0, total=120.0)
    assert not [one.message for one in found if "the check itself failed" in one.message]


@given(st.text())
def test_parsers_take_anything(text: str) -> None:
    """Those with a shape of their own."""
    managers.blocks(text)
    span(text)
    ips.moment(text)
    ips.panic_class(text)
    try:
        ips.parse(text)
    except ValueError:
        pass


KEYS = st.sampled_from(["threads", "frames", "usedImages", "imageIndex", "name", "faultingThread"])


def _deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), _deeper, max_leaves=12))
def test_a_culprit_of_any_body(body: Any) -> None:
    """A report's body has any shape."""
    if isinstance(body, dict):
        assert isinstance(ips.culprit(body), str)
