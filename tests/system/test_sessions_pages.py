"""The pages about sessions and the agent's loop, and the example, as a reader runs them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _run(argv: list[str], folder: Path, home: Path) -> str:
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "MIDWATCH_HOME": str(home)}
    done = subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, timeout=55, check=False)
    assert done.returncode == 0, f"{argv[:4]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("page", ["sessions.md", "agent-loop.md"])
def test_the_pages_run(page: str, tmp_path: Path, home: Path) -> None:
    """All Python of a page as one program, then its commands, each of them."""
    blocks = BLOCK.findall((ROOT / "docs" / page).read_text())
    program = "\n".join(text for kind, text in blocks if kind == "python")
    out = _run([sys.executable, "-W", "error", "-c", program], tmp_path, home)
    assert out
    for line in "".join(text for kind, text in blocks if kind == "sh").splitlines():
        verb, *words = shlex.split(line)
        assert verb == "midwatch"
        _run([sys.executable, "-m", "midwatch", *words], tmp_path, home)
    if page == "agent-loop.md":
        assert out.splitlines()[-1].startswith("[")


@pytest.mark.slow
def test_the_agents_loop_stays_flat(tmp_path: Path, home: Path) -> None:
    """examples/agent_loop.py: 220 calls, a flood among them (10,000 on the page): memory stays flat, and every
    call is in the session."""
    from midwatch import sessions

    example = ROOT / "examples" / "agent_loop.py"
    out = _run([sys.executable, str(example), "--calls", "220", "--keep", "agent.db"], tmp_path, home)
    assert "220 tool calls" in out
    with sessions.open(tmp_path / "agent.db", readonly=True) as store:
        talk = store.session("agent")
        assert talk.info().items == 2 + 3 * 220
        flood = next(item for item in talk.items(after=2 + 3 * 199) if item.kind == "tool_result")
        assert flood.more
        assert flood.more["state"] == "output_limit"
        assert store.read(flood.ref, 0, 10).text == "flood\nfloo"
