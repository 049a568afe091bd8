"""The keys that say what a service is as a process: command, place, variables, limits. Must not read a file."""

from __future__ import annotations

from midwatch.config import compound as c
from midwatch.config import kinds as k
from midwatch.config.key import REQUIRED, Key, Unset

PROCESS: tuple[Key, ...] = (
    Key("command", c.ARGV, REQUIRED, "what to run, without a shell; run in `cwd`", '["python", "server.py"]'),
    Key("cwd", k.PATH, Unset("the file's folder"), "where it runs, relative to the file", '"app"'),
    Key(
        "env",
        c.ENV,
        Unset("nothing"),
        "variables to set; false removes one",
        '{ PORT = "8080", DEBUG = false }',
    ),
    Key(
        "env_files",
        c.TEXTS,
        Unset("none"),
        "files of NAME=VALUE lines, relative to the file, read literally",
        '[".env"]',
    ),
    Key(
        "env_pass",
        c.TEXTS,
        Unset("none"),
        "further variables of the caller to pass on (a * at the end: all that begin so)",
        '["AWS_*"]',
    ),
    Key(
        "pass_manager",
        c.TEXTS,
        Unset("none"),
        "variables of the manager that runs midwatch which it may see",
        '["INVOCATION_ID"]',
    ),
    Key("user", k.USER, Unset("the caller"), "who it runs as (needs root)", '"www-data"'),
    Key("umask", k.UMASK, Unset("the daemon's"), "permissions that new files do not get", '"027"'),
    Key(
        "rlimits",
        c.RLIMITS,
        Unset("the daemon's"),
        'limits: a number, a size, "unlimited" or [soft, hard]',
        "{ nofile = 4096 }",
    ),
    Key(
        "nice",
        k.whole(-20, 19),
        Unset("the daemon's"),
        "scheduling priority, higher is kinder to others",
        "10",
    ),
    Key(
        "oom_score_adj",
        k.whole(-1000, 1000),
        Unset("the daemon's"),
        "how early the kernel picks it when memory runs out",
        "500",
    ),
    Key(
        "contain",
        k.choice("auto", "cgroup", "none"),
        "auto",
        "a cgroup for each run: if possible, required, or never",
        '"cgroup"',
    ),
    Key("pty", k.FLAG, False, "give it a terminal of its own", "true"),
    Key("trace", k.FLAG, False, "let py-spy read its stacks when it hangs, also where Yama would forbid it", "true"),
    Key("port", k.PORT, Unset("none"), "the port it serves; a change restarts it", "8787"),
)
