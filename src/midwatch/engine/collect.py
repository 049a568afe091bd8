"""What is collected about a run, in a worker thread: stage after stage, the cheap and harmless first.

Stage 0 is known already (output, samples, events), 1 only reads, 2 looks while the run stands still (at most
`defaults.PAUSE_MOST` seconds, whatever hangs: a timer lets it go), 3 asks py-spy for Python's stacks meanwhile. Each
collector has its place in the manifest with its time and, when it failed, why; none of them stops the next. Must not
decide when, or how far. Tests: tests/engine/test_capture.py, tests/real/test_evidence.py.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from midwatch.policy import defaults

if TYPE_CHECKING:
    from midwatch.machine.ports import Machine, Tree
    from midwatch.record.evidence import Bundle, Evidence

EVENTS, EVENT_BYTES = 20, 1 << 18  # newest journal lines about the service, within so many bytes of its end
QUICK = 0.15  # seconds for the reads where a stop is urgent


class Order(msgspec.Struct):
    """Everything a capture needs to know, taken in the loop, used in a worker thread."""

    run: str
    reason: str
    stage: int
    freeze: bool  # from the beginning, and until the stop that follows; then no stage beyond the first
    facts: dict[str, Any]
    tree: Any
    logs: tuple[str, ...]
    home: Path
    samples: list[Any]
    until: float  # monotonic: nothing new is begun after it


def store(home: Path) -> Evidence:
    """The bundles of this instance."""
    from midwatch.record.evidence import Evidence

    return Evidence(home / "evidence", count=defaults.EVIDENCE_COUNT, max_bytes=defaults.EVIDENCE_BYTES)


def collect(machine: Machine, order: Order) -> Bundle:
    """Look and write. Raises OSError when not even the manifest can be written."""
    kept = store(order.home)
    names = ("run_id", "service", "reason", "at", "pid")
    head = {"schema_version": 1, "stage": order.stage, **{name: order.facts.get(name) for name in names}}
    bundle = kept.begin(order.run, order.reason, head)
    work = Collecting(machine, order, bundle)
    work.run()
    bundle.close(work.done)
    kept.prune(keep=bundle.path)
    return bundle


class Collecting:
    """One capture under way."""

    def __init__(self, machine: Machine, order: Order, bundle: Bundle) -> None:
        self._machine = machine
        self._order = order
        self._bundle = bundle
        self._tree: Tree = order.tree
        self._python: list[int] = []
        self.done: list[dict[str, Any]] = []

    def run(self) -> None:
        """Every stage that is allowed."""
        order = self._order
        pause = Pause(self._machine, self._tree, self._bundle.path)
        if order.freeze:  # before anything else: at 1 GB/s each 10 ms are 10 MB
            self._step("pause", pause.begin)
        self._step("output", self._output)
        if order.samples:
            self._step("samples", lambda: self._json("samples.json", order.samples))
        self._step("events", self._events)
        if order.stage < 1:  # it is dead: what was known already is all there is
            self._step("facts", lambda: self._json("facts.json", order.facts))
            return
        try:
            self._step("processes", self._processes)
            self._step("surroundings", self._scene)
            if order.stage >= 2:
                self._step("pause", pause.begin)
                self._step("mappings and kernel stacks", self._stills)
            if order.stage >= 3:
                self._step("python stacks", self._stacks)
        finally:
            if not order.freeze:  # else the signal or the kill that comes next, or the timer
                pause.end()
        if pause.seconds:
            self.done.append({"name": "stood still", "ms": round(pause.seconds * 1000), "problem": ""})

    def _step(self, name: str, what: Callable[[], str]) -> None:
        began = time.monotonic()
        if began > self._order.until and name not in ("output", "processes"):
            self.done.append({"name": name, "ms": 0, "problem": "out of time"})
            return
        try:
            problem = what()
        except OSError as error:
            problem = error.strerror or str(error)
        except Exception as error:  # noqa: BLE001  # a collector's own fault must not cost what the others have found
            problem = f"failed: {error!r}"[:200]
        self.done.append({"name": name, "ms": round((time.monotonic() - began) * 1000), "problem": problem})

    def _json(self, name: str, value: Any) -> str:
        from midwatch.record.redact import redact_value

        return self._bundle.add_json(name, redact_value(value))

    def _output(self) -> str:
        from midwatch.record.evidence import TAIL
        from midwatch.record.redact import redact

        text = "\n".join(filter(None, (_tail(path) for path in self._order.logs)))
        return self._bundle.add(TAIL, redact(text).encode("utf-8", "replace"))

    def _events(self) -> str:
        lines = _newest_lines(self._order.home / "journal", str(self._order.facts.get("service")))
        return self._json("events.json", lines) if lines else ""

    def _processes(self) -> str:
        """facts.json: what we knew, and what each process is doing."""
        from midwatch.record.evidence import FACTS

        facts = dict(self._order.facts)
        missing = list(facts.get("missing", []))
        calm = self._order.stage >= 2
        seconds = max(QUICK, min(defaults.INSPECT_MOST, self._order.until - time.monotonic())) if calm else QUICK
        problem = ""
        try:
            found = self._machine.inspect_tree(self._tree, (), seconds)
        except OSError as error:
            problem = error.strerror or "not readable"
            found = {"missing": [f"the tree: {problem}"]}
        self._python = [p["pid"] for p in found.get("processes", []) if _is_python(p)]
        facts |= {**found, "missing": [*missing, *found.get("missing", [])]}
        return self._json(FACTS, facts) or problem

    def _scene(self) -> str:
        return self._told("scene.json", self._machine.scene(self._tree, QUICK))

    def _stills(self) -> str:
        seconds = max(0.05, min(defaults.PAUSE_MOST / 2, self._order.until - time.monotonic()))
        return self._told("paused.json", self._machine.stills(self._tree, seconds))

    def _told(self, name: str, found: dict[str, Any]) -> str:
        cut = self._json(name, found)
        return "; ".join(filter(None, [cut, *found.get("missing", [])[:3]]))

    def _stacks(self) -> str:
        from midwatch.engine.pyspy import stacks
        from midwatch.record.redact import redact

        left = min(defaults.STACKS_MOST, self._order.until - time.monotonic())
        text, problem = stacks(self._python, left, self._machine.tracing())
        if text:
            problem = self._bundle.add("stacks.txt", redact(text).encode("utf-8", "replace")) or problem
        return problem


class Pause:
    """The run stands still from `begin` to `end`, or to the timer's own end of it, whichever is first.

    While it does there is a file in the bundle: an engine that finds it after a death of ours lets the run go.
    """

    def __init__(self, machine: Machine, tree: Tree, folder: Path) -> None:
        from midwatch.record.evidence import PAUSED

        self.seconds = 0.0
        self._machine = machine
        self._tree = tree
        self._mark = folder / PAUSED
        self._spare: tuple[Any, ...] = ()
        self._began: float | None = None
        self._once = threading.Lock()

    def begin(self) -> str:
        """Says how, when not by the cgroup."""
        from midwatch.record.evidence import to_json
        from midwatch.record.files import open_fresh, write_all

        self._spare = self._machine.stopped(self._tree)
        fd = open_fresh(self._mark)
        try:
            write_all(fd, to_json({"tree": self._tree, "spare": self._spare}))
        finally:
            os.close(fd)
        timer = threading.Timer(defaults.PAUSE_MOST, self.end)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:
            self._mark.unlink(missing_ok=True)
            return "not paused: no thread for the timer that would end it"
        self._began = time.monotonic()
        self._timer = timer
        how = self._machine.freeze(self._tree)
        return "" if how else "nobody to pause"

    def end(self) -> None:
        """Let it go; once."""
        with self._once:
            if self._began is None:
                return
            try:
                self._machine.thaw(self._tree, self._spare)
            finally:
                self.seconds = time.monotonic() - self._began
                self._began = None
                self._timer.cancel()
                self._mark.unlink(missing_ok=True)


def release(machine: Machine, folder: Path) -> bool:
    """After a death of ours: let go whom it left standing still. *blocking*"""
    from midwatch.machine.ports import Tree
    from midwatch.model.identity import ProcId
    from midwatch.record.evidence import PAUSED, read_json

    mark = folder / PAUSED
    if not os.path.lexists(mark):
        return False
    found = read_json(mark)
    try:
        tree = msgspec.convert(found["tree"], Tree)
        spare = msgspec.convert(found.get("spare", ()), tuple[ProcId, ...])
    except (KeyError, msgspec.ValidationError):
        return False
    machine.thaw(tree, spare)
    mark.unlink(missing_ok=True)
    return True


def _is_python(process: dict[str, Any]) -> bool:
    first = str(process.get("command", "")).split(" ", 1)[0].rpartition("/")[2]
    return any(word.startswith(("python", "pypy")) for word in (str(process.get("name", "")), first))


def _tail(path: str) -> str:
    """The end of one output file, from the start of a line."""
    return _end_of(path, defaults.EVIDENCE_TAIL).decode("utf-8", "replace")


def _end_of(path: str | Path, most: int) -> bytes:
    try:
        with open(path, "rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - most)
            file.seek(start)
            data = file.read(most)
    except OSError:
        return b""
    return (data.partition(b"\n")[2] or data) if start else data


def _newest_lines(journal: Path, service: str) -> list[dict[str, Any]]:
    """The newest journal lines about a service, from the end of the newest file alone: a capture reads no weeks."""
    names = sorted(name for name in os.listdir(journal) if name.endswith(".jsonl"))
    if not names:
        return []
    newest = max(names, key=lambda name: os.stat(journal / name).st_mtime)
    found: list[dict[str, Any]] = []
    for raw in reversed(_end_of(journal / newest, EVENT_BYTES).splitlines()):
        if service.encode() not in raw or len(found) >= EVENTS:
            continue
        try:
            line = msgspec.json.decode(raw)
        except msgspec.DecodeError:
            continue
        if isinstance(line, dict) and line.get("service") == service:
            found.append({key: value for key, value in line.items() if key not in ("input", "snapshot")})
    return found[::-1]
