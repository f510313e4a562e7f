"""What unit tests share: labs that lie in a temporary folder, and a real ssh server in this process for hosts/."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from hosts.enrolment import first_contact
from lab import place
from tests.unit.hosts.box import Box, new_identity, target_of


@pytest.fixture(autouse=True)
def no_real_lab(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test of a unit touches this host's own labs."""
    # short: a socket's path has 107 characters at most (unix(7)), and gpg makes some deep below
    monkeypatch.setattr(place, "ROOT", tmp_path_factory.mktemp("l") / "labs")


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_identity(tmp_path_factory.mktemp("identity"))


@pytest.fixture
def box(tmp_path: Path, identity: Path) -> Iterator[Box]:
    box = Box(tmp_path / "box", paramiko.PKey.from_path(identity))
    yield box
    box.close()


@pytest.fixture
def goal(box: Box, identity: Path, tmp_path: Path) -> first_contact.Target:
    return target_of(box, identity, tmp_path)
