"""The lab's package archive: what it says is signed, whole, and by whom."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from bastide.console import run
from bastide.errors import LabError
from lab.place import Place
from lab.services import archive


@pytest.fixture
def here() -> Place:
    if not all(map(shutil.which, ("gpg", "gpgv", "dpkg-deb"))):
        pytest.skip("needs gpg, gpgv and dpkg-deb")
    place = Place("test", "test0000", 0)
    place.folder.mkdir(parents=True)
    return place


def test_a_release_is_signed_by_the_key_that_is_told_and_vouches_for_its_package(here, tmp_path):
    archive.publish(here, "1.0")
    root = archive.SERVICE.settings(here) / "public" / "debian"
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
    public = archive.SERVICE.settings(here) / "public"
    before = (public / "debian/dists/canary/Release").stat().st_mtime
    archive.publish(here, "1.1", "nobody")
    assert int((public / "debian/dists/canary/Release").stat().st_mtime) > int(before)
    assert not (public / "debian/dists/canary/InRelease").exists()
    assert [path.name for path in (public / "debian/pool").iterdir()] == ["lab-canary_1.1_all.deb"]
    assert len(list(public.parent.glob("release-*"))) == 1


def test_what_is_served_can_be_read_by_its_program_and_changed_by_root_only(here):
    old = os.umask(0o077)
    try:
        archive.publish(here, "1.0")
    finally:
        os.umask(old)
    served = archive.SERVICE.settings(here)
    for path in (served, *served.rglob("*")):
        if not path.is_symlink():
            assert path.stat().st_mode & 0o777 == (0o750 if path.is_dir() else 0o640), path
            assert path.stat().st_uid == os.geteuid()
    assert list(archive.SERVICE.folder(here).iterdir()) == []
    keys = here.folder / "archive-keys"
    assert {path.stat().st_mode & 0o777 for path in (keys, keys / "archive")} == {0o700}


def test_a_version_that_there_is_not_is_an_error(here):
    with pytest.raises(LabError, match="has no version"):
        archive.publish(here, "2.0")


def _signed_by(key: str, release: Path, work: Path) -> bool:
    # neither of the two starts an agent
    keys = work / "keys.gpg"
    run(["gpg", "--homedir", work, "--batch", "--yes", "--output", keys, "--dearmor"], input=key)
    return run(["gpgv", "--homedir", work, "--keyring", keys, release], check=False).ok
