"""Who listens on a TCP port: /proc/net/tcp and the descriptors that point to its sockets, or lsof.

Must not judge. Tests: tests/inspect/doctor/test_units.py.
"""

from __future__ import annotations

from midwatch.inspect.doctor.check import Context, Missing
from midwatch.inspect.doctor.parts import descriptors

_LISTEN = "0A"


def of(ctx: Context, port: int) -> list[int]:
    """Their pids; a listener whose process may not be seen is not in the list."""
    if not ctx.linux:
        try:
            ran = ctx.sources.run(("lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-a", "-Fp"))
        except OSError:
            raise Missing("lsof is not here", "install lsof") from None
        return [int(line[1:]) for line in ran.out.splitlines() if line[:1] == "p" and line[1:].isdigit()]
    inodes = ctx.once("listening", lambda: _listening(ctx)).get(port, set())
    if not inodes:
        return []
    names = {f"socket:[{inode}]" for inode in inodes}
    opened = descriptors.scan(ctx).open
    return sorted(pid for pid, files in opened.items() if names & set(files.values()))


def _listening(ctx: Context) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = ctx.text(path).splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            words = row.split()
            if len(words) > 9 and words[3] == _LISTEN:
                try:
                    port = int(words[1].rpartition(":")[2], 16)
                except ValueError:
                    continue
                found.setdefault(port, set()).add(words[9])
    return found
