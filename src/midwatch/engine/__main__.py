"""The engine's entry: started by the keeper, never by a person.

`engine/__main__.py HOME RUNTIME MODE` with MIDWATCH_KEEPER_FD and the import path in the environment: the interpreter
runs without site (0.3 MB, and no .pth file of somebody else in the process that must not fail).
"""

import os
import sys

sys.path[:] = os.environ.pop("MIDWATCH_PATH").split(os.pathsep)
from midwatch.engine.later import put_off  # noqa: E402

put_off()
# asyncio imports ssl when it can: 6 MB for nothing (TLS probes run in a helper). None makes that import fail cleanly.
sys.modules["ssl"] = None  # type: ignore[assignment]
# msgspec looks for it and does without: 0.4 MB.
sys.modules["typing_extensions"] = None  # type: ignore[assignment]

from midwatch.engine.boot import main  # noqa: E402

if sys.argv[1:] == ["--check"]:  # an upgrade asks whether this version can run here
    from midwatch import __version__

    os.write(1, __version__.encode())
else:
    main(sys.argv[1:])
