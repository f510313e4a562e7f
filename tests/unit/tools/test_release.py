"""The official archives, from a local server: what is right is taken, what is not is refused."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bastide.errors import ToolError
from tools import parts, release, versions


@dataclass
class Mirror:
    """A release server: files by path, what it was asked, and how it misbehaves."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    break_off: int = 0  # so many answers of archives end half-way
    ranges: bool = True

    def publish(self, archive: versions.Release, content: bytes, sums: str | None = None) -> None:
        self.files[archive.archive.removeprefix(self.url)] = content
        text = f"{'0' * 64}  other.tar.gz\n{hashlib.sha256(content).hexdigest()}  {archive.name}\n"
        self.files[archive.checksums[0].removeprefix(self.url)] = (text if sums is None else sums).encode()


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    state = Mirror()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append((self.path, wanted))
            content = state.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            if wanted and start >= len(content):
                self.send_error(416)
                return
            body = content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.path.endswith(".tar.gz") and state.break_off:
                state.break_off -= 1
                body = body[: len(body) // 2]
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv(versions.RELEASES_URL_VARIABLE, state.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield state
    server.shutdown()
    server.server_close()


def tar(*members: tuple[str, bytes], link: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            archive.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo("pulumi/link")
            info.type, info.linkname = tarfile.SYMTYPE, link
            archive.addfile(info)
    return buffer.getvalue()


def into(folder: Path) -> Path:
    target = folder / "part"
    target.mkdir()
    return target


def test_a_good_archive_is_unpacked_without_its_folder(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish(
        versions.engine_release(), tar(("pulumi/pulumi", b"engine"), ("pulumi/pulumi-language-python", b"x"))
    )
    part = into(tmp_path)
    release.fetch(parts.ENGINE, part)
    assert (part / "bin" / "pulumi").read_bytes() == b"engine"
    assert (part / "bin" / "pulumi").stat().st_mode & 0o111
    assert (part / "bin" / "pulumi-language-python").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part"]


def test_the_plugin_is_fetched_too_and_its_checksums_may_have_the_other_name(mirror: Mirror, tmp_path: Path) -> None:
    archive = parts.PLUGINS[0].release()
    mirror.publish(archive, tar(("pulumi-resource-hcloud", b"plugin"), ("README.md", b"text")))
    first, second = (url.removeprefix(mirror.url) for url in archive.checksums)
    mirror.files[second] = mirror.files.pop(first)
    release.fetch(parts.PLUGINS[0], into(tmp_path))
    assert (tmp_path / "part" / "bin" / "pulumi-resource-hcloud").read_bytes() == b"plugin"


def test_a_program_that_is_published_as_it_is_is_taken_as_it_is(mirror: Mirror, tmp_path: Path) -> None:
    server = parts.STORAGE_SERVER
    mirror.publish(server.release(), b"a program")
    release.fetch(server, into(tmp_path))
    assert (tmp_path / "part" / "bin" / "minio").read_bytes() == b"a program"
    assert (tmp_path / "part" / "bin" / "minio").stat().st_mode & 0o111
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part"]


def test_a_wrong_checksum_is_refused_and_the_file_thrown_away(mirror: Mirror, tmp_path: Path) -> None:
    archive = versions.engine_release()
    mirror.publish(archive, tar(("pulumi/pulumi", b"evil")), sums=f"{'a' * 64}  {archive.name}\n")
    with pytest.raises(ToolError, match="not the file that its checksums file names") as caught:
        release.fetch(parts.ENGINE, into(tmp_path))
    assert not isinstance(caught.value, release.Unreachable)
    assert "BASTIDE_TOOLS_FROM=build" in caught.value.hint
    assert list((tmp_path / "part").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part"]


@pytest.mark.parametrize("sums", ["", f"{'a' * 64}  other.tar.gz\n", "zz  {name}\n", "{a}  {name}\n{b}  {name}\n"])
def test_an_archive_that_is_not_listed_once_is_refused_before_it_is_fetched(
    mirror: Mirror, tmp_path: Path, sums: str
) -> None:
    archive = versions.engine_release()
    text = sums.format(name=archive.name, a="a" * 64, b="b" * 64)
    mirror.publish(archive, tar(("pulumi/pulumi", b"x")), sums=text)
    with pytest.raises(ToolError, match="does not list") as caught:
        release.fetch(parts.ENGINE, into(tmp_path))
    assert not isinstance(caught.value, release.Unreachable)
    assert not [path for path, _ in mirror.asked if path.endswith(".tar.gz")]


def test_a_broken_download_goes_on_where_it_stopped(mirror: Mirror, tmp_path: Path) -> None:
    content = tar(("pulumi/pulumi", bytes(range(256)) * 64))
    mirror.publish(versions.engine_release(), content)
    mirror.break_off = 2
    release.fetch(parts.ENGINE, into(tmp_path))
    ranges = [wanted for path, wanted in mirror.asked if path.endswith(".tar.gz")]
    assert ranges == [None, f"bytes={len(content) // 2}-", f"bytes={len(content) - (len(content) + 3) // 4}-"]
    assert (tmp_path / "part" / "bin" / "pulumi").read_bytes() == bytes(range(256)) * 64


def test_a_server_without_ranges_starts_again(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish(versions.engine_release(), tar(("pulumi/pulumi", b"engine" * 100)))
    mirror.break_off, mirror.ranges = 1, False
    release.fetch(parts.ENGINE, into(tmp_path))
    assert (tmp_path / "part" / "bin" / "pulumi").read_bytes() == b"engine" * 100


def test_a_connection_that_keeps_breaking_is_an_error_and_the_next_run_goes_on(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish(versions.engine_release(), tar(("pulumi/pulumi", bytes(range(256)) * 64)))
    mirror.break_off = 99
    part = into(tmp_path)
    with pytest.raises(ToolError, match="broke off") as caught:
        release.fetch(parts.ENGINE, part)
    assert "same command again" in caught.value.hint
    mirror.break_off = 0
    mirror.asked.clear()
    release.fetch(parts.ENGINE, part)
    assert mirror.asked[-1][1], "the second run asked for the rest only"


def test_what_is_complete_already_is_not_fetched_again(mirror: Mirror, tmp_path: Path) -> None:
    content = tar(("pulumi/pulumi", b"engine"))
    archive = versions.engine_release()
    mirror.publish(archive, content)
    (tmp_path / f"{archive.name}.part").write_bytes(content)
    release.fetch(parts.ENGINE, into(tmp_path))
    assert (tmp_path / "part" / "bin" / "pulumi").exists()


@pytest.mark.parametrize(
    "content",
    [
        tar(("../../escaped", b"x")),
        tar(("/etc/escaped", b"x")),
        tar(("pulumi/pulumi", b"x"), link="/etc/passwd"),
        b"no archive at all",
    ],
    ids=["up", "absolute", "link", "garbage"],
)
def test_an_archive_that_would_leave_its_folder_is_refused(mirror: Mirror, tmp_path: Path, content: bytes) -> None:
    mirror.publish(versions.engine_release(), content)
    with pytest.raises(ToolError, match="unpacked"):
        release.fetch(parts.ENGINE, into(tmp_path))
    assert not list(tmp_path.rglob("escaped"))


def test_no_such_release_gives_way_to_the_next(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(release.Unreachable, match="no checksums file"):
        release.fetch(parts.ENGINE, into(tmp_path))


def test_a_closed_network_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv(versions.RELEASES_URL_VARIABLE, "http://127.0.0.1:1")
    with pytest.raises(release.Unreachable, match="cannot be reached"):
        release.fetch(parts.ENGINE, into(tmp_path))
