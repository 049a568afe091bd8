"""Where in a TOML file each key stands, because tomllib does not tell.

A small cursor over the source notes line and column of every table header, key (dotted, quoted, inline)
and array element under the path that it has in tomllib's result. It expects a document that tomllib has
accepted: it checks nothing, never raises, and on other text returns what it had found so far. Must not
know any key of ours.
"""

from __future__ import annotations

import bisect

Path = tuple[str | int, ...]
Place = tuple[int, int]

_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b", '"': '"', "\\": "\\"}
_DEEPEST = 16  # no key of ours is deeper; a dotted key of a megabyte must not cost its square
_HEX = {"x": 2, "u": 4, "U": 8}


class _Stuck(Exception):
    """The text is not TOML from here on."""


def locate(text: str) -> tuple[dict[Path, Place], list[tuple[Path, Place]]]:
    """The place of every key, and the places where one was defined again (a document tomllib refuses)."""
    cursor = _Cursor(text)
    try:
        cursor.document()
    except (_Stuck, IndexError, ValueError, OverflowError, RecursionError):
        pass
    return cursor.places, cursor.again


class _Cursor:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.starts = [0] + [i + 1 for i, char in enumerate(text) if char == "\n"]
        self.places: dict[Path, Place] = {}
        self.again: list[tuple[Path, Place]] = []
        self.explicit: set[Path] = set()
        self.rows: dict[Path, int] = {}  # arrays of tables: how many so far

    def place(self, at: int) -> Place:
        line = bisect.bisect_right(self.starts, at)
        return line, at - self.starts[line - 1] + 1

    def note(self, path: Path, at: int) -> None:
        """The path is defined here; a table that it only passes through may still be defined later."""
        for length in range(1, min(len(path), _DEEPEST)):
            self.places.setdefault(path[:length], self.place(at))
        if path in self.explicit:
            self.again.append((path, self.place(at)))
            return
        self.explicit.add(path)
        self.places[path] = self.place(at)

    # -- the grammar, as far as places need it ---------------------------------------------------------------

    def document(self) -> None:
        table: Path = ()
        while self.blank(newlines=True):
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)

    def blank(self, newlines: bool) -> bool:
        """Skip blanks and comments; False at the end of the text."""
        skip = " \t\r\n" if newlines else " \t"
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in skip:
                self.at += 1
            elif char == "#" and newlines:
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return True
        return False

    def header(self) -> Path:
        start = self.at
        many = self.text.startswith("[[", start)
        self.at += 2 if many else 1
        path: Path = ()
        for part in self.dotted():
            path = self.inside((*path, part))
        if many:
            base = path[:-1] if path and isinstance(path[-1], int) else path
            row = self.rows.get(base, 0)
            self.rows[base] = row + 1
            self.places.setdefault(base, self.place(start))
            path = (*base, row)
        self.note(path, start)
        self.expect("]]" if many else "]")
        return path

    def inside(self, path: Path) -> Path:
        """A name of an array of tables means its newest element."""
        return (*path, self.rows[path] - 1) if path in self.rows else path

    def pair(self, table: Path) -> None:
        self.blank(newlines=False)
        start = self.at
        path = (*table, *self.dotted())
        self.note(path, start)
        self.expect("=")
        self.value(path)

    def expect(self, mark: str) -> None:
        self.blank(newlines=False)
        if not self.text.startswith(mark, self.at):
            raise _Stuck
        self.at += len(mark)

    def dotted(self) -> list[str]:
        parts = []
        while True:
            self.blank(newlines=False)
            parts.append(self.name())
            self.blank(newlines=False)
            if self.text[self.at] != ".":
                return parts
            self.at += 1

    def name(self) -> str:
        char = self.text[self.at]
        if char in "\"'":
            return self.string()
        start = self.at
        while self.at < len(self.text) and (self.text[self.at].isalnum() or self.text[self.at] in "_-"):
            self.at += 1
        if self.at == start:
            raise _Stuck
        return self.text[start : self.at]

    def value(self, path: Path) -> None:
        self.blank(newlines=False)
        char = self.text[self.at]
        if char in "\"'":
            self.string()
        elif char == "[":
            self.array(path)
        elif char == "{":
            self.table(path)
        else:
            while self.at < len(self.text) and self.text[self.at] not in ",]}#\n":
                self.at += 1

    def array(self, path: Path) -> None:
        self.at += 1
        row = 0
        while self.blank(newlines=True) and self.text[self.at] != "]":
            self.note((*path, row), self.at)
            self.value((*path, row))
            row += 1
            self.comma("]")
        self.at += 1

    def table(self, path: Path) -> None:
        self.at += 1
        while self.blank(newlines=True) and self.text[self.at] != "}":
            self.pair(path)
            self.comma("}")
        self.at += 1

    def comma(self, end: str) -> None:
        self.blank(newlines=True)
        if self.text[self.at] == ",":
            self.at += 1
        elif self.text[self.at] != end:
            raise _Stuck

    def string(self) -> str:
        quote = self.text[self.at]
        if self.text.startswith(quote * 3, self.at):
            return self.long_string(quote)
        self.at += 1
        out = []
        while (char := self.text[self.at]) != quote:
            if char == "\n":
                raise _Stuck
            if char == "\\" and quote == '"':
                out.append(self.escape())
            else:
                out.append(char)
                self.at += 1
        self.at += 1
        return "".join(out)

    def escape(self) -> str:
        kind = self.text[self.at + 1]
        size = _HEX.get(kind, 0)
        self.at += 2 + size
        if size:
            return chr(int(self.text[self.at - size : self.at], 16))
        return _ESCAPES.get(kind, kind)

    def long_string(self, quote: str) -> str:
        """Its content does not matter: a multi-line string is never a key."""
        self.at += 3
        while not self.text.startswith(quote * 3, self.at):
            self.at += 2 if self.text[self.at] == "\\" and quote == '"' else 1
        self.at += 3
        for _ in range(2):  # up to two quotes may stand before the closing three
            if self.at < len(self.text) and self.text[self.at] == quote:
                self.at += 1
        return ""
