"""Another version takes over without a service noticing: the keeper re-executes itself in place, a new engine follows.

The new programs have to prove first that they start here: a broken installation must not cost the daemon. The keeper
keeps its pid, its children, its pipes and their statuses. Must not decide when.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from midwatch import __version__
from midwatch.engine.helper import Helper
from midwatch.policy import defaults
from midwatch.record.files import replace

if TYPE_CHECKING:
    from midwatch.engine.core import Engine


async def upgrade(engine: Engine, keeper: list[str], program: list[str], env: dict[str, str], by: str) -> str:
    """Replace both. Returns why not, in words; "" when the keeper is about to do it."""
    version, problem = await _proven([*program, "--check"], env)
    if not problem:
        _, problem = await _proven([*keeper, "--check"], env)
    if problem:
        return problem
    path = engine.layout.home / "keeper.json"
    try:
        old = path.read_bytes()
        plan = msgspec.json.decode(old, type=dict[str, Any])
        plan |= {"engine": [*program, *plan["engine"][-3:]], "env": env}
        replace(path, msgspec.json.encode(plan))
    except (OSError, msgspec.DecodeError, KeyError) as error:
        return f"cannot write {path}: {error}"
    engine.write("daemon.upgrading", fields={"version": __version__, "to": version, "by": by})
    engine.journal.flush()
    answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    engine.link.ask(answered.set_result, op="reexec", argv=[*keeper, str(path)])
    # No answer is the good one: the link breaks and this engine ends.
    answer = await answered
    replace(path, old)
    return f"the keeper cannot execute {keeper[0]}: {answer.get('error', 'no reason given')}"


async def _proven(argv: list[str], env: dict[str, str]) -> tuple[str, str]:
    """What the candidate says of itself, and why it cannot run."""
    done: asyncio.Future[tuple[int | None, bytes]] = asyncio.get_running_loop().create_future()

    def finished(code: int | None, output: bytes) -> None:
        if not done.done():
            done.set_result((code, output))

    try:
        Helper(argv, defaults.UPGRADE_CHECK, finished, env=env)
    except OSError as error:
        return "", f"cannot run {argv[0]}: {error.strerror}"
    code, output = await done
    words = output.decode("utf-8", "replace").strip()
    if code != 0:
        last = words.rpartition("\n")[2][:200]
        return "", f"the new version does not start here ({' '.join(argv[-2:])}: exit {code}): {last}"
    return words, ""
