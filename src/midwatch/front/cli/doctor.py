"""`midwatch doctor`: looks for what goes wrong or will, each finding with the one thing that cures it.

Builds what the checks may use, runs them side by side, shows them, and with --fix asks for each cure that a check
offers. Must not judge: the checks do. Tests: tests/front/test_doctor.py.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from midwatch.front.cli import doctor_facts, doctor_fix, doctor_screen
from midwatch.front.cli.declare import JSON, Arg, Opt, Usage, Verb
from midwatch.front.cli.jobs import seconds
from midwatch.front.cli.render import coloured, say_json, width
from midwatch.inspect.doctor import registry
from midwatch.inspect.doctor.check import CATEGORIES, Check, Context, watching, worst_first
from midwatch.inspect.doctor.run import run
from midwatch.model.look import Checked


def _run(
    name: str | None,
    category: list[str],
    everything: bool,
    strict: bool,
    fix: bool,
    yes: bool,
    expect_heavy: str | None,
    watch: str | None,
    recorded: str | None,
    json: bool,
) -> int:
    window = watching(seconds(watch, "--watch", -1.0))
    _refuse(name, category, fix, yes, recorded, json)
    ctx = doctor_facts.context(name, recorded, doctor_facts.heavy(expect_heavy), window)
    checks = registry.chosen(registry.checks(), category, everything, service=bool(ctx.name) and not category)
    began = time.monotonic()
    results = worst_first(_look(ctx, checks, window, json))
    took = time.monotonic() - began
    done: list[dict[str, Any]] = []
    if not json:
        _show(results, ctx, everything, took, fix)
    if fix:
        done = doctor_fix.offer(results, lambda one: _again(one, ctx, checks, window), yes, quiet=json)
    if json:
        say_json(doctor_screen.document(results, took, done))
    return _code(results, strict)


def _refuse(
    name: str | None, category: list[str], fix: bool, yes: bool, recorded: str | None, json: bool
) -> None:
    for one in category:
        if one not in CATEGORIES:
            raise Usage(f"--category {one!r}: must be one of {', '.join(CATEGORIES)}; nothing was looked at")
    if recorded is not None and (name or fix):
        raise Usage("a recording has no services of ours and nothing to fix; nothing was looked at")
    if yes and not fix:
        raise Usage("--yes answers for --fix, which was not given; nothing was looked at")
    if fix and not yes and (json or not sys.stdin.isatty()):
        raise Usage("--fix asks for each cure: it needs a terminal, or --yes; nothing was looked at")


def _look(ctx: Context, checks: list[Check], window: float, json: bool) -> list[Checked]:
    told: Callable[[int, int, tuple[str, ...]], None] | None = None
    if not json and sys.stderr.isatty():
        told = doctor_screen.progress
    try:
        return run(ctx, checks, more=window - watching(-1.0), told=told)
    finally:
        if told is not None:
            doctor_screen.progress_end()


def _show(results: list[Checked], ctx: Context, everything: bool, took: float, fix: bool) -> None:
    from midwatch.inspect import freeze

    for line in doctor_screen.screen(results, width(), coloured(), everything or bool(ctx.name)):
        print(line)
    for line in doctor_screen.frozen(freeze.verdict(results), width()):
        print(line)
    for line in doctor_screen.summary(results, took, ctx.sources.recorded, width(), not fix):
        print(line)


def _again(one: Checked, ctx: Context, checks: list[Check], window: float) -> bool:
    """Is the same cure still what its check says, at this moment?"""
    fresh = doctor_facts.fresh(ctx)
    results = _look(fresh, [check for check in checks if check.id == one.id], window, True)
    return any(result.fix == one.fix and result.status == one.status for result in results)


def _code(results: list[Checked], strict: bool) -> int:
    bad = {"fail", "warn"} if strict else {"fail"}
    return 1 if any(one.status in bad for one in results) else 0


VERB = Verb(
    name="doctor",
    help="Look for what goes wrong here or soon will, each finding with its cure.",
    detail=(
        "Reads only: nothing is written, ended, checkpointed or started. Checks run side by side, at most ten seconds "
        "each and thirty in all; what cannot be looked at is said, with what would make it possible. With NAME: what "
        "is about that service of ours. --fix asks for each cure that is one safe command, looks once more whether it "
        "still applies, and runs nothing else."
    ),
    examples=(
        "midwatch doctor",
        "midwatch doctor web",
        "midwatch doctor --category locks --fix",
        "midwatch doctor --json",
    ),
    run=_run,
    opts=(
        Opt(
            "category",
            ("--category",),
            f"Only these checks (may be repeated): {', '.join(CATEGORIES)}.",
            "many",
            "NAME",
            choices=CATEGORIES,
        ),
        Opt("everything", ("-a", "--all"), "Slow checks too, and each one that passes."),
        Opt("strict", ("--strict",), "A warning counts as a failure for the exit code."),
        Opt("fix", ("--fix",), "Ask for each cure that is one safe command, and run it."),
        Opt("yes", ("--yes",), "With --fix: do not ask."),
        Opt("expect_heavy", ("--expect-heavy",), "What the container VM will need for a heavy job.", "text", "SIZE"),
        Opt("watch", ("--watch",), "Watch rebuilding trees so long, e.g. 130s.", "text", "TIME"),
        Opt("recorded", ("--recorded",), "Look at a recorded machine.", "text", "FOLDER", complete="file"),
        JSON,
    ),
    arg=Arg("name", "NAME", "one service, as NAME or PROJECT/NAME.", complete="service"),
    codes="Exit codes: 0 nothing failed, 1 something failed (with --strict: or warned), 2 usage.",
)

