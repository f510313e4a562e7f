"""A dump in SQL, statement by statement, as psql would take it apart (PostgreSQL 17 manual, 4.1).

Rows (`COPY ... FROM stdin`) come as they stand. Lines of psql's own commands (`\\restrict`, `\\connect`) are pieces of
their own. Nothing here is ever asked for a whole dump at once: a piece is a statement, or one line of rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["statement", "rows", "command", "space"]

_TOKEN = re.compile(
    rb"(?P<comment>--[^\n]*)|(?P<block>/\*)|(?P<escaped>\b[eE]')|(?P<text>')|(?P<name>\")"
    rb"|(?P<dollar>(?<![\w\x80-\xff$])\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$)|(?P<paren>[()])|(?P<end>;)"
    rb"|(?P<word>\b(?:begin|case|end)\b)",
    re.IGNORECASE,
)
_INSIDE = {
    "text": re.compile(rb"'"),
    "escaped": re.compile(rb"\\.|'", re.DOTALL),
    "name": re.compile(rb'"'),
    "block": re.compile(rb"/\*|\*/"),
}
# the bodies of these may hold statements of their own (psql(1) counts the same words)
_WITH_BODY = re.compile(rb"\s*create\s+(?:or\s+replace\s+)?(?:function|procedure)\b", re.IGNORECASE)
_COPY = re.compile(rb"copy\s.*\sfrom\s+stdin\b", re.IGNORECASE | re.DOTALL)
_COMMENT = re.compile(rb"\s*(?:--[^\n]*(?:\n|\Z)|/\*.*?\*/)", re.DOTALL)


@dataclass(frozen=True)
class Piece:
    """A part of a dump. `text` is all of it, comments before a statement and its end included."""

    kind: Kind
    text: bytes

    @property
    def bare(self) -> str:
        """A statement without the comments before it, in one line."""
        text = self.text
        while found := _COMMENT.match(text):
            text = text[found.end() :]
        return " ".join(text.decode(errors="replace").split())


def pieces(lines: Iterable[bytes]) -> Iterator[Piece]:
    """A dump's lines in pieces; put together they are the dump again."""
    scanner = _Scanner()
    rows = False
    for line in lines:
        if rows:
            yield Piece("rows", line)
            rows = line.rstrip(b"\r\n") != b"\\."
        elif scanner.between and line.startswith(b"\\"):
            yield from scanner.rest()
            yield Piece("command", line)
        elif scanner.between and _is_whole_insert(line):
            yield from scanner.rest()
            yield Piece("statement", line)
        else:
            for piece in scanner.take(line):
                yield piece
                # psql takes what follows the line of the statement
                rows = rows or _brings_rows(piece)
    yield from scanner.rest()


def _is_whole_insert(line: bytes) -> bool:
    """Whether pg_dump wrote all of an INSERT in this line: a dump may have millions of them."""
    if not (line.startswith(b"INSERT INTO ") and line.endswith(b");\n")):
        return False
    before, _, values = line.partition(b" VALUES (")
    return b"'" not in before and values.count(b"'") % 2 == 0 and b"E'" not in values and b"e'" not in values


def _brings_rows(piece: Piece) -> bool:
    # most of a dump may be INSERT statements: they are not looked at closely
    if piece.kind != "statement" or not piece.text.lstrip()[:4].lower().startswith((b"copy", b"--", b"/*")):
        return False
    return _COPY.match(piece.bare.encode()) is not None


class _Scanner:
    """What of a statement has been seen so far."""

    def __init__(self) -> None:
        self._text = b""
        self._start()

    def _start(self) -> None:
        self._inside, self._close = "", re.compile(b"")
        self._blocks = self._parens = self._bodies = 0
        self._empty = True
        self._body: bool | None = None

    @property
    def between(self) -> bool:
        """Whether no statement has begun."""
        return self._empty and not self._inside

    def take(self, line: bytes) -> Iterator[Piece]:
        """One more line; the statements that end in it."""
        start = place = 0
        while True:
            if self._inside:
                if not (found := self._close.search(line, place)):
                    break
                place = found.end()
                self._leave(found[0])
                continue
            found = _TOKEN.search(line, place)
            if self._empty and line[place : found.start() if found else len(line)].strip():
                self._empty = False
            if not found:
                break
            place = found.end()
            if found.lastgroup == "end" and not self._parens and not self._bodies:
                yield Piece("statement", self._text + line[start:place])
                self._text, start = b"", place
                self._start()
            else:
                self._token(str(found.lastgroup), found[0], line[start : found.start()])
        self._text += line[start:]
        if self.between and not self._text.strip():
            yield Piece("space", self._text)
            self._text = b""

    def rest(self) -> Iterator[Piece]:
        """What stands there in the end: space and comments, or a statement that was cut off."""
        if self._text:
            yield Piece("space" if self.between else "statement", self._text)
            self._text = b""

    def _token(self, kind: str, text: bytes, before: bytes) -> None:
        if kind == "comment":
            return
        if kind == "block":
            self._blocks = 1
        elif kind != "end":
            self._empty = False
        if kind in _INSIDE:
            self._inside, self._close = kind, _INSIDE[kind]
        elif kind == "dollar":
            self._inside, self._close = kind, re.compile(re.escape(text))
        elif kind == "paren":
            self._parens = max(self._parens + (1 if text == b"(" else -1), 0)
        elif kind == "word" and self._has_body(before):
            word = text.lower()
            if word == b"begin" or (word == b"case" and self._bodies):
                self._bodies += 1
            elif word == b"end" and self._bodies:
                self._bodies -= 1

    def _leave(self, text: bytes) -> None:
        if self._inside == "block":
            self._blocks += 1 if text == b"/*" else -1
            if self._blocks:
                return
        elif self._inside == "escaped" and text != b"'":
            return
        self._inside = ""

    def _has_body(self, before: bytes) -> bool:
        if self._body is None:
            head = self._text + before
            while found := _COMMENT.match(head):
                head = head[found.end() :]
            self._body = _WITH_BODY.match(head) is not None
        return self._body
