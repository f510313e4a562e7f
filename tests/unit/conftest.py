"""A real ssh server in this process, for the tests of hosts/: its key, the server, and how it is reached."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from hosts import enroll
from tests.unit.hosts_box import Box, new_identity, target_of


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_identity(tmp_path_factory.mktemp("identity"))


@pytest.fixture
def box(tmp_path: Path, identity: Path) -> Iterator[Box]:
    box = Box(tmp_path / "box", paramiko.PKey.from_path(identity))
    yield box
    box.close()


@pytest.fixture
def goal(box: Box, identity: Path, tmp_path: Path) -> enroll.Target:
    return target_of(box, identity, tmp_path)
