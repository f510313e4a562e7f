"""The lab's package archive: what it says is signed, whole, and by whom."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from bastide.console import run
from bastide.errors import LabError
from lab.parties import archive
from lab.place import Place


class Here(Place):
    """A lab whose files lie in a folder of the test."""

    root = Path()

    @property
    def folder(self) -> Path:
        return self.root


@pytest.fixture
def here(tmp_path: Path) -> Place:
    if shutil.which("gpg") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("needs gpg and dpkg-deb")
    place = Here("test", "test0000", 0)
    Here.root = tmp_path
    return place


def test_a_release_is_signed_by_the_key_that_is_told_and_vouches_for_its_package(here, tmp_path):
    archive.publish(here, "1.0")
    root = archive.PARTY.folder(here) / "public" / "debian"
    key = archive.describe(here)["key"]
    assert "PRIVATE" not in key
    assert _signed_by(key, root / "dists/canary/InRelease", tmp_path)
    index = (root / "dists/canary/main/binary-amd64/Packages").read_bytes()
    assert hashlib.sha256(index).hexdigest() in (root / "dists/canary/InRelease").read_text()
    package = root / "pool/lab-canary_1.0_all.deb"
    assert hashlib.sha256(package.read_bytes()).hexdigest() in index.decode()
    assert run(["dpkg-deb", "--field", package, "Version"]).stdout == "1.0\n"
    archive.publish(here, "1.1", "stranger")
    assert not _signed_by(key, root / "dists/canary/InRelease", tmp_path)


def test_the_next_release_is_another_one_and_younger(here):
    archive.publish(here, "1.0")
    public = archive.PARTY.folder(here) / "public"
    before = (public / "debian/dists/canary/Release").stat().st_mtime
    archive.publish(here, "1.1", "nobody")
    assert int((public / "debian/dists/canary/Release").stat().st_mtime) > int(before)
    assert not (public / "debian/dists/canary/InRelease").exists()
    assert [path.name for path in (public / "debian/pool").iterdir()] == ["lab-canary_1.1_all.deb"]
    assert len(list(public.parent.glob("release-*"))) == 1


def test_a_version_that_there_is_not_is_an_error(here):
    with pytest.raises(LabError, match="has no version"):
        archive.publish(here, "2.0")


def _signed_by(key: str, release: Path, work: Path) -> bool:
    home = work / "verify"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(mode=0o700)
    run(["gpg", "--homedir", home, "--batch", "--quiet", "--import"], input=key)
    run(["gpg", "--homedir", home, "--batch", "--output", home / "keys.gpg", "--export"])
    return run(["gpg", "--homedir", home, "--no-default-keyring", "--keyring", home / "keys.gpg", "--verify", release],
               check=False).ok  # fmt: skip
