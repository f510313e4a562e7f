"""The official release archives: fetched, checked against the checksums file published beside them, unpacked.

Checked against a local server in the tests; the addresses of the real ones are untested (see docs).
"""

from __future__ import annotations

import hashlib
import queue
import shutil
import tarfile
import threading
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from bastide.console import step
from bastide.errors import ToolError
from tools import versions
from tools.parts import Part

# A closed network drops packets without a word: a few seconds tell. For data on its way the patience is longer.
_CONNECT_SECONDS = 6.0
_READ_SECONDS = 30.0
_ATTEMPTS = 4
_CHUNK = 1 << 20
_CHECKSUMS_LIMIT = 1 << 20
_AGAIN = "run the same command again: it goes on where it stopped"


class Unreachable(ToolError):
    """This way cannot be gone from here (no network, no such release); another may."""


def fetch(part: Part, into: Path) -> None:
    """Fetch a part's official archive into `into`/bin. Raises `Unreachable`, or `ToolError` for a bad file."""
    archive = part.release()
    sums = _checksums(archive.checksums)
    # kept beside the staging folder, so that the next run can go on with it
    partial = into.parent / f"{archive.name}.part"
    with step(f"fetch {part.title}, as published"):
        download(archive.archive, partial, checksum_of(archive.name, sums))
        if archive.packed:
            unpack(partial, into)
            partial.unlink()
        else:
            (into / "bin").mkdir()
            partial.replace(into / "bin" / part.binary)
            (into / "bin" / part.binary).chmod(0o755)


def checksum_of(name: str, text: str) -> str:
    """The sha256 (64 hex digits) of the file `name` in a checksums file, written as sha256sum(1) does.

    Raises `ToolError` when the file is not listed, or listed twice with different sums.
    """
    lines = [words for line in text.splitlines() if len(words := line.split()) == 2]
    sums = {digest.lower() for digest, file in lines if file.lstrip("*") == name}
    good = [entry for entry in sums if len(entry) == 64 and not set(entry) - set("0123456789abcdef")]
    if len(sums) != 1 or not good:
        raise ToolError(
            f"the checksums file does not list {name} exactly once, so it cannot be trusted",
            f"look at the release page, or build from source: {_build_instead()}",
        )
    return good[0]


def unpack(archive: Path, into: Path) -> None:
    """Unpack a .tar.gz into `into`/bin, without its folders. Raises `ToolError` for a member that would leave it."""
    binaries = into / "bin"
    binaries.mkdir()
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
                    raise ToolError(
                        f"{archive.name} holds {member.name!r}, which may not be unpacked", _build_instead()
                    )
                source = tar.extractfile(member)
                if source is None:
                    continue
                target = binaries / path.name
                with target.open("xb") as file:
                    shutil.copyfileobj(source, file)
                target.chmod(0o755 if member.mode & 0o111 else 0o644)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ToolError(f"{archive.name} cannot be unpacked: {error}", _AGAIN) from error


def download(url: str, target: Path, sha256: str) -> None:
    """Fetch `url` into `target` and compare; what an earlier attempt left in there is gone on with.

    Raises `ToolError` when the content is not the expected one (it is removed then) or the connection keeps breaking.
    """
    trouble = ""
    for _ in range(_ATTEMPTS):
        try:
            complete = _go_on(url, target)
        except (OSError, HTTPException) as error:
            trouble = str(error)
            continue
        if not complete:
            trouble = "the connection broke off"
            continue
        if _sha256(target) != sha256:
            target.unlink()
            raise ToolError(
                f"{url} is not the file that its checksums file names; it was thrown away",
                f"try again later; if it stays so, build from source: {_build_instead()}",
            )
        return
    raise ToolError(f"cannot fetch {url}: {trouble}", f"{_AGAIN}; or build from source: {_build_instead()}")


def _checksums(urls: tuple[str, ...]) -> str:
    """The first checksums file that exists. This is also the question whether the server can be reached at all."""
    for url in urls:
        answer: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()
        # in a thread, because looking up a name has no timeout of its own
        threading.Thread(target=_small_file, args=(url, answer), daemon=True).start()
        try:
            found = answer.get(timeout=_CONNECT_SECONDS + 2)
        except queue.Empty:
            raise Unreachable(f"{url} does not answer within {_CONNECT_SECONDS + 2:g} s") from None
        if isinstance(found, Exception):
            raise Unreachable(f"{url} cannot be reached: {getattr(found, 'reason', found)}")
        if found is not None:
            return found
    raise Unreachable(f"there is no checksums file at {urls[0]}")


def _small_file(url: str, answer: queue.SimpleQueue[str | Exception | None]) -> None:
    try:
        with urllib.request.urlopen(_request(url), timeout=_CONNECT_SECONDS) as response:  # noqa: S310
            answer.put(response.read(_CHECKSUMS_LIMIT).decode(errors="replace"))
    except urllib.error.HTTPError as error:
        answer.put(None if error.code in (404, 410) else error)
    except (OSError, HTTPException, ValueError) as error:
        answer.put(error)


def _go_on(url: str, target: Path) -> bool:
    """One attempt, from where the file ends (RFC 9110, section 14). Says whether everything came."""
    have = target.stat().st_size if target.exists() else 0
    request = _request(url)
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=_READ_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing lies after what we have; the checksum will tell whether it is right
            return True
        raise
    with response:
        resumed = response.status == 206
        length = response.headers.get("Content-Length")
        with target.open("ab" if resumed else "wb") as file:
            shutil.copyfileobj(response, file, _CHUNK)
            size = file.tell()
    return length is None or size == int(length) + (have if resumed else 0)


def _request(url: str) -> urllib.request.Request:
    if not url.startswith(("https://", "http://")):
        raise ToolError(f"{url} is no web address", f"set {versions.RELEASES_URL_VARIABLE} to an https address")
    return urllib.request.Request(url, headers={"User-Agent": "bastide-tools"})  # noqa: S310 - checked above


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _build_instead() -> str:
    return "BASTIDE_TOOLS_FROM=build python3 -m tools install"
