"""The plan of a recovery: its order, the shortest prefix that helps, targets with identities, and nothing touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.inspect.doctor.machines import Machine, proc

from midwatch.inspect.containers import Stack, Target
from midwatch.inspect.ours import Ours
from midwatch.inspect.recover.measure import measure
from midwatch.inspect.recover.order import ORDER, Facts, Service, ordered, plan
from midwatch.inspect.recover.plan import Aim, Pressure, Step, choose
from midwatch.inspect.sources.recorded import Recorded
from midwatch.model.look import Leftover

GB = 10**9
GIB = 1 << 30
SHORT = Pressure("warn", 3 * GIB, "short")


def step(name: str, gain: int | None, acts: bool = True, asks: bool = False) -> Step:
    return Step(name, name, name, (Aim("process", name, "1", 1),), "", "", "low", gain, acts=acts, asks=asks)


def machine(available: int = 20 * GIB, total: int = 32 * GIB) -> Machine:
    linux = Machine("linux")
    linux.put("/proc/meminfo", f"MemTotal: {total >> 10} kB\nMemAvailable: {available >> 10} kB\n")
    return linux


def leftover(pid: int, held: int, certain: bool = True) -> Leftover:
    return Leftover(
        proc(pid, "npx x-mcp", held=held), "MCP server", ("p",), "x-mcp", certain, "" if certain else "codex"
    )


def facts(sources: Machine, lost: list[Leftover], services: tuple[Service, ...] = ()) -> Facts:
    return Facts(sources, Ours(), services, "/var/lib/midwatch/recover", leftovers=lost, stacks=[])


def test_the_shortest_prefix_that_helps_is_marked() -> None:
    """REC-3: in order, until the promised gain ends the pressure; advice, unnamed and empty steps do not count."""
    steps = [
        step("snapshot", 0), step("leftovers", GIB), step("copies", 9 * GIB, asks=True), step("stacks", None),
        step("sessions", 9 * GIB, acts=False), step("vm", 4 * GIB), step("wal", 9 * GIB),
    ]  # fmt: skip
    assert [one.id for one in choose(SHORT, steps) if one.needed] == ["snapshot", "leftovers", "vm"]


@pytest.mark.parametrize("level", ["pass", "unknown"])
def test_nothing_is_needed_without_pressure(level: str) -> None:
    """REC-3: what would free something is optional then."""
    calm = Pressure(level, 0, "")  # type: ignore[arg-type]
    assert not any(one.needed for one in choose(calm, [step("snapshot", 0), step("leftovers", GIB)]))


def test_the_order_is_the_specifications() -> None:
    """REC-2: snapshot, own services, leftovers, stacks, VM, sessions, logs, caches; a VM that fails DOC-7 first."""
    made = [step(name, 1) for name in reversed(ORDER)]
    assert tuple(one.id for one in ordered(made, heavy=False)) == ORDER
    assert [one.id for one in ordered(made, heavy=True)][:3] == ["snapshot", "vm", "services"]


def test_a_plan_names_its_targets() -> None:
    """Scenario 75: each step with at least one identity, the gain is what they hold; nobody else's unnamed."""
    told = plan(
        facts(machine(GIB), [leftover(11, GIB), leftover(12, 2 * GIB), leftover(20, GIB, certain=False)])
    )
    assert all(one.aims and all(aim.mark for aim in one.aims) for one in told.steps)
    by_id = {one.id: one for one in told.steps}
    assert [(aim.pid, aim.mark) for aim in by_id["leftovers"].aims] == [(11, "1100"), (12, "1200")]
    assert by_id["leftovers"].gain == 3 * GIB
    assert by_id["leftovers"].needed
    assert by_id["copies"].asks
    assert not by_id["copies"].needed
    assert set(told.idle) == set(ORDER) - set(by_id)


def test_what_linux_needs() -> None:
    """The bytes that lift what is available over a tenth."""
    told = measure(machine(available=GIB, total=40 * GIB))
    assert (told.level, told.need) == ("fail", 3 * GIB)
    assert measure(machine()).need == 0


def test_what_cannot_be_measured_needs_nothing() -> None:
    """Unknown is not short."""
    assert measure(Machine("linux")).level == "unknown"


def test_what_a_mac_needs() -> None:
    """By the system's own free percentage; without it: something, then another look."""
    mac = Machine("darwin")
    mac.sysctls |= {"kern.memorystatus_vm_pressure_level": "2", "hw.memsize": str(100 * GIB)}
    assert (measure(mac).level, measure(mac).need) == ("warn", 1)
    mac.says("memory_pressure -Q", "System-wide memory free percentage: 8%\n")
    assert measure(mac).need == 12 * GIB


def test_crash_loops_are_stopped() -> None:
    """REC-2.1: services that only start and die; healthy, held and given-up ones are left alone."""
    known = tuple(
        Service(f"p/{state}", state) for state in ("up", "backoff", "degraded", "held", "gave_up", "stopped")
    )
    told = plan(facts(machine(), [], known))
    (one,) = [step for step in told.steps if step.id == "services"]
    assert [aim.name for aim in one.aims] == ["p/backoff", "p/degraded"]
    assert one.command == "midwatch stop p/backoff p/degraded"
    guarded = facts(machine(), [], known)
    guarded.ours = Ours(protected=("p/backoff", "p/degraded"))
    assert "services" in plan(guarded).idle


def test_idle_stacks_are_stopped_not_removed() -> None:
    """REC-2.3: stop with 30 s, never down -v; an empty list is fine."""
    told = facts(machine(), [])
    told.stacks = [
        Stack("shop", "docker", (Target("c1", "shop-web-1", 5.0, "unix:///d"),), GIB, False, "no traffic")
    ]
    (one,) = [step for step in plan(told).steps if step.id == "stacks"]
    assert one.command == "docker compose -p shop stop -t 30"
    assert (one.aims[0].name, one.aims[0].mark, one.gain) == ("shop-web-1", "5.0", GIB)
    assert "stacks" in plan(facts(machine(), [])).idle


def test_logs_of_stopped_services_only() -> None:
    """REC-2.6: a large write-ahead log of a service that is stopped; only when it is named, and it is disk."""
    sources = machine()
    for name, size in (("a", 64 << 20), ("b", 64 << 20), ("c", 4096)):
        sources.put(f"/srv/{name}.db-wal", b"")
        sources.sizes[f"/srv/{name}.db-wal"] = size
    known = (
        Service("p/a", "stopped", databases=("/srv/a.db",)), Service("p/b", "up", databases=("/srv/b.db",)),
        Service("p/c", "stopped", databases=("/srv/c.db",)),
    )  # fmt: skip
    (one,) = [step for step in plan(facts(sources, [], known)).steps if step.id == "wal"]
    assert [aim.name for aim in one.aims] == ["/srv/a.db"]
    assert one.asks
    assert one.disk == 64 << 20


def test_caches_are_suggestions(tmp_path: Path) -> None:
    """REC-2.7: named with the command that prunes them; midwatch never does."""
    from midwatch.inspect.recover.steps import caches
    from midwatch.inspect.sources.live import Live

    class At(Live):
        home = str(tmp_path)

    assert caches(At()) == "no known cache was found"
    (tmp_path / ".cache" / "uv" / "wheels-v5").mkdir(parents=True)
    told = caches(At())
    assert isinstance(told, Step)
    assert (told.command, told.acts) == ("uv cache prune", False)


def test_a_part_that_breaks_is_said_and_the_rest_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partial answers that say what is missing."""
    from midwatch.inspect.recover import steps as recover_steps

    def broken(*_: object) -> Step:
        raise RuntimeError("no engine today")

    monkeypatch.setattr(recover_steps, "stacks", broken)
    told = plan(facts(machine(), [leftover(11, GIB)]))
    assert "no engine today" in told.idle["stacks"]
    assert any(one.id == "leftovers" for one in told.steps)


def recording(folder: Path, rss: int, level: int) -> Recorded:
    folder.mkdir()
    (folder / "platform").write_text("darwin\n")
    (folder / "now").write_text("2026-03-02T09:20:00+00:00\n")
    (folder / "sysctl.txt").write_text(
        f"hw.memsize = {36 * GIB}\nkern.memorystatus_vm_pressure_level = {level}\n"
        "vm.swapusage = total = 3072.00M  used = 2100.50M  free = 971.50M  (encrypted)\n"
    )
    (folder / "ps.txt").write_text(
        "  PID  PPID  PGID   SID   UID ELAPSED    RSS TT   ARGS\n"
        "    1     0     1     1     0   90000  12000 ??   /sbin/launchd\n"
        f"  900     1   900   900   501   80000 {rss >> 10} ??   "
        "/Applications/Docker.app/Contents/MacOS/com.docker.virtualization --disk x\n"
    )
    return Recorded(folder)


def test_s50_the_virtual_machine_comes_first(tmp_path: Path) -> None:
    """Scenario 50: a VM of 21 GB without containers: the first acting step restarts it, by identity; the machine's own
    restart is nowhere in the plan. With 5 GB in use there is no such step."""
    told = plan(Facts(recording(tmp_path / "bad", 21 * GB, 2), Ours()))
    acting = [one for one in told.steps if one.acts and one.id != "snapshot"]
    assert acting[0].id == "vm"
    assert acting[0].needed
    assert acting[0].aims[0].pid == 900
    assert "quit Docker Desktop" in acting[0].command
    assert not any("reboot" in one.command or "shutdown" in one.command for one in told.steps)
    calm = plan(Facts(recording(tmp_path / "calm", 3 * GB, 1), Ours()))
    assert "vm" in calm.idle
