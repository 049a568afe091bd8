"""The engine's entry: started by the keeper, never by a person.

`python -m midwatch.engine HOME RUNTIME MODE` with MIDWATCH_KEEPER_FD in the environment.
"""

import sys

# asyncio imports ssl when it can: 6 MB for nothing (TLS probes run in a helper). None makes that import fail cleanly.
sys.modules["ssl"] = None  # type: ignore[assignment]

from midwatch.engine.boot import main  # noqa: E402

if __name__ == "__main__":
    main(sys.argv[1:])
