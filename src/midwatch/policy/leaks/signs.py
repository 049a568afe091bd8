"""Structural signs of a descriptor leak: one look is enough, where a slope of two a day would take weeks.

S1 the same file many times, S2 sockets half closed for long, S3 deleted files, S4 null sinks, S5 pipes without another
end and too many event queues, S6 head-room, S7 what children inherited; and observed against expected (FDW-4, 5), soft
limits that are too low (FDW-12). Says, never acts; the words are for a tired person. Must not know /proc.
Tests: tests/policy/leaks/test_signs.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from midwatch.model.finding import FdSnapshot, Sign, Tier
from midwatch.model.units import format_bytes, format_seconds
from midwatch.policy import defaults as d
from midwatch.policy.leaks.trend import middle

LEVELS = ("act", "warn", "note")
_SAME = ("regular", "deleted file", "sqlite-main", "sqlite-wal", "sqlite-journal")
_QUEUES = ("eventpoll", "inotify", "eventfd", "pidfd")
_SINKS = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def tier_of(kind: str) -> Tier:
    """How floors of this kind of descriptor are judged; "total" as sockets are, which are most of it."""
    return d.LEAK_SOCKETS if kind.startswith(("tcp", "udp", "unix", "socket", "total")) else d.LEAK_FILES


def half_closed_since(since: Mapping[int, float], now: FdSnapshot) -> dict[int, float]:
    """When each half-closed socket was first seen so; bounded, the oldest are kept. Hand it on to the next look."""
    seen = {inode: since.get(inode, now.at) for inode in now.half_closed}
    return dict(sorted(seen.items(), key=lambda item: item[1])[: d.FD_HALF_KEPT])


def signs(
    now: FdSnapshot, since: Mapping[int, float], pools: Mapping[str, int] | None = None, growing: Collection[str] = ()
) -> list[Sign]:
    """S1 to S5 and S7, the worst first. `pools`: file name or path -> handles meant; `growing`: kinds that grow."""
    found = [*_same_file(now, pools or {}), *_half_closed(now, since), *_deleted(now), *_sinks(now)]
    found += [*_queues(now, growing), *_children(now)]
    return sorted(found, key=lambda sign: (LEVELS.index(sign.level), sign.rule))


def headroom(totals: Sequence[int], soft: int | None, shares: tuple[float, float] = d.FD_ROOM) -> Sign | None:
    """S6 over the newest samples: a warning by the last one, act when three in a row are close to the limit."""
    if not totals or not soft:
        return None
    warn = shares[0] * soft
    used, last = totals[-1], totals[-d.FD_ROOM_LOOKS :]
    near = [close(n, soft, shares) for n in last]
    words = f"{used} of {soft} descriptors ({used / soft:.0%}), {max(soft - used, 0)} left"
    if len(last) == d.FD_ROOM_LOOKS and all(near):
        words += f", {len(last)} looks in a row: the next burst fails with EMFILE"
        return Sign("S6", "act", "limit", used, words)
    return Sign("S6", "warn", "limit", used, words) if used > warn else None


def close(used: int, soft: int, shares: tuple[float, float] = d.FD_ROOM) -> bool:
    """S6, FDW-5: above the line that acts, or above the other one with hardly any left."""
    warn, act = (share * soft for share in shares)
    return used > act or (used > warn and soft - used < d.FD_LEFT)


def low_limit(soft: int | None) -> Sign | None:
    """FDW-12: a soft limit that a server outgrows in an hour."""
    if soft is None or soft > d.FD_LOW:
        return None
    words = f"the soft limit is {soft} descriptors; EMFILE then looks like an outage of somebody else"
    cure = "raise rlimits.nofile of the service; of what midwatch did not start, SoftResourceLimits/NumberOfFiles in a"
    return Sign("low-limit", "warn", "limit", soft, f"{words}: {cure} launchd plist or LimitNOFILE in a systemd unit")


def base(samples: Iterable[tuple[float, int]]) -> float | None:
    """FDW-4: the median of (seconds since ready, count) from one to five minutes after ready; None: none yet."""
    first, last = d.FD_BASE
    counts = sorted(count for age, count in samples if first <= age <= last)
    return middle(counts) if counts else None


def ratio(observed: int, ground: float, units: Mapping[str, tuple[float, float]] | None = None) -> Sign | None:
    """FDW-5: more than twice the expected. `units`: what is counted -> (how many, descriptors each)."""
    parts = units or {}
    expected = ground + sum(count * each for count, each in parts.values())
    if expected <= 0 or observed <= d.FD_RATIO * expected:
        return None
    terms = "".join(f" + {count:g} {name} x {each:g}" for name, (count, each) in parts.items())
    words = f"{observed} descriptors, {expected:g} expected (base {ground:g}{terms}): {observed / expected:.1f} times"
    return Sign("ratio", "warn", "total", observed / expected, words)


def _same_file(now: FdSnapshot, pools: Mapping[str, int]) -> Iterator[Sign]:
    counts = {target: count for target, _, count in now.targets}
    for target, kind, count in now.targets:
        main = target.removesuffix("-wal")
        if kind not in _SAME or not target.startswith("/") or (kind == "sqlite-wal" and main in counts):
            continue
        live = counts.get(target + "-wal", 0) if kind == "sqlite-main" else 0
        pool = pools.get(target, pools.get(target.rpartition("/")[2]))
        note, warn = d.FD_SAME if pool is None else (pool + 1, 2 * pool + 1)
        if (live or count) >= note:
            words = f"{target} is open {count} times"
            if live:
                words += f": {live} live connections, one for each open -wal; the other handles are a high-water mark"
            if pool is not None:
                words += f"; {pool} are meant"
            yield Sign("S1", "warn" if (live or count) >= warn else "note", target, live or count, words)


def _half_closed(now: FdSnapshot, since: Mapping[int, float]) -> Iterator[Sign]:
    old = [peer for inode, (_, peer) in now.half_closed.items() if now.at - since.get(inode, now.at) > d.FD_HALF_AGE]
    if len(old) >= d.FD_HALF:
        ports = Counter(peer.rpartition(":")[2] for peer in old).most_common(5)
        towards = ", ".join(f"{port} ({count})" for port, count in ports)
        words = f"{len(old)} sockets half closed for over {format_seconds(d.FD_HALF_AGE)}: the peers left, this process"
        yield Sign("S2", "warn", "CLOSE_WAIT", len(old), f"{words} never closed them; remote ports {towards}")
    own = {target.rpartition(":")[2] for target, kind, _ in now.targets if kind == "tcp listen"}
    for port, count in Counter(local.rpartition(":")[2] for local, _ in now.half_closed.values()).items():
        if port in own and count > d.FD_HALF_OWN:
            words = f"{count} clients of its own port {port} have left and are still open: no keep-alive timeout?"
            yield Sign("S2", "warn", f"port {port}", count, words)


def _deleted(now: FdSnapshot) -> Iterator[Sign]:
    for name in now.deleted_databases:
        words = f"{name} was deleted and is still open: what is written to it is lost"
        yield Sign("S3", "act", name, 1, words)
    held = now.deleted_bytes or 0
    if held > d.FD_DELETED:
        words = f"deleted files that are still open hold {format_bytes(held)} of disk until they are closed"
        yield Sign("S3", "warn", "deleted files", held, words)


def _sinks(now: FdSnapshot) -> Iterator[Sign]:
    for target, _, count in now.targets:
        if target in _SINKS and count > d.FD_NULL:
            words = f"{target} is open {count} times: does each start of a child leave one?"
            yield Sign("S4", "note", target, count, words)


def _queues(now: FdSnapshot, growing: Collection[str]) -> Iterator[Sign]:
    kinds = now.kinds()
    ends = ("pipe", now.orphan_pipes, "pipes have no other end in any process that can be read")
    for kind, count, what in (ends, *((kind, kinds.get(kind, 0), f"{kind} descriptors are open") for kind in _QUEUES)):
        if count >= d.FD_MANY:
            rising = kind in growing
            words = f"{count} {what}" + (", and they become more" if rising else "")
            yield Sign("S5", "warn" if rising else "note", kind, count, words)


def _children(now: FdSnapshot) -> Iterator[Sign]:
    for child, count in Counter(child for child, _ in now.inherited).items():
        target = next(name for who, name in now.inherited if who == child)
        words = f"{child} has inherited {count} of its sockets or pipes, {target} for one: opened without CLOEXEC?"
        yield Sign("S7", "note", child, count, words)
