"""`midwatch drill`: inject faults into a toy set-up and show that it survives them, with a table at the end.

Everything happens in temporary instances; nothing that the drill did not start is touched. Ctrl-C, TERM and HUP clean
up first. Must not know how a scene is played: front/drill/ does. Tests: tests/front/test_drill.py,
tests/system/test_drill.py.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from midwatch.front.cli.declare import JSON, Arg, Opt, Usage, Verb
from midwatch.front.cli.render import coloured, duration, paint, say_json, width, wrap

if TYPE_CHECKING:
    from midwatch.front.drill.scene import Outcome

HEAD = ("SCENE", "INJECTED", "WHAT MIDWATCH DID", "TIME", "SURVIVED")
LEAST = 24  # columns of the two wide cells


def _run(scenes: list[str], list_only: bool, json: bool) -> int:
    from midwatch.front.drill.play import SCENES, play

    if list_only:
        return _list({name: scene.injected for name, scene in SCENES.items()}, json)
    unknown = [name for name in scenes if name not in SCENES]
    if unknown:
        raise Usage(f"there is no scene {unknown[0]!r}; nothing was done; scenes are: {', '.join(SCENES)}")
    chosen = [name for name in SCENES if not scenes or name in scenes]
    outcomes: list[Outcome] = []
    began = time.monotonic()
    with _interruptible():
        try:
            for name in chosen:
                if not json:
                    print(f"midwatch drill: {name}: {SCENES[name].injected} ...", file=sys.stderr, flush=True)
                outcomes.append(play(SCENES[name]))
        except KeyboardInterrupt:
            print("midwatch drill: interrupted; everything it had started was ended", file=sys.stderr)
            return 130
    took = time.monotonic() - began
    if json:
        say_json(document(outcomes, took))
    else:
        print("\n".join(screen(outcomes, took, width())))
    return 0 if any(o.survived for o in outcomes) and all(o.survived is not False for o in outcomes) else 1


@contextmanager
def _interruptible() -> Iterator[None]:
    """TERM and HUP clean up as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _list(scenes: dict[str, str], json: bool) -> int:
    if json:
        say_json({"scenes": [{"scene": name, "injected": words} for name, words in scenes.items()]})
    else:
        room = max(map(len, scenes))
        print("\n".join(f"{name:{room}}  {words}" for name, words in scenes.items()))
    return 0


def document(outcomes: list[Outcome], took: float) -> dict[str, Any]:
    """The document of `drill --json`. `survived` null: it could not be played."""
    rows = [
        {"scene": o.scene, "injected": o.injected, "did": o.did, "seconds": round(o.seconds, 1), "survived": o.survived,
         "facts": o.facts}
        for o in outcomes
    ]  # fmt: skip
    left = [words for o in outcomes for words in o.left_over]
    survived = all(o.survived is not False for o in outcomes)
    return {"survived": survived, "seconds": round(took, 1), "left_over": left, "scenes": rows}


def screen(outcomes: list[Outcome], took: float, room: int) -> list[str]:
    """The table, its cells wrapped, and what is left over."""
    first = max(len(HEAD[0]), *(len(o.scene) for o in outcomes))
    fixed = first + len("9.9s") + len(HEAD[4]) + 8 + 1
    wide = max(2 * LEAST, room - fixed)
    injected = max(LEAST - 4, wide // 3)
    widths = (first, injected, wide - injected, 5, len(HEAD[4]))
    on = coloured()
    lines = [paint(_row(HEAD, widths), "dim", on)]
    for one in outcomes:
        texts = (one.scene, one.injected, one.did, duration(one.seconds), one.word)
        cells = [wrap(text, size) for text, size in zip(texts, widths, strict=True)]
        for number in range(max(map(len, cells))):
            text = _row([cell[number] if number < len(cell) else "" for cell in cells], widths)
            lines.append(paint(text, "failing", on and one.survived is False))
    return [*lines, "", *_verdict(outcomes, took, room)]


def _row(cells: Any, widths: tuple[int, ...]) -> str:
    return "  ".join(cell.ljust(size) for cell, size in zip(cells, widths, strict=True)).rstrip()


def _verdict(outcomes: list[Outcome], took: float, room: int) -> list[str]:
    good = sum(o.survived is True for o in outcomes)
    bad = [o.scene for o in outcomes if o.survived is False]
    skipped = [o.scene for o in outcomes if o.survived is None]
    words = f"{good} of {good + len(bad)} survived in {duration(took)}"
    words += f"; NOT survived: {', '.join(bad)}" if bad else ""
    words += f"; not played: {', '.join(skipped)}" if skipped else ""
    left = [piece for o in outcomes for piece in o.left_over]
    end = f"left over and ended by the drill: {'; '.join(left)}" if left else (
        "left over: nothing; no process bears a mark of this drill any more"
    )
    return [*wrap(words, room), *wrap(end, room)]


VERB = Verb(
    name="drill",
    help="Inject faults into a toy set-up and show that it survives them.",
    detail=(
        "Each scene has an instance of its own in a temporary folder, toys that misbehave within bounds, and a "
        "clean-up; your services, your daemon and the machine's clock are not touched. Together they take about a "
        "minute. A scene that cannot be played here is skipped with the reason."
    ),
    examples=("midwatch drill", "midwatch drill leak explosion", "midwatch drill --list"),
    run=_run,
    opts=(Opt("list_only", ("--list",), "Show the scenes and play none."), JSON),
    arg=Arg("scenes", "SCENE", "scenes to play; without one, all.", many=True),
    codes="Exit codes: 0 all survived (skipped ones aside), 1 one was not, or none could be played, 2 unknown scene.",
)
