"""Entry: `python -I -S -OO .../keeper/__main__.py CONFIG`: JSON, or the path of it:
{"engine": [argv], "env": {...}?, "subreaper": true?}. The subreaper attribute survives execve: the launcher sets it, or
ctypes (0.6 MB) is paid for in a first image of this process only.
"""

import os
import sys

# A bare package object: midwatch/__init__.py, whatever it will import, is not for the keeper.
sys.modules["midwatch"] = package = type(sys)("midwatch")
package.__path__ = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]

if __name__ == "__main__":
    from midwatch.keeper.main import load, main

    config = load(sys.argv[1])
    if config.get("subreaper") and sys.platform == "linux" and sys.argv[2:] != ["again"]:
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
        os.execv(sys.executable, [*sys.orig_argv, "again"])
    sys.exit(main(config))
