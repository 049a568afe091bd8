"""Standard modules that the engine puts off: absent while all is well, the real thing as soon as they are needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from midwatch.engine import later

SRC = os.path.dirname(os.path.dirname(os.path.dirname(later.__file__)))
SHOW = "import json, sys; from midwatch.engine.later import Later, put_off; put_off(); {}; print(json.dumps({}))"


def lean(code: str, shown: str) -> Any:
    """The value of `shown` after `code`, in an interpreter as lean as the engine's."""
    argv = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {SRC!r}); " + SHOW.format(code, shown)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_asyncio_comes_without_them() -> None:
    """On the Pythons where asyncio only names them; newer ones may load what they use at once."""
    loaded = lean("import asyncio, subprocess, urllib.parse", "[n for n in ('ast', 'dis') if n in sys.modules]")
    if sys.version_info < (3, 12):
        assert loaded == []


def test_the_first_use_gets_the_real_module() -> None:
    """Attributes, `from` imports and later imports are those of the real module."""
    assert lean("import inspect", "[inspect.isclass(int), type(sys.modules['inspect']).__name__]") == [True, "module"]
    assert lean("from ipaddress import ip_address", "str(ip_address('::1'))") == "::1"
    assert lean("import tokenize", "hasattr(tokenize, 'nonsense')") is False


def test_a_traceback_still_shows_its_lines() -> None:
    """Whatever goes wrong in the engine is written with source lines: linecache loads tokenize by itself."""
    code = "import traceback, os; text = ''.join(traceback.format_list(traceback.extract_stack(limit=1)))"
    assert "<string>" in lean(code, "text")
    opened = "import linecache, os; line = linecache.getline(os.__file__, 1)"
    assert lean(opened, "line").startswith("r")


def test_what_is_loaded_already_stays() -> None:
    """It only puts off what nobody has asked for yet."""
    import inspect

    later.put_off()
    assert sys.modules["inspect"] is inspect
