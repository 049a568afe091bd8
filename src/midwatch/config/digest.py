"""Which services differ between two configurations, and whether a difference needs a new process.

A service is identified by its name; it restarts when its spawn facts changed and everything else applies
live. What only mirrors the caller's shell (`Launch.ambient`: PATH, TERM, LANG ... as they came) is no
spawn fact: `up` from cron or from another terminal must restart nothing. Lean: the engine imports it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from midwatch.model.service import Launch, ServiceSpec


class Difference(msgspec.Struct, frozen=True):
    """Service ids by what a reload means for them, in the order of the configuration."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()


def spawn_facts(launch: Launch) -> Launch:
    """The part of a launch that makes a process what it is (env files count by what they put into `env`).

    Not the memory limit: that of a living run can be moved (`Machine.limit`).
    """
    env = {name: value for name, value in launch.env.items() if name not in launch.ambient}
    return msgspec.structs.replace(launch, env=env, env_files=(), ambient=(), memory_hard=None)


def spawn_digest(spec: ServiceSpec, fingerprint: str = "") -> str:
    """A hash of the spawn facts and of the resolved executable (`fingerprint`). Never shows a value."""
    from hashlib import blake2b  # not at import: OpenSSL's library comes with it

    facts = msgspec.json.encode((spawn_facts(spec.launch), fingerprint), order="deterministic")
    return blake2b(facts, digest_size=16).hexdigest()


def difference(
    old: Iterable[ServiceSpec],
    new: Iterable[ServiceSpec],
    *,
    fingerprints_then: Mapping[str, str] | None = None,
    fingerprints_now: Mapping[str, str] | None = None,
) -> Difference:
    """Compare by id. A fingerprint (id -> `Machine.fingerprint`) that either side lacks counts as equal."""
    then, now = fingerprints_then or {}, fingerprints_now or {}
    before = {spec.id: spec for spec in old}
    after = {spec.id: spec for spec in new}
    groups: dict[str, list[str]] = {name: [] for name in Difference.__struct_fields__}
    groups["removed"] = [name for name in before if name not in after]
    for name, spec in after.items():
        if name not in before:
            groups["added"].append(name)
            continue
        was = before[name]
        moved = name in then and name in now and then[name] != now[name]
        if moved or spawn_facts(was.launch) != spawn_facts(spec.launch):
            groups["restarted"].append(name)
        elif _live(was) != _live(spec):
            groups["changed"].append(name)
        else:
            groups["unchanged"].append(name)
    return Difference(**{name: tuple(ids) for name, ids in groups.items()})


def _live(spec: ServiceSpec) -> ServiceSpec:
    """What can change while it runs: not the place in the file, nor what mirrors the shell."""
    launch = msgspec.structs.replace(spawn_facts(spec.launch), memory_hard=spec.launch.memory_hard)
    return msgspec.structs.replace(spec, launch=launch, source="")
