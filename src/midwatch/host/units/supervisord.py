"""A supervisord section (UNI-4). supervisord counts a start as good after `startsecs` and knows expected codes.

Must not read a configuration. Tests: tests/host/units/test_supervisord.py, tests/real/test_supervisord.py.
"""

from __future__ import annotations

import math
from configparser import ConfigParser
from configparser import Error as ParserError

from midwatch.host.units import figures
from midwatch.host.units.common import Facts, UnitError, single_line, stamped


def make(facts: Facts) -> str:
    """The [program:x] section, stamped."""
    lines = [
        f"; Made by: {single_line('the command', facts.again)}",
        "; Do not also start it by hand: this section is the one who does.",
        *(f"; Not done here: {one}" for one in facts.skipped),
        f"[program:{facts.unit}]",
        f"command={_escaped(' '.join(_quoted(word) for word in facts.command))}",
        f"directory={_escaped(single_line('the folder', facts.folder))}",
        *([f"user={facts.account}"] if facts.account else []),
        f"environment={_environment(facts)}",
        "autostart=true",
        "autorestart=unexpected",
        f"exitcodes={_expected(facts)}",
        f"startsecs={max(figures.SUPERVISORD_START, math.ceil(facts.start) if facts.shape == 'direct' else 0)}",
        f"startretries={figures.SUPERVISORD_TRIES}",
        f"stopsignal={facts.signal.removeprefix('SIG') if facts.shape in ('exec', 'direct') else 'TERM'}",
        "stopasgroup=true",  # a shell in between cannot keep the signal; services of ours are in groups of their own
        "killasgroup=true",
        f"stopwaitsecs={facts.stop_timeout}",
        "redirect_stderr=true",
    ]
    if facts.umask is not None and facts.shape == "direct":
        lines.append(f"umask={facts.umask:03o}")
    return stamped("\n".join(lines) + "\n", facts, "; ")


def _expected(facts: Facts) -> str:
    """The exit codes after which it stays down. 3 is ours: gave up or held."""
    return {"run": "0,2,3,78", "daemon": "0,2,78"}.get(facts.shape, "0,78")


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """One word as shlex reads it back. A " ;" begins a comment even inside quotes: there is no way to write it."""
    from shlex import quote

    if " ;" in single_line("the word", word):
        raise UnitError(f"the word {word!r} holds ' ;', which supervisord takes for a comment; put it into a script")
    return quote(word)


def _environment(facts: Facts) -> str:
    own = facts.env if facts.shape == "direct" else {}
    home = {} if facts.home is None else {"MIDWATCH_HOME": facts.home}
    pairs = {"HOME": facts.account_home, "PATH": facts.path, **home, **own}
    for name, value in pairs.items():
        if '"' in single_line(name, value) or " ;" in value:
            raise UnitError(f"the value of {name} holds a double quote or ' ;', which supervisord cannot carry")
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(pairs.items()))


def install_commands(facts: Facts, path: str | None = None) -> list[str]:  # noqa: ARG001  as of the other formats
    """What a person types."""
    return [
        f"{facts.again} -o /etc/supervisor/conf.d/{facts.unit}.conf", "supervisorctl reread",
        f"supervisorctl update {facts.unit}", f"supervisorctl status {facts.unit}",
    ]  # fmt: skip


def findings(text: str, stop: float | None = None) -> list[str]:
    """What is wrong with the sections of a file, ours or anybody's."""
    parser = ConfigParser(interpolation=None, inline_comment_prefixes=(";",), strict=False)
    try:
        parser.read_string(text)
    except ParserError as error:
        return [f"it cannot be read: {str(error).splitlines()[0]}"]
    names = [name for name in parser.sections() if name.startswith("program:")]
    if not names:
        return ["it has no [program:NAME] section"]
    return [f"{name}: {words}" for name in names for words in _program(dict(parser[name]), stop)]


def _program(keys: dict[str, str], stop: float | None) -> list[str]:
    found = []
    restart = keys.get("autorestart", "unexpected")
    codes = {code.strip() for code in keys.get("exitcodes", "0").split(",")}
    if restart == "true":
        found.append("autorestart=true starts it again after it ended as asked, and after a wrong configuration")
    elif restart == "unexpected" and "78" not in codes:
        found.append("exit code 78 (a wrong configuration) is retried: add it to exitcodes")
    patience = keys.get("stopwaitsecs", "10")
    if stop is not None and patience.isdigit() and int(patience) <= stop:
        found.append(f"stopwaitsecs is {patience}, our own stop may take {stop:g} s: supervisord would kill first")
    if keys.get("stopasgroup", "false") != "true" and "sh -c" in keys.get("command", ""):
        found.append("a shell in between may keep the signal: set stopasgroup=true and killasgroup=true")
    return found
