"""Entry: `python -I -S .../keeper/__main__.py PLAN [TABLE]`; the plan is a JSON file {"engine": [argv], "env": {...}},
TABLE a descriptor that a keeper which re-executes itself leaves. Without a plan: can this program be loaded at all?
The launcher has made this process a subreaper: that survives exec, so the keeper itself needs no ctypes (0.6 MB).
"""

import os
import sys

sys.path.append(os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..")))

if __name__ == "__main__":
    from midwatch.keeper.main import main

    if sys.argv[1:] == ["--check"]:  # an upgrade asks whether this version can run here
        sys.exit(0)

    sys.exit(main(*sys.argv[1:]) if sys.argv[1:] else 0)
