"""What this machine's own names and secrets are: who works here, what it is called, which values its environments hold.

The values are used to find them in a text and for nothing else; they are never written. Values of variables that name a
secret count whatever they look like, others when they could tell something. Must not change a text. Tests:
tests/inspect/report/test_known.py.
"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus

import msgspec

from midwatch.inspect.sources import Sources
from midwatch.record.secret_names import secret_name

_SECRET_LEAST, _VALUE_LEAST = 5, 8
_MOST = 4096  # characters of one value
# Names that half of all machines share say nothing about a person.
_COMMON = frozenset({
    "root", "nobody", "daemon", "admin", "administrator", "user", "users", "guest", "ubuntu", "debian", "ec2-user",
    "runner", "vagrant", "docker", "test", "tester", "build", "builder", "ci", "dev", "node", "www-data", "app",
    "service", "postgres", "localhost", "localhost.localdomain", "localdomain", "ip6-localhost", "ip6-loopback",
    "ip6-allnodes", "ip6-allrouters", "ip6-localnet", "ip6-mcastprefix", "broadcasthost", "midwatch", "host", "person",
    "email", "container", "system", "shared", "linux", "python", "default", "home", "none", "unknown",
})  # fmt: skip
_FIRST_UID = {"linux": 1000, "darwin": 500}  # below it accounts are the system's
_LAST_UID = 65_000
_PLAIN = re.compile(r"\A(?:[a-z]+|[A-Z]+|[A-Z][a-z]+|[\d.,:-]+|true|false)\Z")


class Known(msgspec.Struct, frozen=True):
    """What is looked for in everything that is shared."""

    secrets: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()


def of_machine(
    sources: Sources, environments: Iterable[Mapping[str, str]] = (), containers: Iterable[str] = ()
) -> Known:
    """Of the machine that is looked at, and these environments."""
    users, people, homes = _accounts(sources)
    secrets = [form for env in environments for value in of_environment(env) for form in forms(value)]
    return Known(
        secrets=tuple(dict.fromkeys(secrets)),
        homes=tuple(dict.fromkeys([sources.home, os.path.realpath(sources.home), *_elsewhere(sources), *homes])),
        users=tuple(users),
        people=tuple(people),
        hosts=tuple(_hosts(sources)),
        containers=tuple(dict.fromkeys(name for name in containers if len(name) > 1)),
    )


def of_environment(env: Mapping[str, str]) -> Iterator[str]:
    """Values that must not be seen."""
    for name, value in env.items():
        text = value.strip()[:_MOST]
        if secret_name(name):
            if len(text) >= _SECRET_LEAST and not text.startswith("/"):
                yield text
        elif len(text) >= _VALUE_LEAST and not _PLAIN.match(text) and not _harmless(name, text):
            yield text


def forms(value: str) -> list[str]:
    """A value as it is and in the dresses that programs put on it: base64, hex, of a URL, of JSON."""
    raw = value.encode()
    found = [
        value,
        quote(value, safe=""),
        quote_plus(value),
        quote(value),
        json.dumps(value)[1:-1],
        raw.hex(),
    ]
    for shift in range(3):  # it may stand anywhere in what was encoded
        coded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        inner = coded[(0, 2, 3)[shift] : len(coded) - (1 if (shift + len(raw)) % 3 else 0)]
        found += [inner, inner.replace("+", "-").replace("/", "_")]
    return [one for one in dict.fromkeys(found) if len(one) >= _SECRET_LEAST]


def _harmless(name: str, text: str) -> bool:
    """Where programs are and how the terminal speaks: needed to understand anything, and the homes in it go anyway."""
    places = name.endswith(
        ("PATH", "DIR", "DIRS", "HOME", "SHELL", "PWD", "TERM", "LANG", "EDITOR", "PAGER", "FD")
    )
    return places or name.startswith(("LC_", "LESS", "LS_COLORS", "MIDWATCH_", "PYTHON", "PYTEST_", "XDG_", "_")) or (
        os.path.isabs(text) and ":" not in text
    )  # fmt: skip


def _accounts(sources: Sources) -> tuple[list[str], list[str], list[str]]:
    """Accounts of people: names, full names, homes."""
    users: list[str] = []
    people: list[str] = []
    homes: list[str] = []
    names = (
        [os.environ.get(one, "") for one in ("USER", "LOGNAME", "SUDO_USER")] if not sources.recorded else []
    )
    for uid, name, full, home in _passwd(sources):
        own = uid == sources.uid or name in names
        if not own and not (_FIRST_UID[sources.platform] <= uid < _LAST_UID):
            continue
        users.append(name)
        words = full.split(",")[0].strip()
        people += [words, *(word for word in words.split() if len(word) > 3)]
        if home.count("/") >= 2 or own:
            homes.append(home)
    users += [os.path.basename(sources.home.rstrip("/")), *names]
    return (
        _personal(users),
        _personal([one for one in people if len(one) >= 3]),
        [h for h in homes if h != "/"],
    )


def _elsewhere(sources: Sources) -> list[str]:
    """The caller's HOME, which need not be the account's; a bare "/" or "/tmp" would take too much."""
    home = "" if sources.recorded else os.environ.get("HOME", "").rstrip("/")
    return [home] if home.startswith("/") and home not in ("/tmp", "/var", "/usr", "/etc") else []


def _passwd(sources: Sources) -> Iterator[tuple[int, str, str, str]]:
    if not sources.recorded:
        import pwd

        try:  # with names from directories, which are in no file
            entry = pwd.getpwuid(sources.uid)
            yield entry.pw_uid, entry.pw_name, entry.pw_gecos, entry.pw_dir
        except KeyError:
            pass
    try:
        lines = sources.read("/etc/passwd").decode("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        cells = line.split(":")
        if len(cells) >= 7 and cells[2].isdigit():
            yield int(cells[2]), cells[0], cells[4], cells[5]


def _hosts(sources: Sources) -> list[str]:
    """Its own names and those it knows of others."""
    names = []
    if not sources.recorded:
        names += [socket.gethostname(), os.uname().nodename, os.environ.get("HOSTNAME", "")]
    for path in ("/etc/hostname", "/etc/hosts", f"{sources.home}/.ssh/config"):
        try:
            text = sources.read(path, 65536).decode("utf-8", "replace")
        except OSError:
            continue
        for line in text.splitlines():
            words = line.partition("#")[0].split()
            if path == "/etc/hosts":
                names += words[1:]
            elif not path.endswith("config") or (words and words[0].lower() in ("host", "hostname")):
                names += words if path == "/etc/hostname" else words[1:]
    short = [name.partition(".")[0] for name in names]
    return _personal(name for name in [*names, *short] if not re.fullmatch(r"[\d.:*?!]+", name))


def _personal(names: Iterable[str]) -> list[str]:
    found = dict.fromkeys(name.strip() for name in names)
    return [name for name in found if len(name) >= 2 and name.lower() not in _COMMON and not name.startswith("_")
            and not set(name) & set("*?")]  # fmt: skip
