"""The first step on a fresh machine, with a fake apt-get, sudo and pip."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bastide.errors import ToolError
from tools import bootstrap, packages
from tools.packages import Package

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def bin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that is all of PATH, with a shell in it; apt-get is not there yet."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sh").symlink_to("/bin/sh")
    (folder / "cat").symlink_to("/bin/cat")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(packages, "_SYSTEM_PATH", str(folder))
    return folder


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _needed(tmp_path: Path) -> list[Package]:
    return [Package("fakeprog", "does things", "fakeprog"), Package("fakefile", "is there", str(tmp_path / "file"))]


def _apt(folder: Path, tmp_path: Path) -> None:
    made = f": > {folder}/fakeprog; /bin/chmod 755 {folder}/fakeprog; : > {tmp_path}/file"
    _program(folder / "apt-get", f'echo "$DEBIAN_FRONTEND $*"; case $1 in update) exit 100;; install) {made};; esac')


def test_root_installs_what_is_missing_and_says_why(
    bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    _apt(bin, tmp_path)
    log = tmp_path / "apt.log"
    packages.install_missing(log, _needed(tmp_path))
    said = capsys.readouterr().out
    assert "does things" in said
    assert "fakefile" in said
    assert "noninteractive install --yes --no-install-recommends" in log.read_text()
    assert log.read_text().strip().endswith("fakeprog fakefile")
    packages.install_missing(log, _needed(tmp_path))
    assert capsys.readouterr().out == "packages: nothing is missing\n"


def test_a_user_goes_through_sudo(bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    _apt(bin, tmp_path)
    _program(bin / "sudo", f': > {tmp_path}/sudo-was-asked; exec "$@"')
    packages.install_missing(tmp_path / "apt.log", _needed(tmp_path))
    assert (tmp_path / "sudo-was-asked").exists()


def test_neither_root_nor_sudo_names_the_command(bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    _apt(bin, tmp_path)
    with pytest.raises(ToolError, match="no sudo") as caught:
        packages.install_missing(tmp_path / "apt.log", _needed(tmp_path))
    assert "apt-get install fakeprog fakefile" in caught.value.hint


def test_a_failing_apt_shows_its_last_words(bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    _program(bin / "apt-get", "echo 'E: Unable to locate package fakeprog'; exit 100")
    with pytest.raises(ToolError, match="Unable to locate package fakeprog") as caught:
        packages.install_missing(tmp_path / "apt.log", _needed(tmp_path))
    assert "apt-get install" in caught.value.hint


def test_what_apt_did_not_bring_is_said(bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    _program(bin / "apt-get", "true")
    with pytest.raises(ToolError, match="still missing after apt-get: fakeprog"):
        packages.install_missing(tmp_path / "apt.log", _needed(tmp_path))


def test_another_system_is_told_what_it_needs(bin: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="no apt-get") as caught:
        packages.install_missing(tmp_path / "apt.log", _needed(tmp_path))
    assert "fakeprog fakefile" in caught.value.hint


def test_every_package_has_a_reason_and_comes_once() -> None:
    assert all(package.why and package.probe for package in packages.NEEDED)
    assert len({package.name for package in packages.NEEDED}) == len(packages.NEEDED)


def test_an_old_python_is_refused() -> None:
    bootstrap.check_python((3, 11))
    with pytest.raises(ToolError, match=r"Python 3\.9 is too old"):
        bootstrap.check_python((3, 9))


def _project(root: Path) -> None:
    (root / "requirements.txt").write_text("")
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
        '[project]\nname = "x"\nversion = "1"\n'
    )


def test_an_interrupted_venv_is_completed_and_a_second_run_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _project(tmp_path)
    monkeypatch.setattr(packages, "install_missing", lambda log: None)
    ran: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "_logged", lambda words, log, hint: ran.append([str(word) for word in words]))
    # interrupted at the very start: a folder and no stamp
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    bootstrap.bootstrap(tmp_path)
    assert [words[1:4] for words in ran] == [
        ["-m", "venv", "--clear"],
        ["-m", "pip", "install"],
        ["-m", "pip", "install"],
    ]
    ran.clear()
    bootstrap.bootstrap(tmp_path)
    assert ran == []
    assert ".venv is complete" in capsys.readouterr().out
    (tmp_path / "requirements.txt").write_text("changed==1")
    bootstrap.bootstrap(tmp_path)
    assert len(ran) == 3


def test_the_venv_of_another_project_is_not_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link in place of .venv, as in a second worktree."""
    theirs, project = tmp_path / "theirs", tmp_path / "project"
    (theirs / "bin").mkdir(parents=True)
    (theirs / "bin" / "python").write_text("theirs")
    project.mkdir()
    _project(project)
    (project / ".venv").symlink_to(theirs)
    monkeypatch.setattr(packages, "install_missing", lambda log: None)
    monkeypatch.setattr(bootstrap, "_logged", lambda *_: (project / ".venv").mkdir(exist_ok=True))
    bootstrap.bootstrap(project)
    assert not (project / ".venv").is_symlink()
    assert (theirs / "bin" / "python").read_text() == "theirs"


def test_a_venv_is_really_made_and_kept_when_it_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / ".venv")]
    subprocess.run(words, check=True)
    assert bootstrap._fits(tmp_path / ".venv")
    (tmp_path / ".venv").rename(tmp_path / "moved")
    assert not bootstrap._fits(tmp_path / "moved")


def test_a_failing_pip_shows_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="No matching distribution") as caught:
        bootstrap._logged(
            ["sh", "-c", "echo ERROR: No matching distribution; exit 1"], tmp_path / "pip.log", "see pip config"
        )
    assert "see pip config" in caught.value.hint
