"""What each exit code of midwatch means, for the reference. Verbs say which of them they use in their help.

Must not compute one. Tests: tests/test_docs.py.
"""

from __future__ import annotations

EXIT_CODES: tuple[tuple[int, str, str], ...] = (
    (0, "done, or calm", "go on"),
    (1, "a finding or a failure: something did not work, or not in time", "read the line on stderr"),
    (2, "wrong usage or an unknown name; nothing was done", "correct the command line"),
    (3, "gave up, or held: trying again cannot help", "`midwatch why`, then `midwatch reset`"),
    (4, "already running: somebody else holds this instance", "`midwatch ps`, or `midwatch down --all`"),
    (75, "a planned restart, or the keeper or the lock was lost", "start it again"),
    (
        78,
        "wrong configuration, a conflict, an unwritable state folder, or `up -d` under another manager",
        "correct it; retrying cannot help",
    ),
    (124, "`exec` ended a command at one of its bounds, and it left with 0", "`state` of `exec --json`"),
    (126, "`exec` could not start the command", "read the line"),
    (127, "`exec` did not find the command", "read the line"),
    (130, "interrupted by Ctrl-C (only commands that follow or wait)", "nothing"),
    (141, "whoever read the output went away (`midwatch logs web | head`)", "nothing"),
)
