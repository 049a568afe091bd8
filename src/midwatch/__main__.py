"""`python -m midwatch`: the same as the console script. Decides nothing; see front/cli/main.py."""

import sys

from midwatch.front.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
