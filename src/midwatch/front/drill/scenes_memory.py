"""Scenes of growth: a leak drained at its soft line, an explosion killed at its hard one, descriptors that run out.

Tests: tests/system/test_drill.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from midwatch.front.cli.render import duration, size
from midwatch.front.drill.scene import Scene
from midwatch.front.drill.stage import Lost, Stage

SOFT, HARD = 64 << 20, 128 << 20
LEAK, BURST = 24 << 20, 250 << 20  # bytes a second
FILES = 512  # descriptors that the leaking toy may have
FEW = 260  # that it has from its start on: they are counted each 5 s, and three counts over the line are no burst
OVER = 1.15  # times the line that an explosion may reach where only polling guards it


def leak(stage: Stage) -> str:
    """It grows slowly; at the soft line it is asked to leave and does."""
    stage.up(
        f"[service.leak]\ncommand = {stage.toy('grow', LEAK)}\nmemory = {{ soft = '64M', hard = '256M' }}\n"
        "drain = { signal = 'USR1', code = 12, within = '5s' }\nbackoff = { drain = '200ms' }\n"
    )
    tripped = stage.event("the soft line is crossed", "guard.tripped", "leak", guard="memory", level="soft")
    end = stage.event("it has drained", "run.exited", "leak")
    if (end["cause"], end["code"]) != ("drain", 12):
        raise Lost(f"it ended with {end['cause']} ({end['code'] or end['signal']}) instead of draining")
    after = stage.runs("leak", end["pid"])
    held = tripped.get("held_bytes")
    stage.facts |= {"held_bytes": held, "line_bytes": tripped.get("line_bytes"), "cause": end["cause"]}
    line, number = size(tripped.get("line_bytes")), str(after["run_id"]).rpartition(".")[2]
    return f"asked it to drain at {size(held)} (soft line {line}); it left with 12, no kill; run {number} followed"


def explosion(stage: Stage) -> str:
    """It grows so fast that only a kill helps: once in a cgroup where there is one, once without. Evidence is kept."""
    for name, contain in (("burst", "auto"), ("polled", "none")):
        stage.more(
            f"[service.{name}]\ncommand = {stage.toy('grow', BURST)}\nmemory = {{ hard = '128M' }}\n"
            f"contain = '{contain}'\nbackoff = {{ over = '60s' }}\nrestart = {{ memory = '1 in 1h' }}\n"
        )
    stage.up()
    told = [_ended(stage, name) for name in ("burst", "polled")]
    return f"killed {told[0]}; another one, guarded without a cgroup, {told[1]}"


def _ended(stage: Stage, name: str) -> str:
    """Who ended it, at which peak, with what evidence."""
    end = stage.event("the explosion is ended", "run.exited", name)
    if end["cause"] not in ("memory-guard", "oom"):
        raise Lost(f"{name} ended with {end['cause']} ({end['code'] or end['signal']}) instead of at its line")
    peak = end.get("max_rss_bytes")
    by = "by midwatch's guard" if end["cause"] == "memory-guard" else "by the kernel at the line midwatch had set"
    shown = f"peak {size(peak)} of {size(HARD)}" if peak else "peak not measured"
    captured = _bundle(stage, str(end["run_id"]))
    stage.facts[name] = {"peak_bytes": peak, "line_bytes": HARD, "cause": end["cause"], "evidence": captured}
    if end["cause"] == "memory-guard" and not captured:
        raise Lost(f"{name} was killed ({shown}), but there is no evidence")
    bundle = f"{len(captured)} files of evidence" if captured else "no evidence, the kernel was faster"
    return f"{by} ({shown}, {bundle})"


def _bundle(stage: Stage, run: str) -> list[str]:
    """What is in the bundle of a run."""
    found = [Path(x["path"]) for x in stage.events("evidence.captured") if x.get("run_id") == run]
    found += sorted((stage.home / "evidence").glob(f"{run}-*"))
    return sorted(entry.name for entry in found[0].iterdir()) if found and found[0].is_dir() else []


def descriptors(stage: Stage) -> str:
    """It opens files and closes none: acted on before it fails with EMFILE."""
    stage.up(
        f"[service.files]\ncommand = {stage.toy('files', FEW, 0.2)}\nrlimits = {{ nofile = {FILES} }}\n"
        "fds = { warn = '25%', act = '50%', action = 'restart' }\nbackoff = { over = '200ms' }\n"
    )
    tripped = stage.event("its descriptors are acted on", "guard.tripped", "files", 30.0, guard="fds", level="hard")
    end = stage.event("it is restarted", "run.exited", "files")
    if end["cause"] != "fd-guard":
        raise Lost(f"it ended with {end['cause']} ({end['code'] or end['signal']}): nobody acted in time")
    after = stage.runs("files", end["pid"])
    warned = [x for x in stage.events("guard.tripped", service="files") if x.get("level") == "warn"]
    used: Any = tripped.get("open")
    stage.facts |= {"open": used, "limit": FILES, "warned": len(warned), "cause": end["cause"]}
    lived = duration(end["duration_ms"] / 1000)
    first = "warned, then restarted" if warned else "restarted"
    return f"{first} it at {used} of {FILES} open files, {lived} after its start; pid {after['pid']} followed"


SCENES = (
    Scene("leak", f"a program that leaks {LEAK >> 20} MiB a second", leak),
    Scene("explosion", f"a program that grows by {BURST >> 20} MiB a second", explosion),
    Scene("files", f"a program that opens more and more files and closes none (limit {FILES})", descriptors),
)
