"""The animals of the zoo: each starts one process that looks like a leftover and is somebody's.

Real processes where Linux can play them as this user. ANIMALS says for each which step of the proof spares it.
"""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests.inspect.zoo import Scoped, Zoo, until

from midwatch.inspect.ours import Instance, Ours

BOSS = "import subprocess, sys, time\nchild = {}\ntime.sleep(600)\n"
PIPES = ("pipe", "pipe", "pipe")
CLOSED = ("pty", "pty", "pty")


def background(zoo: Zoo, name: str, script: str, *words: str, **options: Any) -> None:
    """A shell that leaves something behind and ends; its last line is the pid."""
    done = zoo.start(
        ["sh", "-c", script, "sh", *words], stdout=subprocess.PIPE, start_new_session=True, **options
    )
    assert done.stdout is not None
    zoo.pids[name] = int(done.stdout.readline())
    done.wait()


def daemon(zoo: Zoo) -> None:
    """launchd-style: its parent is process 1 by design, its streams are /dev/null (trap 1)."""
    background(zoo, "it", '"$@" </dev/null >/dev/null 2>&1 & echo $!', sys.executable, str(zoo.server))


def nohup(zoo: Zoo) -> None:
    """A service started with nohup from a shell that was closed."""
    log = str(zoo.folder / "nohup.out")
    background(zoo, "it", f'nohup "$@" </dev/null >{log} 2>&1 & echo $!', sys.executable, str(zoo.server))


def cron(zoo: Zoo) -> None:
    """A daemon that a cron job started with setsid."""
    log = str(zoo.folder / "log")
    background(zoo, "it", f'setsid "$@" </dev/null >>{log} 2>&1 & echo $!', sys.executable, str(zoo.server))


def logs_to_a_file(zoo: Zoo) -> None:
    """Its stdin has nobody any more, but what it prints goes into a file that somebody wants."""
    zoo.orphan("it", streams=("pipe", str(zoo.folder / "out"), "pipe"))


def living_client(zoo: Zoo) -> None:
    """An MCP server whose client lives."""
    zoo.held("it")


def living_editor(zoo: Zoo) -> None:
    """A language server with a living editor."""
    zoo.held("it", **zoo.named("gopls", "serve"))


def living_wrapper(zoo: Zoo) -> None:
    """Below a wrapper that lives (npx, uvx)."""
    owner = zoo.held("wrapper", ["sh", "-c", f"{sys.executable} {zoo.server} & echo $!; wait"])
    assert owner.stdout is not None
    until(lambda: child_of(zoo, zoo.pids["wrapper"]), "the server below the wrapper runs")
    zoo.pids["it"] = child_of(zoo, zoo.pids["wrapper"])


def child_of(zoo: Zoo, parent: int) -> int:
    return next((one.pid for one in Scoped(zoo.mark).table().procs.values() if one.ppid == parent), 0)


def below_a_subreaper(zoo: Zoo) -> None:
    """A child of a supervisor that is a subreaper, and not of process 1."""
    code = "import ctypes, subprocess, sys, time; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0);"
    code += (
        "c = subprocess.Popen(sys.argv[1:], stdin=-1, stdout=-1); print(c.pid, flush=True); time.sleep(600)"
    )
    words = (sys.executable, "-c", code, sys.executable, str(zoo.server))
    background(zoo, "it", '"$@" </dev/null & wait_for=$!', *words)


def below_a_closed_pipe_of_a_living_parent(zoo: Zoo) -> None:
    """Its parent has closed both pipes and still lives: it may be reading its last words."""
    code = "import subprocess, sys, time; c = subprocess.Popen(sys.argv[1:], stdin=-1, stdout=-1);"
    code += "c.stdin.close(); c.stdout.close(); print(c.pid, flush=True); time.sleep(600)"
    background(zoo, "it", '"$@" </dev/null & :', sys.executable, "-c", code, sys.executable, str(zoo.server))


def tcp_client(zoo: Zoo) -> None:
    """A shared server: whoever started it is gone, somebody is connected to its port."""
    server(zoo, "socket.AF_INET", "('127.0.0.1', 0)", "s.getsockname()[1]")
    port = int(until((zoo.folder / "at").read_text, "it listens"))
    zoo.kept.append(socket.create_connection(("127.0.0.1", port)))


def unix_client(zoo: Zoo) -> None:
    """The same over a Unix socket."""
    path = str(zoo.folder / "s")
    server(zoo, "socket.AF_UNIX", repr(path), "1")
    until((zoo.folder / "at").read_text, "it listens")
    link = socket.socket(socket.AF_UNIX)
    link.connect(path)
    zoo.kept.append(link)


def server(
    zoo: Zoo, family: str, address: str, told: str, then: str = "k = []\nwhile True: k.append(s.accept())"
) -> None:
    zoo.server.write_text(
        f"import signal, socket\nsignal.signal(signal.SIGHUP, lambda *_: None)\ns = socket.socket({family})\n"
        f"s.bind({address}); s.listen()\nopen({str(zoo.folder / 'new')!r}, 'w').write(str({told}))\n"
        f"import os; os.rename({str(zoo.folder / 'new')!r}, {str(zoo.folder / 'at')!r})\n{then}\n"
    )
    zoo.orphan("it")


def passed_connection(zoo: Zoo) -> None:
    """A worker that was handed an accepted connection: another process listens on its port."""
    front = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(front.getsockname())
    accepted, _ = front.accept()
    zoo.kept += [front, client]
    zoo.orphan("it", passed=(accepted.fileno(),), options={"pass_fds": (accepted.fileno(),)})
    accepted.close()


def extra_pipe(zoo: Zoo) -> None:
    """It is driven over descriptors 3 and 4 (Playwright's pipe), and the driver lives."""
    theirs, ours = os.pipe()
    zoo.fds.append(ours)
    zoo.orphan("it", passed=(theirs,), options={"pass_fds": (theirs,)})
    os.close(theirs)


def stderr_is_read(zoo: Zoo) -> None:
    """Its stdin and stdout are broken, but somebody still reads its stderr."""
    ours, theirs = os.pipe()
    zoo.fds.append(ours)
    zoo.orphan("it", streams=("pipe", "pipe", f"/dev/fd/{theirs}"), options={"pass_fds": (theirs,)})
    os.close(theirs)


def shared_stdin(zoo: Zoo) -> None:
    """A second process holds the writing end of its stdin: it can still be spoken to."""
    theirs, ours = os.pipe()
    zoo.fds.append(ours)
    zoo.orphan("it", streams=(f"/dev/fd/{theirs}", "pipe", "pipe"), options={"pass_fds": (theirs,)})
    os.close(theirs)


def own_browser(zoo: Zoo) -> None:
    """The user's browser: a window, his own profile, started from a program that has ended."""
    zoo.orphan(
        "it",
        streams=("null", "pipe", "pipe"),
        **zoo.named("chrome", "--user-data-dir=/home/me/.config/chrome"),
    )


def own_headless(zoo: Zoo) -> None:
    """A headless browser with a profile that somebody keeps."""
    named = zoo.named("chromium", "--headless", "--user-data-dir=/home/me/scraper")
    zoo.orphan("it", streams=("null", "pipe", "pipe"), **named)


def editor(zoo: Zoo) -> None:
    """An editor that an agent's shell started."""
    zoo.orphan("it", env={"CLAUDECODE": "1"}, **zoo.named("nvim", "notes"))


def database(zoo: Zoo) -> None:
    """A database outside a container."""
    zoo.orphan("it", env={"CLAUDECODE": "1"}, **zoo.named("postgres", "-D", "/srv/db"))


def ssh(zoo: Zoo) -> None:
    """A tunnel."""
    zoo.orphan("it", env={"CLAUDECODE": "1"}, **zoo.named("ssh", "-N", "host"))


def screen(zoo: Zoo) -> None:
    """A detached screen."""
    zoo.orphan("it", env={"CLAUDECODE": "1"}, **zoo.named("SCREEN", "-dmS", "x"))


def login_shell(zoo: Zoo) -> None:
    """A login shell."""
    zoo.orphan("it", env={"CLAUDECODE": "1"}, **zoo.named("-bash"))


def stopped(zoo: Zoo) -> None:
    """Somebody paused it."""
    os.kill(zoo.orphan("it"), signal.SIGSTOP)
    until(lambda: Scoped(zoo.mark).table().procs[zoo.pids["it"]].state == "T", "it stands still")


def unknown_worker(zoo: Zoo) -> None:
    """Everything broken, but nobody knows what it is: somebody's computation."""
    zoo.orphan("it", **zoo.named("simulate", "--steps", "1000000"))


def own_program_with_a_server(zoo: Zoo) -> None:
    """A person's own program, started over ssh before the line broke; it talks to an MCP server over pipes."""
    child = "subprocess.Popen(sys.argv[1:], stdin=-1, stdout=-1)"
    zoo.orphan("it", [sys.executable, "-c", BOSS.format(child), sys.executable, str(zoo.server)])
    until(lambda: child_of(zoo, zoo.pids["it"]), "its server runs")


def own_scraper(zoo: Zoo) -> None:
    """A person's own program whose log nobody reads any more; it drives a browser without a window."""
    words = ["chrome", "-c", "sleep 600; :", "--headless", "--user-data-dir=/tmp/x"]
    child = f"subprocess.Popen({words}, executable='/bin/sh')"
    zoo.orphan("it", [sys.executable, "-c", BOSS.format(child)], streams=("null", "pipe", "pipe"))
    until(lambda: child_of(zoo, zoo.pids["it"]), "its browser runs")


def script_that_runs_agents(zoo: Zoo) -> None:
    """A person's script runs one agent after the other; whoever read what it prints is gone."""
    (zoo.bin / "claude").symlink_to("/bin/sh")
    zoo.orphan("it", ["sh", "-c", f"while :; do {zoo.bin}/claude -c 'sleep 600; :'; done"])
    until(lambda: child_of(zoo, zoo.pids["it"]), "its agent runs")


def reader_of_a_named_pipe(zoo: Zoo) -> None:
    """A worker that an agent started takes its orders from a named pipe: anybody may open that."""
    path = zoo.folder / "orders"
    os.mkfifo(path)
    zoo.orphan("it", ["sh", "-c", "sleep 600; :"], env={"CLAUDECODE": "1"}, streams=(str(path), "pipe", "pipe"))


def child_at_an_open_terminal(zoo: Zoo) -> None:
    """A child of it sits at a terminal that is open: a person is there."""
    master, slave = pty.openpty()
    zoo.fds += [master, slave]
    child = f"subprocess.Popen(['sleep', '600'], stdin=open({os.ttyname(slave)!r}))"
    zoo.server.write_text(f"import signal\nsignal.signal(signal.SIGHUP, lambda *_: None)\n{BOSS.format(child)}")
    zoo.orphan("it")
    until(lambda: child_of(zoo, zoo.pids["it"]), "its child runs")


def prompt_with_names(zoo: Zoo) -> None:
    """Trap 18: names of servers stand in its arguments only."""
    zoo.orphan(
        "it", **zoo.named("mytool", "fix", "/x/node_modules/.bin/chrome-devtools-mcp", "mcp-server-git")
    )


def idle_agent_at_its_terminal(zoo: Zoo) -> None:
    """An agent that does nothing and whose terminal is open."""
    zoo.held("it", streams=CLOSED, setsid=True, **zoo.named("claude"))


def orphan_at_an_open_terminal(zoo: Zoo) -> None:
    """Its parent has ended, its terminal has not: ( server & ) typed by a person."""
    master, slave = pty.openpty()
    zoo.fds += [master, slave]
    path = os.ttyname(slave)
    zoo.orphan("it", streams=(path, path, path))


def nohup_agent_task(zoo: Zoo) -> None:
    """An agent's task that was started with nohup: meant to outlive him."""
    zoo.orphan(
        "it",
        ["sh", "-c", "sleep 600; :"],
        nohup=True,
        env={"CLAUDECODE": "1"},
        streams=("null", "pipe", "pipe"),
    )


def task_of_a_living_agent(zoo: Zoo) -> None:
    """An agent's task, and an agent of that kind is older than it and lives."""
    zoo.held("elder", **zoo.named("claude"))
    zoo.settle("elder")
    zoo.orphan("it", ["sh", "-c", "sleep 600; :"], env={"CLAUDECODE": "1"}, streams=("null", "pipe", "pipe"))


def build(zoo: Zoo) -> None:
    """A build in progress below a living make, with an agent's mark."""
    zoo.held("it", ["sh", "-c", "while :; do sleep 1; done"], env={"CLAUDECODE": "1"})


def job_of_an_open_shell(zoo: Zoo) -> None:
    """A background job of a login shell that is still open."""
    zoo.held("it", streams=CLOSED, **zoo.named("codex"))


def marked_by_a_living_instance(zoo: Zoo) -> None:
    """It bears the mark of a run whose supervisor lives."""
    zoo.orphan("it", env={"MIDWATCH_RUN": "abcd1234:p.s.1"})


def marked_by_an_unknown_instance(zoo: Zoo) -> None:
    """It bears the mark of an instance that is not known here."""
    zoo.orphan("it", env={"MIDWATCH_RUN": "ffff0000:p.s.1"})


def run_to_be_adopted(zoo: Zoo) -> None:
    """Keeper and engine were killed: the next start takes this run back."""
    zoo.orphan("it", env={"MIDWATCH_RUN": "dead0000:p.s.1"})


def inner_run_of_a_living_one(zoo: Zoo) -> None:
    """An instance inside a run of another one: the outer supervisor lives."""
    zoo.orphan("it", env={"MIDWATCH_RUN": "abcd1234:p.s.1/dead0000:q.t.9"})


OURS = Ours(
    instances={"abcd1234": Instance("/a", True), "dead0000": Instance("/d", False, frozenset({"p.s.1"}))}
)
ANIMALS: dict[Callable[[Zoo], None], str] = {
    daemon: "meant to run by itself", nohup: "meant to run by itself", cron: "meant to run by itself",
    logs_to_a_file: "meant to run by itself", living_client: "its parent lives", living_editor: "its parent lives",
    living_wrapper: "its parent lives", below_a_subreaper: "its parent lives",
    below_a_closed_pipe_of_a_living_parent: "its parent lives", tcp_client: "a client is connected to its port",
    unix_client: "connected to it over a Unix socket", passed_connection: "a client is connected to its port",
    stderr_is_read: "somebody holds the other end of a pipe", extra_pipe: "somebody holds the other end of a pipe",
    shared_stdin: "can still be spoken to",
    own_browser: "nothing says", own_headless: "nothing says", editor: "an editor", database: "a database",
    ssh: "part of ssh", screen: "a multiplexer", login_shell: "a login shell", stopped: "it is stopped",
    own_program_with_a_server: "nothing says", own_scraper: "nothing says", script_that_runs_agents: "nothing says",
    reader_of_a_named_pipe: "a named pipe", child_at_an_open_terminal: "at an open terminal",
    unknown_worker: "nothing says", prompt_with_names: "nothing says", idle_agent_at_its_terminal: "its parent lives",
    orphan_at_an_open_terminal: "can still be spoken to", nohup_agent_task: "it ignores SIGHUP",
    task_of_a_living_agent: "an agent that was started before it lives", build: "its parent lives",
    job_of_an_open_shell: "its parent lives", marked_by_a_living_instance: "whose supervisor lives",
    marked_by_an_unknown_instance: "not known here", run_to_be_adopted: "takes it back",
    inner_run_of_a_living_one: "whose supervisor lives",
}  # fmt: skip
