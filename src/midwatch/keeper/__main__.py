"""Entry: `python -I -S -OO .../keeper/__main__.py CONFIG`, CONFIG being JSON or the path of a JSON file.

{"engine": [argv], "env": {...}?, "subreaper": true?}. The subreaper attribute survives execve, so ctypes is paid
for (0.6 MB) in a first image of this process only, unless the launcher has set it already.
"""

import os
import sys

# A bare package object: midwatch/__init__.py, whatever it will import, is not for the keeper.
sys.modules["midwatch"] = package = type(sys)("midwatch")
package.__path__ = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]


def start() -> int:
    """Read the configuration, become the subreaper where asked, run."""
    import json

    text = sys.argv[1]
    if not text.startswith("{"):
        with open(text, encoding="utf-8") as f:
            text = f.read()
    config = json.loads(text)
    if config.get("subreaper") and sys.platform == "linux" and sys.argv[2:] != ["again"]:
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
        os.execv(sys.executable, [*sys.orig_argv, "again"])
    from midwatch.keeper.main import main

    return main(config)


if __name__ == "__main__":
    sys.exit(start())
