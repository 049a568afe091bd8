"""`midwatch leaks`: what is shown of a report, and which exit code it has."""

from __future__ import annotations

from typing import Any

from midwatch.front.cli.leaks import found, screen

SILENT: dict[str, Any] = {
    "kind": "memory, slow", "unit": "bytes", "bucket_s": 1200.0, "floors": 30, "limit": 1 << 30,
    "detectable_per_hour": 2 << 20, "silence": {"words": "the floor moved by 1 MiB, less than 16 MiB"},
}  # fmt: skip
GROWS: dict[str, Any] = {
    "kind": "sqlite-wal", "unit": "descriptors", "bucket_s": 600.0, "floors": 26, "limit": 1024.0,
    "detectable_per_hour": 0.1,
    "finding": {"level": "warn", "words": "sqlite-wal grows by 2 descriptors an hour", "reasons": ["in both halves"]},
}  # fmt: skip


def a_report(*kinds: dict[str, Any], **more: Any) -> dict[str, Any]:
    base = {
        "service": "p/web", "run_id": "p.web.1", "pid": 7, "watched": True, "kinds": list(kinds), "signs": [],
        "memory": {"held_bytes": 100 << 20, "hard_bytes": 1 << 30}, "shape": None,
        "fds": {"total": 40, "soft": 1024, "uptime_s": 3600, "top": [["/srv/state.db", "sqlite-main", 12]]},
    }  # fmt: skip
    return base | more


def test_a_growth_comes_with_its_reasons() -> None:
    """What grows, how fast, and every condition that it met; exit code 1."""
    report = a_report(GROWS, SILENT)
    text = "\n".join(screen(report, 100))
    assert "sqlite-wal grows by 2 descriptors an hour" in text
    assert "in both halves" in text
    assert text.index("grows") < text.index("silent")
    assert found(report)


def test_silence_is_explained() -> None:
    """The first condition that failed, and the slowest growth that could be told here."""
    report = a_report(SILENT)
    text = "\n".join(screen(report, 200))
    assert "the floor moved by 1 MiB, less than 16 MiB" in text
    assert "slower than 2.0M an hour cannot be told here" in text
    assert "12 x /srv/state.db" in text
    assert not found(report)


def test_a_note_is_no_alarm() -> None:
    """Only warnings and worse make the exit code 1."""
    sign = {"rule": "S4", "level": "note", "subject": "/dev/null", "words": "/dev/null is open 20 times"}
    assert not found(a_report(signs=[sign]))
    assert found(a_report(signs=[sign | {"level": "warn"}]))


def test_what_does_not_run_is_not_measured() -> None:
    """Absent is said, never 0."""
    (line,) = screen(a_report(watched=False, memory={}, fds=None), 100)
    assert "does not run" in line


def test_a_foreign_process_is_one_look() -> None:
    """Its command is shown, without control characters; growth cannot be told."""
    text = "\n".join(screen(a_report(service=None, command="evil\x1b[2J"), 100))
    assert "\x1b" not in text
    assert "one look cannot tell growth" in text


def test_counts_and_looks_have_an_age() -> None:
    """A count of fifteen seconds ago and a look of five minutes ago are not now."""
    top = [["/a.db", "sqlite-main", 12]]
    fds = {"total": 40, "soft": 1024, "uptime_s": 3600, "top": top, "counted_s": 12.0, "looked_s": 290.0}
    text = "\n".join(screen(a_report(fds=fds), 200))
    assert "40 of 1024 descriptors open, counted 12s ago, up 1h" in text
    assert "12 x /a.db (sqlite-main), when they were looked through 4m50s ago" in text
