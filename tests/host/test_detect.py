"""Who started us: SVC-5..9 as tables, scenarios 1-7. What is inherited must never look like the real thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.host.detect import OPT_IN, Ancestor, Facts, Manager, detect
from midwatch.host.facts import job_numbers, leaf

PID = 4242
RECORDED = Path(__file__).parent / "recorded"
SYSTEMD, BASH = Ancestor(1, "systemd", ("/sbin/init",)), Ancestor(900, "bash", ("bash",))
LAUNCHD = Ancestor(1, "launchd", ("/sbin/launchd",))
SUPERVISORD = Ancestor(77, "supervisord", ("/usr/bin/python3", "/usr/bin/supervisord", "-n"))
UNDER_SUPERVISORD = {"SUPERVISOR_ENABLED": "1", "SUPERVISOR_PROCESS_NAME": "web", "SUPERVISOR_GROUP_NAME": "web"}
XPC = {"XPC_SERVICE_NAME": "com.example.svc"}


def judge(environ: dict[str, str] | None = None, *above: Ancestor, **more: Any) -> Manager:
    return detect(Facts(pid=more.pop("pid", PID), environ=environ or {}, ancestors=above or (BASH,), **more))


def seen(manager: Manager) -> tuple[str, str]:
    return manager.name, manager.confidence


def test_1_a_clean_environment_and_a_terminal_is_nobody() -> None:
    """Scenario 1."""
    assert judge({"PATH": "/bin"}, tty=True) == Manager("none", "none")


@pytest.mark.parametrize(
    ("name", "manager"),
    [
        ("systemd", judge({"SYSTEMD_EXEC_PID": str(PID)}, SYSTEMD)),
        ("systemd", judge({"SYSTEMD_EXEC_PID": str(PID)}, Ancestor(1300, "systemd"), cgroup="web.service", tty=True)),
        ("systemd", judge({"INVOCATION_ID": "ab12"}, SYSTEMD, cgroup="web.service")),
        ("launchd", judge(XPC, LAUNCHD, darwin=True)),
        ("launchd", judge(XPC, LAUNCHD, darwin=True, launchd_pid=PID)),
        ("supervisord", judge(UNDER_SUPERVISORD, SUPERVISORD)),
        ("supervisord", judge(UNDER_SUPERVISORD, BASH, BASH, SUPERVISORD)),
        ("supervisord", judge(UNDER_SUPERVISORD, Ancestor(9, "python3", ("python3", "-m", "supervisor.supervisord")))),
        ("container", judge({}, Ancestor(0, ""), pid=1, container="/.dockerenv exists")),
        ("container", judge({}, Ancestor(1, "tini", ("tini", "--")), container="/.dockerenv exists")),
        ("midwatch", judge({"MIDWATCH_RUN": "abcd/shop.web.1"},
                           Ancestor(50, "python3", ("python3", "-I", "/x/midwatch/keeper/__main__.py")))),
    ],
)  # fmt: skip
def test_2_full_evidence_is_strong_and_says_why(name: str, manager: Manager) -> None:
    """Scenario 2: SVC-6, 8, 9."""
    assert seen(manager) == (name, "strong")
    assert manager.reasons


@pytest.mark.parametrize("environ", [{"INVOCATION_ID": "ab"}, {"INVOCATION_ID": "ab", "SYSTEMD_EXEC_PID": "900"}])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"cgroup": "session-3.scope"},
        {"cgroup": "web.service"},  # a shell inside of a unit: a web terminal, an agent
        {"cgroup": "user@1000.service", "above": Ancestor(800, "systemd")},
        {"cgroup": "web.service", "above": SYSTEMD, "tty": True},
        {"cgroup": "vte-spawn-1.scope", "above": SYSTEMD},
    ],
)
def test_3_an_inherited_invocation_id_is_weak(environ: dict[str, str], more: dict[str, Any]) -> None:
    """Scenario 3; SVC-6: INVOCATION_ID needs the parent, the unit's own cgroup and no terminal."""
    more = dict(more)
    above = more.pop("above", BASH)
    assert seen(judge(environ, above, **more)) == ("systemd", "weak")


def test_3_an_orphan_that_fell_to_a_users_systemd_is_weak() -> None:
    """Parent systemd, the unit's cgroup, no terminal, all inherited: SYSTEMD_EXEC_PID of another process settles it."""
    environ = {"INVOCATION_ID": "ab", "SYSTEMD_EXEC_PID": "900"}
    assert seen(judge(environ, Ancestor(800, "systemd"), cgroup="web.service")) == ("systemd", "weak")


@pytest.mark.parametrize(("pid", "confidence"), [(str(PID), "strong"), ("900", "weak"), ("x", "weak"), ("", "none")])
def test_4_systemd_exec_pid_has_to_be_ours(pid: str, confidence: str) -> None:
    """Scenario 4."""
    assert judge({"SYSTEMD_EXEC_PID": pid}).confidence == confidence


@pytest.mark.parametrize(
    ("value", "more", "confidence"),
    [
        ("0", {}, "none"),
        ("", {}, "none"),
        ("application.com.apple.Terminal.X", {}, "none"),
        ("application.com.microsoft.VSCode", {}, "none"),
        ("nodots", {}, "none"),
        ("com.example.svc", {}, "strong"),
        ("com.example.svc", {"tty": True}, "weak"),
        ("com.example.svc", {"above": Ancestor(500, "zsh")}, "weak"),
        ("com.example.svc", {"launchd_pid": 77}, "weak"),
        ("com.example.svc", {"darwin": False}, "none"),
    ],
)
def test_5_xpc_service_name(value: str, more: dict[str, Any], confidence: str) -> None:
    """Scenario 5, SVC-8: terminals have it too, and launchctl has the last word."""
    above = more.get("above", LAUNCHD)
    facts = {"darwin": True, **{name: fact for name, fact in more.items() if name != "above"}}
    assert judge({"XPC_SERVICE_NAME": value}, above, **facts).confidence == confidence


def test_5_launchd_socket_alone_is_weak() -> None:
    """SVC-8: no macOS of today sets it."""
    assert seen(judge({"LAUNCHD_SOCKET": "/x"}, LAUNCHD, darwin=True)) == ("launchd", "weak")


@pytest.mark.parametrize("value", ["1", "true", "YES", "On", " yes "])
def test_6_an_explicit_yes_beats_everything(value: str) -> None:
    """Scenario 6, SVC-5."""
    environ = {OPT_IN: value, **UNDER_SUPERVISORD}
    assert seen(judge(environ, SUPERVISORD, tty=True)) == ("explicit", "strong")


@pytest.mark.parametrize("value", ["0", "false", "no", "off", "  ", "", "perhaps"])
def test_6_an_explicit_no_is_not_set(value: str) -> None:
    """Scenario 6: ignored, and other evidence still counts."""
    assert judge({OPT_IN: value}, tty=True).confidence == "none"
    assert seen(judge({OPT_IN: value, "SYSTEMD_EXEC_PID": str(PID)}, SYSTEMD)) == ("systemd", "strong")


def test_6_what_is_neither_is_said() -> None:
    assert "neither yes nor no" in judge({OPT_IN: "perhaps"}).reasons[0]


def test_7_journal_stream_counts_only_when_it_is_our_own() -> None:
    """Scenario 7, SVC-7: dev:inode of fd 1 or 2; alone it is weak."""
    environ = {"JOURNAL_STREAM": "9:1234"}
    assert seen(judge(environ, streams=("9:1234",))) == ("systemd", "weak")
    assert judge(environ, streams=("9:99",)).confidence == "none"
    assert judge(environ).confidence == "none"


def test_a_notify_socket_alone_is_weak_and_only_when_it_is_there() -> None:
    """SVC-7: the collector says whether anybody listens."""
    environ = {"NOTIFY_SOCKET": "/run/systemd/notify"}
    assert seen(judge(environ, notify="/run/systemd/notify")) == ("systemd", "weak")
    assert judge(environ).confidence == "none"


@pytest.mark.parametrize(
    "above", [(BASH,), (BASH, BASH, BASH, SUPERVISORD), (Ancestor(5, "vim", ("vim", "x", "y", "z", "supervisord")),)]
)
def test_supervisord_has_to_be_near_above_us(above: tuple[Ancestor, ...]) -> None:
    """SVC-9: within three levels, as a program and not as somebody's argument."""
    assert seen(judge(UNDER_SUPERVISORD, *above)) == ("supervisord", "weak")
    assert seen(judge({"SUPERVISOR_ENABLED": "1"}, SUPERVISORD)) == ("supervisord", "weak")


def test_a_shell_in_a_container_or_in_a_run_of_another_midwatch_is_nobody() -> None:
    """`docker exec`, and a person in `midwatch run -- bash`."""
    assert judge({}, container="/.dockerenv exists").confidence == "none"
    assert judge({"MIDWATCH_RUN": "x/run.bash.1"}, BASH).confidence == "none"


def test_launchctl_print() -> None:
    """SVC-8, recorded: the job's own pid and exit timeout, not those of what is nested; nothing when it waits."""
    running = job_numbers((RECORDED / "launchctl-print-daemon.txt").read_text())
    assert (running["pid"], running["exit timeout"], running["runs"]) == (812, 25, 3)
    waiting = job_numbers((RECORDED / "launchctl-print-waiting.txt").read_text())
    assert "pid" not in waiting
    assert waiting["exit timeout"] == 5
    assert job_numbers((RECORDED / "launchctl-print-unknown.txt").read_text()) == {}
    assert job_numbers("") == {}
    assert job_numbers("}\n}\npid = 3") == {}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"0::/system.slice/web.service\n", "web.service"),
        (b"12:memory:/x\n1:name=systemd:/system.slice/web.service\n0::/\n", "web.service"),
        (b"0::/user.slice/user-0.slice/session-3.scope\n", "session-3.scope"),
        (b"0::/\n", ""),
        (b"", ""),
        (b"nonsense", ""),
        (b"0::/a:b/c.service\n", "c.service"),
    ],
)
def test_the_last_part_of_the_cgroup(data: bytes, expected: str) -> None:
    assert leaf(data) == expected


INHERITED = {
    "SYSTEMD_EXEC_PID": st.integers(1, 99999).filter(lambda pid: pid != PID).map(str),
    "INVOCATION_ID": st.text("0123456789abcdef", max_size=32),
    "NOTIFY_SOCKET": st.sampled_from(["/run/systemd/notify", "@x", ""]),
    "JOURNAL_STREAM": st.sampled_from(["8:1", "8:2", "", "x"]),
    "XPC_SERVICE_NAME": st.sampled_from(["0", "", "com.example.svc", "application.com.x.1"]),
    "LAUNCHD_SOCKET": st.just("/x"),
    "SUPERVISOR_ENABLED": st.just("1"),
    "SUPERVISOR_PROCESS_NAME": st.text(max_size=5),
    "MIDWATCH_RUN": st.just("ab/shop.web.1"),
    OPT_IN: st.sampled_from(["", "0", "no", "off", "nonsense"]),
}


@given(
    st.fixed_dictionaries({}, optional=INHERITED),
    st.builds(
        dict, tty=st.booleans(), darwin=st.booleans(), streams=st.sampled_from([(), ("8:1",)]),
        notify=st.sampled_from(["", "/run/systemd/notify"]), container=st.sampled_from(["", "/.dockerenv exists"]),
        cgroup=st.sampled_from(["", "web.service", "user@1000.service", "session-1.scope"]),
    ),
)  # fmt: skip
def test_nothing_that_a_shell_can_inherit_makes_us_sure(environ: dict[str, str], around: dict[str, Any]) -> None:
    """SVC-5, 0.1 "still wrong a": below a shell, whatever the variables say, nobody is taken for our manager."""
    assert judge(environ, BASH, Ancestor(800, "tmux: server"), Ancestor(1, "systemd"), **around).confidence != "strong"


@given(st.text(max_size=400))
def test_what_launchctl_says_is_never_an_error(text: str) -> None:
    assert all(number >= 0 for number in job_numbers(text).values())


@given(st.binary(max_size=200))
def test_what_a_cgroup_file_says_is_never_an_error(data: bytes) -> None:
    assert "/" not in leaf(data)
