"""The proof that nobody owns a process any more, step by step; the first step that fails is why it is no leftover.

Whoever is to be a leftover has lost his parent (1), is none of the protected (2), is known as an agent's helper, an
agent, an agent's task or one of our own dead runs' (3), and cannot be reached: the other ends of his streams are gone
(4), and nobody is connected to him or his children (5). What cannot be read is not proven. Must not signal. Tests:
tests/inspect/test_leftovers.py (every step by itself), tests/inspect/test_zoo.py (look-alikes).
"""

from __future__ import annotations

import time

import msgspec

from midwatch.inspect import argv
from midwatch.inspect.agents import Known, Packs
from midwatch.inspect.leftovers import kinds
from midwatch.inspect.leftovers.clients import Clients
from midwatch.inspect.leftovers.ends import Ends, Fd, State, descriptors, state
from midwatch.inspect.leftovers.pidfiles import PidFiles
from midwatch.inspect.leftovers.protect import Guard
from midwatch.inspect.ours import Ours
from midwatch.inspect.sources import Sources, Table
from midwatch.model.look import Proc

_TREE = 500  # processes of one leftover's tree; more is no leftover but a system
_LOST = {"broken", "dead terminal"}
_SILENT = {*_LOST, "null", "closed"}
_SIGHUP = 1


class Owned(Exception):
    """It is no leftover. The words say why, as the end of "pid 7: ..."."""


class Proven(msgspec.Struct, frozen=True):
    """A leftover with everything below it. `certain`: nobody can have any use for it."""

    root: Proc
    tree: tuple[Proc, ...]
    reason: str
    name: str
    proof: tuple[str, ...]
    certain: bool = True


class Who(msgspec.Struct, frozen=True):
    """What it was: one of these is set."""

    known: Known | None = None
    task_of: str = ""  # the pack of the agent whose mark it bears
    mark: str = ""
    run: str = ""  # words: a dead run of ours


class Judge:
    """Proofs for the processes of one table."""

    def __init__(
        self, sources: Sources, table: Table, ours: Ours, packs: Packs, ends: Ends, guard: Guard
    ) -> None:
        """Nothing is read before the first question."""
        self._sources = sources
        self._table = table
        self._ours = ours
        self._packs = packs
        self._ends = ends
        self._guard = guard
        self._pidfiles = PidFiles(sources)
        self._children: dict[int, list[Proc]] = {}
        for one in table.procs.values():
            self._children.setdefault(one.ppid, []).append(one)

    def roots(self) -> list[Proc]:
        """Whoever has lost his parent, as far as the table alone tells."""
        found = []
        for one in self._table.procs.values():
            if one.uid == self._sources.uid and one.argv and one.pid > 1:
                try:
                    self._adrift(one)
                except Owned:
                    continue
                found.append(one)
        return found

    def prove(self, root: Proc) -> Proven:
        """The whole proof. Raises Owned."""
        proof = [self._adrift(root)]
        tree = self.below(root)
        who = self._who(root)
        for one in tree:
            words = self._guard.why(one)
            if words:
                raise Owned(
                    f"it is protected: {words}"
                    if one is root
                    else f"its child {one.pid} is protected: {words}"
                )
        fds = {one.pid: descriptors(self._sources, one.pid) for one in tree}
        unread = next((pid for pid, found in fds.items() if found is None), None)
        if unread is not None:
            raise Owned(f"what pid {unread} has open cannot be read: nothing can be proven")
        known = {pid: found for pid, found in fds.items() if found is not None}
        seated = _seated(known)
        if seated and seated != root.pid:
            raise Owned(f"its child {seated} is at an open terminal")
        reason, name, sure = self._unreachable(root, who, known[root.pid], proof)
        clients = Clients(self._sources, self._ends, root, known)
        strangers = clients.strangers()
        if strangers:
            raise Owned(strangers)
        useless = self._useless(tree, clients, who.known, reason, proof)
        proof += self._standing(root, who)
        return Proven(root, tuple(tree), reason, name, tuple(proof), sure and useless)

    def _useless(
        self, tree: list[Proc], clients: Clients, known: Known | None, reason: str, proof: list[str]
    ) -> bool:
        """Nobody is connected to it now; can nobody come, and is it connected to nobody?"""
        sure = True
        named = self._pidfiles.names(tree[0].pid)
        if named:
            sure = False
            proof.append(f"{named} names it: somebody means to find it again")
        if clients.listens and not _own_port(tree, known):
            sure = False
            proof.append(
                f"nobody is connected to it, but it listens ({', '.join(clients.listens[:3])}): somebody may come"
            )
        elif clients.outgoing and not (known is not None and _is_cut_off(tree, known, reason)):
            sure = False
            proof.append(
                f"it is connected to {', '.join(clients.outgoing[:3])}: it may still be working for somebody"
            )
        else:
            proof.append("nobody is connected to it or to its children")
        return sure

    def below(self, root: Proc) -> list[Proc]:
        """The process and all its descendants, parents first. Raises Owned for a tree without end."""
        found, seen, at = [root], {root.pid}, 0
        while at < len(found):
            for child in self._children.get(found[at].pid, ()):
                if child.pid not in seen and child.start >= found[at].start:
                    found.append(child)
                    seen.add(child.pid)
            at += 1
            if len(found) > _TREE:
                raise Owned(f"more than {_TREE} processes hang below it")
        return found

    # -- 1: nobody is its parent
    def _adrift(self, root: Proc) -> str:
        parent = self._table.procs.get(root.ppid)
        leader = self._table.procs.get(root.sid)
        if leader is not None and (leader.start > root.start or leader.state == "Z"):
            leader = None  # a number given anew, or an end that nobody has taken yet
        if parent is not None and parent.pid == 1 and root.sid == parent.sid != 0:
            raise Owned("it is of the session of process 1, which may have started it itself")
        if root.ppid == 1 or (parent is not None and _is_manager(parent)):
            heir = f"pid {root.ppid}" + (f" ({parent.name})" if parent is not None else "")
        elif parent is None:
            raise Owned(f"its parent (pid {root.ppid}) cannot be seen")
        elif root.sid not in (root.pid, parent.sid) and leader is None:
            heir = f"pid {parent.pid} ({parent.name}), which is not of its session"
        else:
            raise Owned(f"its parent lives: pid {parent.pid} ({argv.label(parent)})")
        if root.pid == root.sid:
            session = "it leads a session of its own"
        elif leader is None:
            session = f"the leader of its session (pid {root.sid}) is gone, too"
        else:
            session = f"the leader of its session still lives (pid {leader.pid}, {leader.name}), but is not its parent"
        return f"whoever started it has ended: its parent is now {heir}; {session}"

    # -- 3: what it was
    def _who(self, root: Proc) -> Who:
        try:
            environ = kinds.environment(self._sources.read(f"/proc/{root.pid}/environ"))
        except OSError:
            raise Owned("its environment cannot be read: nothing can be proven") from None
        standing, words = self._ours.marked(environ.get("MIDWATCH_RUN", ""))
        if standing == "ours":
            raise Owned(words)
        known = self._wrapped(root)
        if known is not None:
            return Who(known=known)
        if standing == "dead":
            return Who(run=words)
        pack, mark = kinds.marked(environ)
        if not pack:
            raise Owned("nothing says that it was an agent's: neither its program nor its environment")
        elder = self._elder(root, pack)
        if elder is not None:
            raise Owned(
                f"an agent that was started before it lives: pid {elder.pid} ({argv.label(elder)}) may own it"
            )
        return Who(task_of=pack, mark=mark)

    def _wrapped(self, root: Proc) -> Known | None:
        """What it is, or what it does nothing but start (npx, uv run, timeout, sh -c): a program of somebody's own that
        uses a server or a browser is none itself, nor is a script that runs agents.
        """
        asked = [(root, False)]
        for one, scripted in asked:  # grows while it is walked
            known = self._known(one)
            if known is not None and not (scripted and known.role in kinds.AGENT):
                return known
            if kinds.is_wrapper(one) and len(asked) <= _TREE:
                shell = scripted or kinds.is_shell(one)
                asked += [(child, shell) for child in self._children.get(one.pid, ()) if child.start >= one.start]
        return None

    def _known(self, proc: Proc) -> Known | None:
        known = self._packs.who(proc)
        if known is None or known.role == "model" or (known.role == "browser" and not kinds.is_driven(proc)):
            return None
        return known

    def _elder(self, root: Proc, pack: str) -> Proc | None:
        for one in self._table.procs.values():
            if one.uid == root.uid and one.start <= root.start and one.pid != root.pid and one.state != "Z":
                known = self._packs.who(one)
                if known is not None and known.pack == pack and known.role in kinds.AGENT:
                    return one
        return None

    # -- 4: nobody can speak to it
    def _unreachable(self, root: Proc, who: Who, fds: list[Fd], proof: list[str]) -> tuple[str, str, bool]:
        """(reason, name, certain)"""
        by_number = {fd.fd: fd for fd in fds}
        streams: list[State] = [
            state(self._sources, self._ends, root.pid, by_number.get(n)) for n in (0, 1, 2)
        ]
        told = _streams(streams)
        if who.known is not None:
            return self._helper(root, who.known, streams, told, proof)
        if who.run:
            if _reachable([one for one in streams if one != "fifo"]):  # its log's is a named one
                raise Owned(f"somebody can still read or write it ({told})")
            proof += [who.run, f"nobody reads or writes it: {told}"]
            return "left by a run of midwatch whose supervisor is dead", argv.label(root), True
        if _reachable(streams) or not _LOST & {*streams}:
            raise Owned(f"its streams do not show that its agent is gone ({told})")
        if self._meant_to_stay(root):
            raise Owned("it ignores SIGHUP: somebody meant it to outlive him (nohup)")
        title = self._title(who.task_of)
        proof.append(
            f"{title} started it ({who.mark} is in its environment), and no {title} that is older than it lives"
        )
        proof.append(f"its agent's end of its streams is gone: {told}")
        unread = bool(_LOST & {*streams[1:]}) and "file" not in streams[1:]
        if not unread:
            proof.append("but what it prints is not lost: somebody may want it")
        return f"task of {title}, which has ended", argv.label(root), unread

    def _helper(
        self, root: Proc, known: Known, streams: list[State], told: str, proof: list[str]
    ) -> tuple[str, str, bool]:
        cut = streams[0] == streams[1] == "broken"
        closed = "dead terminal" in streams and set(streams) <= _SILENT
        if known.role == "browser":
            if _reachable(streams) or not _LOST & {*streams[1:]}:
                raise Owned(f"its driver may live: its output is not cut off ({told})")
            proof.append(
                f"it is a browser without a window, with a profile made for one driver, and that is gone: {told}"
            )
            return "headless browser without a driver", known.name, True
        if not cut and not closed:
            raise Owned(f"it can still be spoken to, or was meant to run by itself ({told})")
        if closed and not cut:
            if known.role not in kinds.STDIO | {"session", "launcher"}:
                raise Owned(f"it was meant to run by itself ({told})")
            if self._meant_to_stay(root):
                raise Owned("it ignores SIGHUP: somebody meant it to outlive his terminal (nohup)")
        where = (
            "the terminal it was started in is closed"
            if not cut
            else "no client is left, and none can ever come"
        )
        proof.append(f"{where}: {told}{self._last_word(root) if cut else ''}")
        if known.role in kinds.AGENT:
            return (
                (f"{known.title} whose terminal is closed" if not cut else f"{known.title} without a client"),
                known.name,
                True,
            )
        word = {"mcp": "MCP server", "language-server": "language server"}.get(known.role, "helper")
        return f"{word} {'without a client' if cut else _TERMINAL}", known.name, True

    def _last_word(self, root: Proc) -> str:
        """When something was last written to its stdin: the time of the pipe itself."""
        try:
            when = self._sources.size(f"/proc/{root.pid}/fd/0")[1]
        except OSError:
            return ""
        ago = self._table.at - when
        return f"; nothing was written to it for {_ago(ago)}" if when > 0 and ago >= -1 else ""

    def _meant_to_stay(self, root: Proc) -> bool:
        try:
            text = self._sources.read(f"/proc/{root.pid}/status", 1 << 16)
        except OSError:
            return True
        for line in text.splitlines():
            if line.startswith(b"SigIgn:"):
                return bool(int(line.split()[1], 16) & (1 << (_SIGHUP - 1)))
        return True

    def _title(self, pack: str) -> str:
        known = self._packs.all.get(pack)
        return known.title if known is not None else pack

    def _standing(self, root: Proc, who: Who) -> list[str]:
        """What else a person wants to know."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(root.started))
        program = (
            f"it is {who.known.name} ({who.known.role})"
            if who.known is not None
            else f"it is {argv.label(root)}"
        )
        job = (
            f"its cgroup {root.cgroup} is no unit of its own"
            if root.cgroup
            else "it is in no unit of its own"
        )
        return [
            f"{program}, started {since} ({_ago(self._table.at - root.started)} ago); {job}, and no container's"
        ]


_TOLD: dict[State, str] = {
    "broken": "nobody holds the other end", "live": "connected to somebody", "null": "/dev/null", "file": "a file",
    "fifo": "a named pipe",
    "dead terminal": "a terminal that was closed", "terminal": "an open terminal", "closed": "closed",
    "other": "something else", "unknown": "cannot be told",
}  # fmt: skip


_TERMINAL = "whose terminal is closed"


def _is_cut_off(tree: list[Proc], known: Known, reason: str) -> bool:
    """A helper that lived by its streams: without them it works for nobody, whatever it is connected to."""
    if known.role == "browser":
        return True
    by_streams = known.role in kinds.STDIO and not reason.endswith(_TERMINAL)
    return by_streams and not any(kinds.dials(one) for one in tree)


def _own_port(tree: list[Proc], known: Known | None) -> bool:
    """Is what it listens on its driver's only? A browser's port is, unless somebody chose its number for others."""
    return known is not None and known.role == "browser" and not any(kinds.has_fixed_port(one) for one in tree)


def _streams(streams: list[State]) -> str:
    """For a person: stdin, stdout: nobody holds the other end; stderr: a file."""
    names: dict[State, list[str]] = {}
    for name, one in zip(("stdin", "stdout", "stderr"), streams, strict=True):
        names.setdefault(one, []).append(name)
    return "; ".join(f"{', '.join(said)}: {_TOLD[one]}" for one, said in names.items())


def _reachable(streams: list[State]) -> bool:
    return bool({"live", "terminal", "fifo", "unknown", "other"} & {*streams})


def _seated(fds: dict[int, list[Fd]]) -> int:
    """Who of a tree reads a terminal that nobody of the tree made, or 0."""
    if any(fd.target.endswith("/ptmx") for found in fds.values() for fd in found):
        return 0
    at = ((pid, fd.target) for pid, found in fds.items() for fd in found if fd.fd == 0)
    return next((pid for pid, to in at if to.startswith("/dev/pts/") and not to.endswith(" (deleted)")), 0)


def _is_manager(proc: Proc) -> bool:
    """systemd --user and its like: a session leader that init started to be the parent of others."""
    return proc.ppid == 1 and proc.pid == proc.sid and proc.name in ("systemd", "launchd")


def _ago(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"

