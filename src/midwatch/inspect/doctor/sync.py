"""DOC-16: working folders inside a synchronised one, and noisy folders that are indexed or synchronised with them.

A checkout with .venv and node_modules under iCloud, Dropbox or OneDrive is uploaded file by file, and lock files and
databases there break. The marker .metadata_never_index is not proposed: it does nothing inside ordinary folders.
Tests: tests/inspect/doctor/test_sync.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from midwatch.inspect.doctor.check import Check, Context
from midwatch.model.look import Checked, Offender

_SERVICES = (
    ("/Library/Mobile Documents/", "iCloud Drive"),
    ("/Library/CloudStorage/", "a cloud drive"),
    ("/iCloud Drive/", "iCloud Drive"),
    ("/Dropbox/", "Dropbox"),
    ("/OneDrive/", "OneDrive"),
    ("/OneDrive - ", "OneDrive"),
    ("/Google Drive/", "Google Drive"),
    ("/Nextcloud/", "Nextcloud"),
)
_NOISY = (
    ".venv",
    "venv",
    "node_modules",
    "site",
    "dist",
    "build",
    ".next",
    "target",
    ".mypy_cache",
    ".pytest_cache",
)


def _run(ctx: Context) -> Iterable[Checked]:
    home = ctx.sources.home
    state = [f"{home}/.local/state/midwatch", f"{home}/Library/Application Support/midwatch"]
    found = False
    for path in dict.fromkeys([*ctx.paths, *state]):
        if by := synchronised(path):
            found = True
            noisy = _noisy(ctx, path)
            with_them = f", and with it {', '.join(noisy)}" if noisy else ""
            yield CHECK.say(
                "warn", f"{path} is synchronised by {by}{with_them}: databases and lock files break there",
                offenders=[Offender("file", path)], evidence={"path": path, "by": by, "noisy": noisy},
                hint=f"move it out, e.g. mv '{path}' ~/src/",
            )  # fmt: skip
        elif not ctx.linux and (noisy := _noisy(ctx, path)):
            yield CHECK.say(
                "pass", f"{path}: Spotlight indexes {', '.join(noisy)}",
                offenders=[Offender("file", f"{path}/{name}") for name in noisy],
                hint=f"name it {noisy[0]}.noindex with a link, or add the folder to Spotlight's privacy list",
            )  # fmt: skip
    if not found:
        yield CHECK.say("pass", "nothing that was looked at lies in a synchronised folder")


def synchronised(path: str) -> str:
    """Who synchronises it; "" when no known service does."""
    padded = path.rstrip("/") + "/"
    return next((name for part, name in _SERVICES if part in padded), "")


def _noisy(ctx: Context, path: str) -> list[str]:
    try:
        names = set(ctx.sources.names(path))
    except OSError:
        return []
    return [name for name in _NOISY if name in names]


CHECK = Check(
    id="DOC-16",
    category="watchers",
    title="synchronised folders",
    about=(
        "A working folder or our state inside iCloud Drive, Dropbox, OneDrive, Google Drive or Nextcloud "
        "warns. On a Mac, folders full of small files that Spotlight indexes are named."
    ),
    run=_run,
)
