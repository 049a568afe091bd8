"""DOC-16: folders under a cloud drive, and what Spotlight reads."""

from __future__ import annotations

from tests.inspect.doctor.machines import Machine, ctx

from midwatch.inspect.doctor import sync
from midwatch.inspect.doctor.run import run


def test_a_checkout_in_a_cloud_drive_warns(mac: Machine) -> None:
    """iCloud with .venv in it: the noisy folders are named, and the marker that does nothing is not proposed."""
    path = "/Users/me/Library/Mobile Documents/com~apple~CloudDocs/repo"
    mac.sizes = {f"{path}/.venv/x": 1, f"{path}/src/y": 1}
    (found,) = run(ctx(mac, paths=(path,)), [sync.CHECK])
    assert found.status == "warn"
    assert "synchronised by iCloud Drive, and with it .venv" in found.message
    assert "metadata_never_index" not in found.hint


def test_spotlight_is_a_note_on_a_mac_only(mac: Machine, machine: Machine) -> None:
    """node_modules in an ordinary folder: said on a Mac with .noindex, nothing on Linux."""
    for one in (mac, machine):
        one.sizes = {"/src/repo/node_modules/x": 1}
    assert "noindex" in run(ctx(mac, paths=("/src/repo",)), [sync.CHECK])[0].hint
    assert [one.message for one in run(ctx(machine, paths=("/src/repo",)), [sync.CHECK])] == [
        "nothing that was looked at lies in a synchronised folder"
    ]


def test_a_name_alone_is_no_drive() -> None:
    """A folder called dropbox-client is none."""
    assert sync.synchronised("/home/me/src/Dropbox/x") == "Dropbox"
    assert sync.synchronised("/home/me/src/Dropbox-client/x") == ""
