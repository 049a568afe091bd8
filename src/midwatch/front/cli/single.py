"""One service of a configuration on its own, without the daemon: for `run -f FILE NAME` and for `unit`.

What a single service cannot have (the others that it needs, a start that waits to be asked) is taken off and
said by the callers. Must not start anything. Tests: tests/front/test_single.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from midwatch.front.cli.declare import Usage
from midwatch.front.cli.main import nearest
from midwatch.policy.defaults import RUN_CRASH_HARD


def one_of(loaded: Any, name: str) -> Any:
    """The spec of that name in a loaded configuration. Raises Usage."""
    word = name.removeprefix(f"{loaded.project}/")
    for spec in loaded.specs:
        if spec.name == word:
            return spec
    names = [spec.name for spec in loaded.specs]
    raise Usage(
        f"{loaded.path} has no service {name!r}{nearest(word, names)}; nothing was done; it has: "
        + ", ".join(names[:8])
        + (" ..." if len(names) > 8 else "")
    )


def alone(spec: Any) -> Any:
    """The same service without the others; it gives up as `run` does, since somebody stands behind it."""
    budgets = spec.rules.budgets
    if budgets.crash_hard is None:
        budgets = msgspec.structs.replace(budgets, crash_hard=RUN_CRASH_HARD)
    rules = msgspec.structs.replace(spec.rules, needs={}, budgets=budgets)
    return msgspec.structs.replace(spec, rules=rules, autostart=True)


def from_file(file: str, words: list[str], others: list[str]) -> Any:
    """What `run -f FILE NAME` supervises. `others`: options that were given besides. Raises Usage, ConfigError."""
    from midwatch.front.cli import applying, project

    if len(words) != 1:
        raise Usage("with -f FILE, run takes the name of one service of it; nothing was started")
    if others:
        raise Usage(f"{others[0]}: with -f FILE that stands in the file; nothing was started")
    path: Path = project.given(file)
    return alone(one_of(applying.load(path, "run"), words[0]))
