"""A dump in a file of the operator's: which format it has, and what is sent of it."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bastide.errors import BastideError
from hosts.commands.databases.contents import Contents, is_skipped
from hosts.commands.databases.plain_sql import Piece, pieces

_CHUNK = 1 << 18
# pg_dump's own first and last words
_CUSTOM, _GZIP = b"PGDMP", b"\x1f\x8b"
_HEAD, _WHOLE_SERVER = b"PostgreSQL database dump", b"PostgreSQL database cluster dump"
_LAST = b"PostgreSQL database dump complete"
_VERSION = re.compile(rb"-- Dumped from database version (\d+)")
_ANOTHER_WAY = "make it with `pg_dump -Fc DATABASE >FILE`, docs/how-to/move-your-database.md"


@dataclass(frozen=True)
class DumpFile:
    """A file that is a dump by its first bytes. `size` in bytes, as it lies there; `schemas` are there already."""

    path: Path
    size: int
    is_custom: bool
    is_packed: bool = False
    schemas: frozenset[str] = frozenset()

    def chunks(self) -> Iterator[bytes]:
        """All of it, as it lies there. Raises `BastideError` when it does not stay what it was."""
        sent = 0
        with _opened(self.path) as file:
            while data := file.read(_CHUNK):
                sent += len(data)
                yield data
        if sent != self.size:
            raise BastideError(f"{self.path} changed meanwhile; nothing was changed", "the same command again")

    def statements(self) -> Iterator[bytes]:
        """What is restored of a dump in SQL, a piece at a time."""
        for piece in self._pieces():
            if piece.kind != "command" and not (
                piece.kind == "statement" and self._skips(piece, Contents(schemas=self.schemas))
            ):
                yield piece.text

    def statement_at(self, line: int) -> str:
        """How the statement begins that ends in this line of what `statements` gives; its values are not shown."""
        for text in self.statements():
            line -= text.count(b"\n")
            if line <= 0 or (line == 1 and text.rstrip().endswith(b";") and text.strip()):
                bare = Piece("statement", text).bare
                if bare:
                    return " ".join(re.split(r"\(| VALUES | AS | IS ", bare)[0].split()[:8])
        return ""

    def read_through(self, read: Callable[[int], None] = lambda _: None) -> tuple[Contents, int]:
        """What a dump in SQL holds, and how many bytes of it are restored.

        `read` is told how many bytes were read. Raises `BastideError` for one that was cut off, or is of more than one
        database.
        """
        found = Contents(schemas=self.schemas)
        size, connects, last = 0, 0, b""
        for piece in self._pieces():
            read(len(piece.text))
            last = (last + piece.text)[-4096:]
            if version := _VERSION.search(piece.text) if not found.version and piece.kind != "rows" else None:
                found.version = int(version[1])
            if piece.kind == "command":
                connects += self._command(piece)
            elif piece.kind in ("rows", "space"):
                size += len(piece.text)
            elif piece.kind == "statement":
                size += self._statement(piece, found)
        if connects > 1:
            raise self._is_of_a_server()
        if _LAST not in last:
            raise BastideError(f"{self.path} was cut off: its last line is not pg_dump's", f"{_ANOTHER_WAY}, again")
        return found, size

    def _statement(self, piece: Piece, found: Contents) -> int:
        if piece.text.startswith(b"INSERT "):
            return len(piece.text)
        text = piece.bare
        found.read(text)
        if text.startswith(("CREATE ROLE", "CREATE USER", "ALTER ROLE")):
            raise self._is_of_a_server()
        if text.startswith("SET standard_conforming_strings = off"):
            raise BastideError(f"{self.path} was made by a PostgreSQL older than 9.1", _ANOTHER_WAY)
        if self._skips(piece, found):
            return 0
        found.objects += not text.startswith(("SET ", "SELECT "))
        return len(piece.text)

    def _skips(self, piece: Piece, found: Contents) -> bool:
        # rows as INSERT statements may be most of a dump: they are not looked at closely
        return not piece.text.startswith(b"INSERT ") and is_skipped(piece.bare, found)

    def _command(self, piece: Piece) -> bool:
        """Whether it connects to a database. All others are psql's own, or a way to run programs."""
        word = piece.text.split()[0]
        if word not in (b"\\restrict", b"\\unrestrict", b"\\connect", b"\\c"):
            raise BastideError(f"{self.path} holds a command of psql: {word.decode(errors='replace')}", _ANOTHER_WAY)
        return word in (b"\\connect", b"\\c")

    def _is_of_a_server(self) -> BastideError:
        return BastideError(f"{self.path} is of a whole server (pg_dumpall), not of one database", _ANOTHER_WAY)

    def _pieces(self) -> Iterator[Piece]:
        with _opened(self.path) as file:
            lines: IO[bytes] = gzip.GzipFile(fileobj=file) if self.is_packed else file  # type: ignore[assignment]
            try:
                yield from pieces(lines)
            except (EOFError, gzip.BadGzipFile, zlib.error):
                raise BastideError(f"{self.path} is damaged or was cut off", "copy it again: `gzip -t FILE`") from None


def dump_file(path: Path, schemas: frozenset[str] = frozenset()) -> DumpFile:
    """Which kind of dump a file is, for a database that has these schemas.

    Raises `BastideError` for none, or one of a kind that cannot be streamed.
    """
    with _opened(path) as file:
        head = file.read(_CHUNK)
        size = file.seek(0, io.SEEK_END)
    if head.startswith(_CUSTOM):
        return DumpFile(path, size, is_custom=True, schemas=schemas)
    packed = head.startswith(_GZIP)
    if packed:
        try:
            with gzip.open(path) as unpacked:
                head = unpacked.read(_CHUNK)
        except (EOFError, OSError, zlib.error):
            raise BastideError(f"{path} is damaged or was cut off", "copy it again: `gzip -t FILE`") from None
        if head.startswith(_CUSTOM):
            raise BastideError(f"{path} is a dump in the custom format, packed once more", f"gunzip {path}, then again")
    if _WHOLE_SERVER in head[:4096]:
        raise DumpFile(path, size, is_custom=False)._is_of_a_server()
    if head[257:262] == b"ustar":
        raise BastideError(f"{path} is a dump in the tar format", _ANOTHER_WAY)
    if _HEAD in head[:4096]:
        return DumpFile(path, size, is_custom=False, is_packed=packed, schemas=schemas)
    raise BastideError(f"{path} is no dump of pg_dump's", _ANOTHER_WAY)


def _opened(path: Path) -> IO[bytes]:
    try:
        if path.is_dir():
            raise BastideError(f"{path} is a folder (pg_dump -Fd)", _ANOTHER_WAY)
        return path.open("rb")
    except OSError as error:
        raise BastideError(f"{path}: {error.strerror}", "name the file with the dump: from=FILE") from None
